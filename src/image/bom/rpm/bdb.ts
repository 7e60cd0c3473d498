import { readAt } from '../../read-at.ts';
import { malformed } from '../foreign-file.ts';

const HASH_MAGIC = 0x061561;
const PAGE_HEADER_BYTES = 26;
const HASH_PAGE = 13;
const UNSORTED_HASH_PAGE = 2;
const OVERFLOW_PAGE = 7;
const KEY_DATA = 1;
const OFF_PAGE = 3;
const MAX_BLOB_BYTES = 256 * 1024 * 1024;

/**
 * The headers in a Berkeley DB hash file `Packages` (db 4 and 5, dbinc/db_page.h): every hash page is looked at, for which
 * bucket a package hashes to does not matter here. Either byte order.
 *
 * @throws {TareError} InvalidArgument: not such a file, or pages that point elsewhere or in a circle
 */
export function* bdbHeaders(fd: number, path: string, sizeBytes: number): Generator<Buffer, void, void> {
  const file = new HashFile(fd, path, sizeBytes);
  for (let number = 1; number <= file.lastPage; number += 1) {
    const page = file.page(number);
    const type = page[25];
    if (type === HASH_PAGE || type === UNSORTED_HASH_PAGE) yield* valuesOf(file, page, number);
  }
}

/** Values of a hash page: every second item; the first of a pair is its key. */
function* valuesOf(file: HashFile, page: Buffer, number: number): Generator<Buffer, void, void> {
  const items = file.u16(page, 20);
  if (PAGE_HEADER_BYTES + 2 * items > page.length) throw file.damaged(`page ${number} has ${items} items`);
  for (let item = 0; item + 1 < items; item += 2) {
    const [keyAt, valueAt] = [item, item + 1].map((index) => file.u16(page, PAGE_HEADER_BYTES + 2 * index)) as [
      number,
      number,
    ];
    // Items grow from the page's end downward, so one ends where the one before it begins.
    const keyEnd = item === 0 ? page.length : file.u16(page, PAGE_HEADER_BYTES + 2 * (item - 1));
    if (keyAt >= page.length || valueAt + 12 > page.length + 11 || keyEnd > page.length || keyAt >= keyEnd) {
      throw file.damaged(`page ${number} has an item outside of it`);
    }
    // Record 0 is the counter for new records.
    if (page[keyAt] === KEY_DATA && page.subarray(keyAt + 1, keyEnd).every((byte) => byte === 0)) continue;
    const kind = page[valueAt];
    if (kind === KEY_DATA && valueAt < keyAt) yield Buffer.from(page.subarray(valueAt + 1, keyAt));
    else if (kind === OFF_PAGE && valueAt + 12 <= page.length) {
      yield file.overflow(file.u32(page, valueAt + 4), file.u32(page, valueAt + 8));
    } else throw file.damaged(`page ${number} has an item of the unknown kind ${kind}`);
  }
}

class HashFile {
  readonly lastPage: number;
  readonly #fd: number;
  readonly #path: string;
  readonly #pageBytes: number;
  readonly #isLittle: boolean;

  constructor(fd: number, path: string, sizeBytes: number) {
    this.#fd = fd;
    this.#path = path;
    const meta = Buffer.alloc(512);
    if (readAt(fd, meta, 0) < 512) throw malformed(path, 'no Berkeley DB file: it is too short');
    this.#isLittle = meta.readUInt32LE(12) === HASH_MAGIC;
    if (!this.#isLittle && meta.readUInt32BE(12) !== HASH_MAGIC) throw malformed(path, 'no Berkeley DB hash file');
    if (meta[24] !== 0) throw malformed(path, 'an encrypted Berkeley DB file');
    this.#pageBytes = this.u32(meta, 20);
    if (this.#pageBytes < 512 || this.#pageBytes > 65536 || (this.#pageBytes & (this.#pageBytes - 1)) !== 0) {
      throw malformed(path, `pages of ${this.#pageBytes} bytes`);
    }
    this.lastPage = Math.min(this.u32(meta, 32), Math.floor(sizeBytes / this.#pageBytes) - 1);
  }

  damaged(problem: string) {
    return malformed(this.#path, `damaged: ${problem}`);
  }

  u16(bytes: Buffer, at: number): number {
    return this.#isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }

  u32(bytes: Buffer, at: number): number {
    return this.#isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }

  page(number: number): Buffer {
    const page = Buffer.alloc(this.#pageBytes);
    if (number > this.lastPage || readAt(this.#fd, page, number * this.#pageBytes) !== this.#pageBytes) {
      throw this.damaged(`there is no page ${number}`);
    }
    return page;
  }

  /** A value on a chain of pages of its own. */
  overflow(first: number, sizeBytes: number): Buffer {
    if (sizeBytes > MAX_BLOB_BYTES || sizeBytes > (this.lastPage + 1) * this.#pageBytes) {
      throw this.damaged(`a value of ${sizeBytes} bytes, more than the file holds`);
    }
    const value = Buffer.alloc(sizeBytes);
    let filled = 0;
    for (let number = first; filled < sizeBytes; ) {
      if (number === 0) throw this.damaged(`a value of ${sizeBytes} bytes ends after ${filled}`);
      const page = this.page(number);
      const used = this.u16(page, 22);
      // An empty page would let a circle of pages go on for ever.
      if (page[25] !== OVERFLOW_PAGE || used === 0 || used > page.length - PAGE_HEADER_BYTES) {
        throw this.damaged(`page ${number} is no part of a value`);
      }
      filled += page.copy(value, filled, PAGE_HEADER_BYTES, PAGE_HEADER_BYTES + Math.min(used, sizeBytes - filled));
      number = this.u32(page, 16);
    }
    return value;
  }
}
