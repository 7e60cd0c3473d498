/** Pulls exact numbers of bytes out of a stream of chunks, holding at most one chunk and what was asked for. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #offset = 0;
  /** Bytes taken so far. */
  position = 0;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  /** The next bytes, at most `limit` of them, without copying; undefined at the end. */
  async some(limit: number): Promise<Uint8Array | undefined> {
    while (this.#offset === this.#chunk.byteLength) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
      this.#offset = 0;
    }
    const bytes = this.#chunk.subarray(this.#offset, this.#offset + limit);
    this.#offset += bytes.byteLength;
    this.position += bytes.byteLength;
    return bytes;
  }

  /** Up to `size` bytes, fewer only at the end. */
  async upTo(size: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let missing = size;
    while (missing > 0) {
      const bytes = await this.some(missing);
      if (bytes === undefined) break;
      parts.push(bytes);
      missing -= bytes.byteLength;
    }
    return Buffer.concat(parts, size - missing);
  }

  /** What was not taken yet, with `head` put back before it. */
  async *rest(head: Uint8Array): AsyncGenerator<Uint8Array> {
    try {
      if (head.byteLength > 0) yield head;
      for (;;) {
        const bytes = await this.some(Number.MAX_SAFE_INTEGER);
        if (bytes === undefined) return;
        yield bytes;
      }
    } finally {
      await this.close();
    }
  }

  /** Tells the source that no more is wanted. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
