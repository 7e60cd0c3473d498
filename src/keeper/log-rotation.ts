import type { Engine } from '../engine/index.ts';
import type { Duty } from './duty.ts';

const LOOK_MS = 250;

/** Rotates the logs that have grown beyond their limit. conmon's truncation is the net beneath it. */
export class LogRotation implements Duty {
  readonly #engine: Engine;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  look(): void {
    this.#timer ??= setTimeout(() => void this.#rotate(), LOOK_MS);
  }

  async #rotate(): Promise<void> {
    let limited = false;
    for (const record of this.#engine.keeperWork()) {
      try {
        limited = (await this.#engine.rotateLog(record)) || limited;
      } catch (error) {
        this.#engine.report(`log of container ${record.id}`, error);
      }
    }
    // Without a limited log nothing is looked at until the records change.
    this.#timer = limited ? setTimeout(() => void this.#rotate(), LOOK_MS) : undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
