import { type Engine, RepeatedFailure } from '../engine/index.ts';
import type { Duty } from './duty.ts';

type ShippingEngine = Pick<Engine, 'keeperWork' | 'shipsLog' | 'shipLog' | 'report'>;

const AGAIN_MS = 1_000;

/** Sends the output of the containers whose logging driver says so; for each, until what it wrote has been taken. */
export class LogShipping implements Duty {
  readonly #engine: ShippingEngine;
  readonly #stop = new AbortController();
  readonly #shipping = new Set<string>();
  readonly #unread: RepeatedFailure;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: ShippingEngine) {
    this.#engine = engine;
    this.#unread = new RepeatedFailure((subject, error) => engine.report(subject, error), 'logs of containers');
  }

  /** Also after a container's end, as long as its last lines are on their way. */
  get isBusy(): boolean {
    return this.#shipping.size > 0;
  }

  look(): void {
    for (const record of this.#engine.keeperWork()) {
      if (this.#engine.shipsLog(record) && !this.#shipping.has(record.id)) void this.#ship(record.id);
    }
  }

  async #ship(id: string): Promise<void> {
    const subject = `log of container ${id}`;
    this.#shipping.add(id);
    try {
      await this.#engine.shipLog(id, this.#stop.signal, (error) => this.#engine.report(subject, error));
    } catch (error) {
      this.#engine.report(subject, error);
    } finally {
      this.#shipping.delete(id);
    }
    // It was started again meanwhile, or the one who sent its last lines had not finished.
    this.#lookLater();
  }

  #lookLater(): void {
    if (!this.#stop.signal.aborted) this.#timer ??= setTimeout(() => this.#lookAgain(), AGAIN_MS).unref();
  }

  #lookAgain(): void {
    this.#timer = undefined;
    try {
      this.look();
      this.#unread.clear();
    } catch (error) {
      // Records that cannot be read now may be readable again.
      this.#unread.add(error);
      this.#lookLater();
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#stop.abort();
  }
}
