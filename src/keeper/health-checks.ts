import { type ContainerRecord, type Engine, healthTimes, nextProbeMs } from '../engine/index.ts';
import type { Duty } from './duty.ts';

interface Watch {
  /** Told apart from a later run of the same container. */
  startedMs: number;
  timer: NodeJS.Timeout;
}

/** Probes each container that has a health check, at its intervals, one probe a container at a time. */
export class HealthChecks implements Duty {
  readonly #engine: Engine;
  readonly #watches = new Map<string, Watch>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  look(): void {
    const checked = new Map(
      this.#engine
        .keeperWork()
        .filter(({ state }) => state.status === 'running' && state.health !== null)
        .map((record) => [record.id, record]),
    );
    for (const [id, watch] of this.#watches) {
      if (checked.get(id)?.state.startedMs === watch.startedMs) continue;
      clearTimeout(watch.timer);
      this.#watches.delete(id);
    }
    for (const [id, record] of checked) {
      if (!this.#watches.has(id)) this.#schedule(record);
    }
  }

  #schedule(record: ContainerRecord): void {
    const check = record.config.healthcheck;
    if (check === null) return;
    const { startedMs, health } = record.state;
    const now = Date.now();
    // A keeper that takes over continues the rhythm from the last probe.
    const lastMs = Math.max(startedMs, health?.log.at(-1)?.endMs ?? 0);
    const dueMs = lastMs + nextProbeMs(healthTimes(check), health?.status ?? 'starting', lastMs - startedMs);
    const timer = setTimeout(() => void this.#probe(record.id, startedMs), Math.max(0, dueMs - now));
    this.#watches.set(record.id, { startedMs, timer });
  }

  async #probe(id: string, startedMs: number): Promise<void> {
    let record: ContainerRecord | undefined;
    try {
      record = await this.#engine.probeHealth(id);
    } catch (error) {
      this.#engine.report(`health check of container ${id}`, error);
    }
    if (this.#watches.get(id)?.startedMs !== startedMs) return;
    this.#watches.delete(id);
    if (record?.state.status === 'running' && record.state.startedMs === startedMs) this.#schedule(record);
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#watches.values()) clearTimeout(timer);
    this.#watches.clear();
  }
}
