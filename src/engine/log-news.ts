import { watch } from 'node:fs';

const MAX_TIMER_MS = 2 ** 31 - 1;

/** Waits for something to happen in a folder. */
export class LogNews implements Disposable {
  readonly #stop = new AbortController();
  readonly #watcher;
  readonly #timer: NodeJS.Timeout | undefined;
  #arrived = false;
  #wake: (() => void) | undefined;

  constructor(folder: string, ends: readonly (AbortSignal | undefined)[], untilSeconds: number | undefined) {
    this.#watcher = watch(folder, () => this.#notice());
    this.#watcher.on('error', () => undefined); // looking again once in a while does
    if (untilSeconds !== undefined) {
      const restMs = Math.min(MAX_TIMER_MS, Math.max(0, untilSeconds * 1000 - Date.now()));
      this.#timer = setTimeout(() => this.#end(), restMs);
    }
    for (const end of ends) {
      if (end?.aborted === true) this.#end();
      else end?.addEventListener('abort', () => this.#end(), { signal: this.#stop.signal });
    }
  }

  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /** @returns whether something happened, rather than that the time passed */
  async next(waitMs: number): Promise<boolean> {
    if (!this.#arrived && !this.over) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    const arrived = this.#arrived || this.over;
    this.#arrived = false;
    return arrived;
  }

  #end(): void {
    this.#stop.abort();
    this.#notice();
  }

  #notice(): void {
    this.#arrived = true;
    this.#wake?.();
    this.#wake = undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#watcher.close();
    this.#stop.abort();
  }
}
