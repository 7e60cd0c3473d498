import type { Engine } from '../engine/index.ts';
import type { Duty } from './duty.ts';

/** Containers started at the same time: each start keeps a processor busy for a moment. */
const AT_ONCE = 8;

/** Starts containers again when their back-off is over and what they need is there. */
export class Restarts implements Duty {
  readonly #engine: Engine;
  readonly #timers = new Map<string, { atMs: number; timer: NodeJS.Timeout }>();
  /** Those whose back-off is over. */
  readonly #due = new Set<string>();
  readonly #starting = new Set<string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  look(): void {
    const waiting = new Map(
      this.#engine
        .keeperWork()
        .filter(({ state }) => state.status === 'restarting')
        .map(({ id, state }) => [id, state.restartAtMs]),
    );
    for (const [id, { atMs, timer }] of this.#timers) {
      if (waiting.get(id) === atMs) continue;
      clearTimeout(timer);
      this.#timers.delete(id);
    }
    for (const id of this.#due) if (!waiting.has(id)) this.#due.delete(id);
    for (const [id, atMs] of waiting) {
      if (this.#timers.has(id) || this.#due.has(id) || this.#starting.has(id)) continue;
      const timer = setTimeout(() => this.#isDue(id), Math.max(0, atMs - Date.now()));
      this.#timers.set(id, { atMs, timer });
    }
    this.#startReady();
  }

  #isDue(id: string): void {
    this.#timers.delete(id);
    this.#due.add(id);
    this.#startReady();
  }

  /** What is not ready yet is looked at again after the next change of the records. */
  #startReady(): void {
    if (this.#due.size === 0 || this.#starting.size >= AT_ONCE) return;
    for (const { id, without } of this.#engine.startable(this.#due)) {
      if (this.#starting.size >= AT_ONCE) return; // the end of a start looks again
      this.#due.delete(id);
      this.#starting.add(id);
      void this.#restart(id, without);
    }
  }

  async #restart(id: string, without: readonly string[]): Promise<void> {
    if (without.length > 0) {
      const missing = `what it needs does not come up: ${without.join(', ')}`;
      this.#engine.report(`restart of container ${id}`, new Error(missing));
    }
    try {
      await this.#engine.restartByPolicy(id);
    } catch (error) {
      // The record carries the error; the policy ends here, as with docker.
      this.#engine.report(`restart of container ${id}`, error);
    } finally {
      this.#starting.delete(id);
      this.#startReady();
    }
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#due.clear();
  }
}
