/** Things by name that may be asked for a moment before they are there. */
export class AwaitedMap<T> {
  readonly #values = new Map<string, T>();
  readonly #waiting = new Map<string, Set<(value: T) => void>>();

  get size(): number {
    return this.#values.size;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  set(name: string, value: T): void {
    this.#values.set(name, value);
    for (const tell of this.#waiting.get(name) ?? []) tell(value);
    this.#waiting.delete(name);
  }

  /** Forgets it, unless another took its name. */
  delete(name: string, value: T): void {
    if (this.#values.get(name) === value) this.#values.delete(name);
  }

  values(): Iterable<T> {
    return this.#values.values();
  }

  /** @returns undefined: it did not come in time, or the signal fired */
  async find(name: string, waitMs: number, signal: AbortSignal): Promise<T | undefined> {
    const found = this.#values.get(name);
    if (found !== undefined) return found;
    const { promise, resolve } = Promise.withResolvers<T | undefined>();
    const waiting = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, waiting.add(resolve));
    const giveUp = () => resolve(undefined);
    const timer = setTimeout(giveUp, waitMs);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      waiting.delete(resolve);
      if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name);
    }
  }
}
