/** What a socket is asked while a body is read from it. */
export interface Source {
  pause(): void;
  resume(): void;
  destroy(): void;
}

const HIGH_BYTES = 1024 * 1024;
const LOW_BYTES = 256 * 1024;

/** Bytes pushed on one side and iterated on the other; pauses its source while the reader lags 1 MiB behind. */
export class BodyQueue implements AsyncIterable<Uint8Array> {
  readonly #source: Source;
  #chunks: Uint8Array[] = [];
  #next = 0;
  #bytes = 0;
  #paused = false;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.#ended) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > HIGH_BYTES && !this.#paused) {
      this.#paused = true;
      this.#source.pause();
    }
    this.#wake?.();
  }

  /** @param error thrown to the reader once it has read what came before */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        while (this.#next < this.#chunks.length) {
          const chunk = this.#chunks[this.#next++]!;
          this.#bytes -= chunk.length;
          if (this.#next === this.#chunks.length) {
            this.#chunks = [];
            this.#next = 0;
          }
          if (this.#paused && this.#bytes < LOW_BYTES) {
            this.#paused = false;
            this.#source.resume();
          }
          yield chunk;
        }
        if (this.#ended) {
          if (this.#error !== undefined) throw this.#error;
          return;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#source.destroy();
    }
  }
}
