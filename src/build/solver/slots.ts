/** So many at once, first come, first served. */
export class Slots {
  #taken = 0;
  readonly #limit: () => number;
  readonly #waiting: (() => void)[] = [];

  /** @param limit may change: what is more than it now goes on to its end */
  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /** Waits for a place; dispose the result to give it up. @throws the signal's reason, when it fires first */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#taken < this.#limit()) this.#taken += 1;
    else await this.#turn(signal);
    let isTaken = true;
    return {
      [Symbol.dispose]: () => {
        if (!isTaken) return;
        isTaken = false;
        this.#taken -= 1;
        while (this.#waiting.length > 0 && this.#taken < this.#limit()) {
          this.#taken += 1;
          this.#waiting.shift()!();
        }
      },
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(signal.reason);
      };
      this.#waiting.push(begin);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}
