import koffi from 'koffi';

/**
 * xz and bzip2 by the libraries that dpkg itself needs (liblzma.so.5, libbz2.so.1.0), so every Debian has them. Other
 * compressions are Node's own.
 */
export type ForeignCompression = 'xz' | 'bzip2';

/** A damaged or truncated stream; `code` is the library's name for it. */
export class InflateError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'InflateError';
    this.code = code;
  }
}

interface Inflater extends Disposable {
  /** Uses input from `#at` on. @returns bytes written to `output` */
  step(output: Buffer): number;
  input(chunk: Uint8Array): void;
  readonly inputLeft: number;
  /** The last stream is complete. */
  readonly isAtEnd: boolean;
  finish(): void;
}

/** Memory a hostile xz header may ask for: `xz -9` needs 65 MiB. */
const XZ_MEMORY_BYTES = 192 * 1024 * 1024;

class XzInflater implements Inflater {
  // struct lzma_stream: next_in 0, avail_in 8, total_in 16, next_out 24, avail_out 32, … 136 bytes in all.
  readonly #stream = Buffer.alloc(136);
  readonly #library = xzLibrary();
  #input: Uint8Array = Buffer.alloc(0);
  #isFinishing = false;
  isAtEnd = false;

  constructor() {
    const CONCATENATED = 8;
    this.#check(this.#library.decoder(this.#stream, XZ_MEMORY_BYTES, CONCATENATED));
  }

