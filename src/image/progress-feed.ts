import type { Progress } from './progress.ts';

/**
 * Progress of work that runs side by side, in one stream. A slow reader gets fewer figures, never fewer steps: of a blob's
 * bytes only the newest count waits.
 */
export class ProgressFeed {
  readonly #waiting: Progress[] = [];
  #wake: (() => void) | undefined;
  #isEnded = false;

  push(progress: Progress): void {
    if (progress.currentBytes !== undefined && progress.id !== undefined) {
      const last = this.#waiting.findLastIndex((one) => one.id === progress.id);
      if (last >= 0 && this.#waiting[last]!.status === progress.status) {
        this.#waiting[last] = progress;
        return;
      }
    }
    this.#waiting.push(progress);
    this.#wake?.();
  }

  /** Yields what is pushed until `work` has ended. @returns its result @throws its error, after all that was pushed */
  async *during<T>(work: Promise<T>): AsyncGenerator<Progress, T> {
    const ended = () => {
      this.#isEnded = true;
      this.#wake?.();
    };
    work.then(ended, ended);
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else if (this.#isEnded) return await work;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
