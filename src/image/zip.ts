import { fstatSync } from 'node:fs';
import { Readable } from 'node:stream';
import { crc32, inflateRawSync } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { TareError } from '../errors/index.ts';
import { readAt } from './read-at.ts';

export type ZipEntry = Entry;

/** A foreign zip file, read through its central directory. Sizes that its entries claim are held against what they inflate to. */
export class ZipReader {
  readonly #zip: ZipFile;
  readonly #what: string;
  readonly #fd: number;
  /** Where the archive begins in the file. */
  readonly #start: number;

  private constructor(zip: ZipFile, what: string, fd: number, start: number) {
    this.#zip = zip;
    this.#what = what;
    this.#fd = fd;
    this.#start = start;
  }

  /**
   * @param fd stays the caller's
   * @param what names the file in errors
   * @throws {TareError} InvalidArgument: no zip file, or more than `maxEntries`
   */
  static async open(fd: number, what: string, maxEntries: number): Promise<ZipReader> {
    const yauzl = await import('yauzl');
    const { size } = fstatSync(fd);
    const start = startOf(fd, size);
    class Part extends yauzl.RandomAccessReader {
      override _readStreamForRange(from: number, to: number): Readable {
        return Readable.from(bytesBetween(fd, start + from, start + to), { objectMode: false });
      }
      override read(target: Buffer, offset: number, length: number, at: number, done: (error: Error | null) => void) {
        const wanted = target.subarray(offset, offset + length);
        const isWhole = readAt(fd, wanted, start + at) === length;
        process.nextTick(done, isWhole ? null : new Error('unexpected end of file'));
      }
    }
    const zip = await new Promise<ZipFile>((resolve, reject) => {
      const options = { lazyEntries: true, autoClose: false, decodeStrings: true, validateEntrySizes: true };
      yauzl.fromRandomAccessReader(new Part(), size - start, options, (error, opened) => {
        if (error) reject(invalid(what, error));
        else resolve(opened);
      });
    });
    if (zip.entryCount > maxEntries) throw new TareError('InvalidArgument', `${what}: more than ${maxEntries} entries`);
    return new ZipReader(zip, what, fd, start);
  }

  /** All entries in the directory's order. @throws {TareError} InvalidArgument: the directory is damaged */
  async *entries(): AsyncGenerator<ZipEntry, void, void> {
    for (let entry = await this.#next(); entry !== undefined; entry = await this.#next()) yield entry;
  }

  #next(): Promise<ZipEntry | undefined> {
    const zip = this.#zip;
    return new Promise((resolve, reject) => {
      const done = () => {
        zip.off('entry', onEntry).off('end', onEnd).off('error', onError);
      };
      const onEntry = (entry: Entry) => {
        done();
        resolve(entry);
      };
      const onEnd = () => {
        done();
        resolve(undefined);
      };
      const onError = (error: Error) => {
        done();
        reject(invalid(this.#what, error));
      };
      zip.on('entry', onEntry).on('end', onEnd).on('error', onError);
      zip.readEntry();
    });
  }

  /**
   * An entry's inflated bytes.
   * @param count told of each chunk before it comes; throws to stop
   * @throws {TareError} InvalidArgument: damaged, encrypted, or longer than `limitBytes`
   */
  async *bytes(entry: ZipEntry, limitBytes: number, count?: (sizeBytes: number) => void): AsyncGenerator<Buffer> {
    const where = `${this.#what}: ${JSON.stringify(entry.fileName)}`;
    const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      this.#zip.openReadStream(entry, (error, opened) => {
        if (error) reject(invalid(where, error));
        else resolve(opened);
      });
    });
    let size = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > limitBytes) throw tooLong(where, limitBytes);
        count?.(chunk.length);
        yield chunk;
      }
    } catch (error) {
      throw error instanceof TareError ? error : invalid(where, error as Error);
    }
  }

  /**
   * A small entry whole, in one go: a database has hundreds of thousands, and a stream for each takes ten times as long.
   * @throws {TareError} as `bytes`
   */
  read(entry: ZipEntry, limitBytes: number, count?: (sizeBytes: number) => void): Buffer {
    const where = `${this.#what}: ${JSON.stringify(entry.fileName)}`;
    const { compressedSize, uncompressedSize } = entry;
    if (uncompressedSize > limitBytes || compressedSize > limitBytes) throw tooLong(where, limitBytes);
    const packed = Buffer.alloc(compressedSize);
    if (readAt(this.#fd, packed, this.#dataOf(entry, where)) !== compressedSize) {
      throw invalid(where, new Error('it is cut off'));
    }
    try {
      if (entry.isEncrypted()) throw new Error('it is encrypted');
      const bytes = entry.compressionMethod === 0 ? packed : inflated(entry, packed);
      if (bytes.length !== uncompressedSize || crc32(bytes) !== entry.crc32) throw new Error('it is damaged');
      count?.(bytes.length);
      return bytes;
    } catch (error) {
      throw error instanceof TareError ? error : invalid(where, error as Error);
    }
  }

  /** Where an entry's data begins: its local header says how long it is itself (APPNOTE 4.3.7). */
  #dataOf(entry: ZipEntry, where: string): number {
    const header = Buffer.alloc(30);
    const at = this.#start + entry.relativeOffsetOfLocalHeader;
    if (readAt(this.#fd, header, at) !== header.length || header.readUInt32LE(0) !== 0x04034b50) {
      throw invalid(where, new Error('it has no header'));
    }
    return at + header.length + header.readUInt16LE(26) + header.readUInt16LE(28);
  }
}

function inflated({ compressionMethod, uncompressedSize }: ZipEntry, packed: Buffer): Buffer {
  if (compressionMethod !== 8) throw new Error(`its compression method ${compressionMethod} is not supported`);
  return inflateRawSync(packed, { maxOutputLength: uncompressedSize + 1 });
}

const tooLong = (where: string, limitBytes: number): TareError =>
  new TareError('InvalidArgument', `${where}: more than ${limitBytes} bytes`);

const PIECE_BYTES = 64 * 1024;

function* bytesBetween(fd: number, from: number, to: number): Generator<Buffer, void, void> {
  for (let at = from; at < to; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, to - at));
    const size = readAt(fd, piece, at);
    if (size === 0) return;
    yield piece.subarray(0, size);
    at += size;
  }
}

const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;

/**
 * Where the archive begins in its file: a program may stand before it (a jar that runs by itself), which the archive's own
 * offsets may leave out. The directory ends where its end record begins (APPNOTE 4.3.16).
 */
function startOf(fd: number, sizeBytes: number): number {
  const tail = Buffer.alloc(Math.min(sizeBytes, END_BYTES + MAX_COMMENT_BYTES));
  const tailAt = sizeBytes - tail.length;
  readAt(fd, tail, tailAt);
  for (let at = tail.length - END_BYTES; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== 0x06054b50 || tail.readUInt16LE(at + 20) !== tail.length - at - END_BYTES) continue;
    const [directoryBytes, offset] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
    // Larger ones have a record of their own for these, and no program before them.
    if (offset === 0xffffffff || directoryBytes === 0xffffffff) return 0;
    return Math.max(0, tailAt + at - directoryBytes - offset);
  }
  return 0;
}

const invalid = (what: string, cause: Error): TareError =>
  new TareError('InvalidArgument', `${what}: no valid zip file: ${cause.message}`, { cause });
