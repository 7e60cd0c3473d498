import type { Engine } from '../engine/index.ts';
import type { Duty } from './duty.ts';

/** Starts containers again when their back-off is over. */
export class Restarts implements Duty {
  readonly #engine: Engine;
  readonly #timers = new Map<string, { atMs: number; timer: NodeJS.Timeout }>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  look(): void {
    const due = new Map(
      this.#engine
        .keeperWork()
        .filter(({ state }) => state.status === 'restarting')
        .map(({ id, state }) => [id, state.restartAtMs]),
    );
    for (const [id, { atMs, timer }] of this.#timers) {
      if (due.get(id) === atMs) continue;
      clearTimeout(timer);
      this.#timers.delete(id);
    }
    for (const [id, atMs] of due) {
      if (this.#timers.has(id)) continue;
      const timer = setTimeout(() => void this.#restart(id), Math.max(0, atMs - Date.now()));
      this.#timers.set(id, { atMs, timer });
    }
  }

  async #restart(id: string): Promise<void> {
    try {
      await this.#engine.restartByPolicy(id);
    } catch (error) {
      // The record carries the error; the policy ends here, as with docker.
      this.#engine.report(`restart of container ${id}`, error);
    } finally {
      this.#timers.delete(id);
    }
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
