import type { BlobGrowth, BlobInfo, BlobIngester, BlobWriter, Digest } from '../storage/index.ts';
import { newPieces, PieceWriter } from './piece-writer.ts';

// A blob that waits for the disk holds nothing but its file.
const MAX_COMMITS = 4;

/**
 * Blobs that come one after another on one stream. A blob goes to the disk while the next one is read.
 */
export class BlobIntake implements AsyncDisposable {
  readonly #content: BlobIngester;
  readonly #pieces = newPieces();
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
    const writer = await this.#content.writer({ sizeBytes });
    const pieces = new PieceWriter(writer, this.#pieces);
    let isOurs = true;
    return {
      write: (chunk) => pieces.write(chunk),
      follow: () => writer.follow(),
      commit: async (then, verified) => {
        await pieces.finish();
        verified?.(await writer.verify());
        while (this.#commits.size >= MAX_COMMITS) await Promise.race(this.#commits);
        isOurs = false;
        return { result: this.#commit(writer, then) };
      },
      [Symbol.asyncDispose]: async () => {
        await pieces.abandon();
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
  /**
   * Ends the blob; `result` comes once it is on the disk and `then` has seen it.
   * @param verified told of the digest before the disk is waited for
   */
  commit<T>(then: (blob: BlobInfo) => T, verified?: (digest: Digest) => void): Promise<{ result: Promise<T> }>;
}
