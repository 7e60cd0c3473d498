import type { BlobGrowth, BlobInfo, BlobIngester, BlobWriter } from '../storage/index.ts';

const PIECE_BYTES = 1 << 20;
// A blob that waits for the disk holds nothing but its file.
const MAX_COMMITS = 4;

/**
 * Blobs that come one after another on one stream. Small chunks are gathered into large writes, and a blob goes to the
 * disk while the next one is read: what a network sends in 32 KiB pieces would otherwise wait for each of its writes,
 * and each blob for the one before it.
 */
export class BlobIntake implements AsyncDisposable {
  readonly #content: BlobIngester;
  // Two pieces: one is filled while the other is written.
  #filling = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #writing = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #filled = 0;
  #written: Promise<void> = Promise.resolve();
  readonly #commits = new Set<Promise<unknown>>();

  constructor(content: BlobIngester) {
    this.#content = content;
  }

  /**
   * Starts the next blob. Only one is written at a time.
   *
   * @param sizeBytes what its archive announces
   */
  async begin(sizeBytes: number): Promise<IncomingBlob> {
    this.#filled = 0;
    const writer = await this.#content.writer({ sizeBytes });
    let isOurs = true;
    return {
      write: (chunk) => this.#write(writer, chunk),
      follow: () => writer.follow(),
      commit: async (then) => {
        await this.#flush(writer);
        await this.#written;
        while (this.#commits.size >= MAX_COMMITS) await Promise.race(this.#commits);
        isOurs = false;
        return { result: this.#commit(writer, then) };
      },
      [Symbol.asyncDispose]: async () => {
        // A write that still runs reads from our pieces.
        await this.#written.catch(() => {});
        this.#written = Promise.resolve();
        if (isOurs) await writer[Symbol.asyncDispose]();
      },
    };
  }

  /** Waits for all commits that began. @throws the first failure */
  async settle(): Promise<void> {
    await Promise.all(this.#commits);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#commits);
  }

  async #write(writer: BlobWriter, chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + PIECE_BYTES - this.#filled);
      this.#filling.set(part, this.#filled);
      this.#filled += part.byteLength;
      at += part.byteLength;
      if (this.#filled === PIECE_BYTES) await this.#flush(writer);
    }
  }

  async #flush(writer: BlobWriter): Promise<void> {
    await this.#written;
    const piece = this.#filling.subarray(0, this.#filled);
    this.#written = piece.byteLength === 0 ? Promise.resolve() : writer.write(piece);
    this.#written.catch(() => {}); // whoever comes next awaits the write itself
    [this.#filling, this.#writing] = [this.#writing, this.#filling];
    this.#filled = 0;
  }

  #commit<T>(writer: BlobWriter, then: (blob: BlobInfo) => T): Promise<T> {
    const result = (async () => {
      await using committing = writer;
      return then(await committing.commit());
    })();
    this.#commits.add(result);
    // A failed one stays, for the next commit or `settle` to throw.
    result.then(
      () => this.#commits.delete(result),
      () => {},
    );
    return result;
  }
}

/** A blob on its way in. Disposing before `commit` drops it. */
export interface IncomingBlob extends AsyncDisposable {
  write(chunk: Uint8Array): Promise<void>;
  /** See `BlobWriter.follow`. */
  follow(): BlobGrowth;
  /** Ends the blob; `result` comes once it is on the disk and `then` has seen it. */
  commit<T>(then: (blob: BlobInfo) => T): Promise<{ result: Promise<T> }>;
}
