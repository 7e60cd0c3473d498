import { type ContainerRecord, type Engine, RepeatedFailure } from '../engine/index.ts';
import type { Duty } from './duty.ts';

type RotatingEngine = Pick<Engine, 'keeperWork' | 'rotateLog' | 'report'>;

const LOOK_MS = 250;

/** Rotates the logs that have grown beyond their limit. conmon's truncation is the net beneath it. */
export class LogRotation implements Duty {
  readonly #engine: RotatingEngine;
  readonly #unread: RepeatedFailure;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(engine: RotatingEngine) {
    this.#engine = engine;
    this.#unread = new RepeatedFailure((subject, error) => engine.report(subject, error), 'logs of containers');
  }

  look(): void {
    this.#timer ??= setTimeout(() => void this.#rotate(), LOOK_MS);
  }

  async #rotate(): Promise<void> {
    let isLimited = false;
    try {
      for (const record of this.#engine.keeperWork()) isLimited = (await this.#rotateOne(record)) || isLimited;
      this.#unread.clear();
    } catch (error) {
      // Records that cannot be read now may be readable again.
      this.#unread.add(error);
      isLimited = true;
    }
    if (this.#isOver) return;
    // Without a limited log nothing is looked at until the records change.
    this.#timer = isLimited ? setTimeout(() => void this.#rotate(), LOOK_MS) : undefined;
  }

  async #rotateOne(record: ContainerRecord): Promise<boolean> {
    try {
      return await this.#engine.rotateLog(record);
    } catch (error) {
      this.#engine.report(`log of container ${record.id}`, error);
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}
