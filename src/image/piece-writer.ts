import type { BlobWriter } from '../storage/index.ts';

const PIECE_BYTES = 1 << 20;

/** Two pieces of memory: one is filled while the other is written. */
export interface Pieces {
  filling: Buffer;
  writing: Buffer;
}

export const newPieces = (): Pieces => ({
  filling: Buffer.allocUnsafeSlow(PIECE_BYTES),
  writing: Buffer.allocUnsafeSlow(PIECE_BYTES),
});

/**
 * Gathers small chunks into large writes, and writes one piece while the next is gathered: what a network sends in 32 KiB
 * chunks would otherwise wait for each of its writes.
 */
export class PieceWriter {
  readonly #writer: Pick<BlobWriter, 'write'>;
  readonly #pieces: Pieces;
  #filled = 0;
  #written: Promise<void> = Promise.resolve();

  /** @param pieces may serve many writers, one after the other */
  constructor(writer: Pick<BlobWriter, 'write'>, pieces: Pieces = newPieces()) {
    this.#writer = writer;
    this.#pieces = pieces;
  }

  /** Takes a copy of the chunk. @throws what the write of an earlier one threw */
  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + PIECE_BYTES - this.#filled);
      this.#pieces.filling.set(part, this.#filled);
      this.#filled += part.byteLength;
      at += part.byteLength;
      if (this.#filled === PIECE_BYTES) await this.#flush();
    }
  }

  /** Waits until all is written. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#written;
  }

  /** Waits for the write that runs, which reads from our pieces, and drops what was gathered. */
  async abandon(): Promise<void> {
    this.#filled = 0;
    await this.#written.catch(() => {});
  }

  async #flush(): Promise<void> {
    await this.#written;
    const piece = this.#pieces.filling.subarray(0, this.#filled);
    this.#written = piece.byteLength === 0 ? Promise.resolve() : this.#writer.write(piece);
    this.#written.catch(() => {}); // whoever comes next awaits the write itself
    [this.#pieces.filling, this.#pieces.writing] = [this.#pieces.writing, this.#pieces.filling];
    this.#filled = 0;
  }
}