  get inputLeft(): number {
    return Number(this.#stream.readBigUInt64LE(8));
  }

  input(chunk: Uint8Array): void {
    this.#input = chunk;
    this.#stream.writeBigUInt64LE(chunk.length === 0 ? 0n : koffi.address(chunk), 0);
    this.#stream.writeBigUInt64LE(BigInt(chunk.length), 8);
  }

  step(output: Buffer): number {
    this.#stream.writeBigUInt64LE(koffi.address(output), 24);
    this.#stream.writeBigUInt64LE(BigInt(output.length), 32);
    const [RUN, FINISH] = [0, 3];
    const result = this.#library.code(this.#stream, this.#isFinishing ? FINISH : RUN);
    const [OK, STREAM_END, BUF_ERROR] = [0, 1, 10];
    this.isAtEnd = result === STREAM_END;
    if (result === BUF_ERROR && this.#isFinishing) throw new InflateError('LZMA_BUF_ERROR', 'truncated');
    if (result !== OK && result !== BUF_ERROR) this.#check(result);
    return output.length - Number(this.#stream.readBigUInt64LE(32));
  }

  finish(): void {
    this.#isFinishing = true;
  }

  #check(result: number): void {
    if (result === 0 || result === 1) return;
    const names: Record<number, string> = { 5: 'MEM', 6: 'MEMLIMIT', 7: 'FORMAT', 8: 'OPTIONS', 9: 'DATA' };
    throw new InflateError(`LZMA_${names[result] ?? result}_ERROR`, `LZMA_${names[result] ?? result}_ERROR`);
  }

  [Symbol.dispose](): void {
    // The library reads from the input until now: keep it reachable.
    void this.#input;
    this.#library.end(this.#stream);
  }
}

class Bzip2Inflater implements Inflater {
  // struct bz_stream: next_in 0, avail_in 8, total 12 and 16, next_out 24, avail_out 32, … 80 bytes in all.
  readonly #stream = Buffer.alloc(80);
  readonly #library = bzip2Library();
  #input: Uint8Array = Buffer.alloc(0);
  #isOpen = false;
  /** Between two streams of one file. */
  isAtEnd = false;
  #isFinishing = false;

  constructor() {
    this.#open();
  }

  #open(): void {
    const [nextIn, left] = [this.#stream.readBigUInt64LE(0), this.#stream.readUInt32LE(8)];
    this.#stream.fill(0);
    this.#check(this.#library.init(this.#stream, 0, 0));
    this.#stream.writeBigUInt64LE(nextIn, 0);
    this.#stream.writeUInt32LE(left, 8);
    this.#isOpen = true;
    this.isAtEnd = false;
  }

  get inputLeft(): number {
    return this.#stream.readUInt32LE(8);
  }

  input(chunk: Uint8Array): void {
    this.#input = chunk;
    this.#stream.writeBigUInt64LE(chunk.length === 0 ? 0n : koffi.address(chunk), 0);
    this.#stream.writeUInt32LE(chunk.length, 8);
  }

  step(output: Buffer): number {
    if (this.isAtEnd) {
      if (this.inputLeft === 0) return 0;
      // pbzip2 writes many streams one after the other.
      this.#close();
      this.#open();
    }
    this.#stream.writeBigUInt64LE(koffi.address(output), 24);
    this.#stream.writeUInt32LE(output.length, 32);
    const result = this.#library.decompress(this.#stream);
    const STREAM_END = 4;
    this.isAtEnd = result === STREAM_END;
    if (!this.isAtEnd) this.#check(result);
    const written = output.length - this.#stream.readUInt32LE(32);
    if (this.#isFinishing && written === 0 && !this.isAtEnd) throw new InflateError('BZ_UNEXPECTED_EOF', 'truncated');
    return written;
  }

  finish(): void {
    this.#isFinishing = true;
  }

  #check(result: number): void {
    if (result >= 0) return;
    const names: Record<number, string> = { [-3]: 'MEM_ERROR', [-4]: 'DATA_ERROR', [-5]: 'DATA_ERROR_MAGIC' };
    throw new InflateError(`BZ_${names[result] ?? result}`, `BZ_${names[result] ?? result}`);
  }

  #close(): void {
    void this.#input;
    if (this.#isOpen) this.#library.end(this.#stream);
    this.#isOpen = false;
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}

/**
 * Inflates an xz or bzip2 stream, also of several streams in a row.
 *
 * @throws {InflateError} damaged, truncated, or wants more memory than 192 MiB
 */
export async function* inflateForeign(
  source: AsyncIterable<Uint8Array>,
  kind: ForeignCompression,
  chunkBytes: number,
): AsyncGenerator<Buffer, void, void> {
  using inflater: Inflater = kind === 'xz' ? new XzInflater() : new Bzip2Inflater();
  function* drain(isLast: boolean): Generator<Buffer, void, void> {
    for (;;) {
      const output = Buffer.allocUnsafeSlow(chunkBytes);
      const written = inflater.step(output);
      if (written > 0) yield output.subarray(0, written);
      if (inflater.isAtEnd && inflater.inputLeft === 0) return;
      if (!isLast && written < output.length && inflater.inputLeft === 0) return;
    }
  }
  for await (const chunk of source) {
    if (chunk.length === 0) continue;
    inflater.input(chunk);
    yield* drain(false);
  }
  inflater.input(Buffer.alloc(0));
  inflater.finish();
  if (!inflater.isAtEnd) yield* drain(true);
}

interface XzLibrary {
  decoder: (stream: Buffer, memoryBytes: number, flags: number) => number;
  code: (stream: Buffer, action: number) => number;
  end: (stream: Buffer) => void;
}

let xz: XzLibrary | undefined;
function xzLibrary(): XzLibrary {
  if (xz === undefined) {
    const library = koffi.load('liblzma.so.5');
    xz = {
      decoder: library.func('int lzma_stream_decoder(void *stream, uint64_t memory, uint32_t flags)'),
      code: library.func('int lzma_code(void *stream, int action)'),
      end: library.func('void lzma_end(void *stream)'),
    };
  }
  return xz;
}

interface Bzip2Library {
  init: (stream: Buffer, verbosity: number, small: number) => number;
  decompress: (stream: Buffer) => number;
  end: (stream: Buffer) => number;
}

let bzip2: Bzip2Library | undefined;
function bzip2Library(): Bzip2Library {
  if (bzip2 === undefined) {
    const library = koffi.load('libbz2.so.1.0');
    bzip2 = {
      init: library.func('int BZ2_bzDecompressInit(void *stream, int verbosity, int small)'),
      decompress: library.func('int BZ2_bzDecompress(void *stream)'),
      end: library.func('int BZ2_bzDecompressEnd(void *stream)'),
    };
  }
  return bzip2;
}
