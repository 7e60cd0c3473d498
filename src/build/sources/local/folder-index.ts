import { closeSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { TareError } from '../../../errors/index.ts';
import { S_IFDIR } from '../../../linux/index.ts';
import { digestOf, isLocalLayer, type LocalLayer } from '../../../storage/index.ts';
import type { CheckedEntry } from './sent-entry.ts';

const PIECE_BYTES = 256 * 1024;
/** What an entry was sent as is kept up to this size; a longer one is looked into each time. */
const MAX_SENT_BYTES = 64 * 1024;
/** Changes with the form of the file, and with what an entry's bytes are read as. */
const VERSION = 2;

/** What is known of an entry that lies in a kept folder: what it was sent with. Equal texts are equal entries. */
export function lineOf(entry: CheckedEntry): string {
  const { path, type, permissions, uid, gid, sizeBytes, modifiedNs, target, deviceMajor, deviceMinor, xattrs } = entry;
  const isFolder = type === S_IFDIR;
  // A folder's size and the time of its last change say nothing about what is to be fetched.
  const content = isFolder ? '' : `${sizeBytes} ${modifiedNs}`;
  const device = deviceMajor === 0 && deviceMinor === 0 ? '' : `${deviceMajor}:${deviceMinor}`;
  return `${path}\0${(type | permissions).toString(8)} ${uid} ${gid} ${content}\0${target ?? ''}\0${device}\0${xattrs.length === 0 ? '' : digestOf(JSON.stringify(xattrs.map(([name, value]) => [name, Buffer.from(value).toString('base64')])))}`;
}

/** A line with the path that it is about. */
export interface IndexLine {
  path: string;
  text: string;
}

export const isFolderLine = ({ text }: IndexLine): boolean => text.startsWith('\x004', text.indexOf('\0'));
const isFileLine = ({ text }: IndexLine): boolean => text.startsWith('\x0010', text.indexOf('\0'));
/** One more name of a file that came before. */
export const isLinkLine = (line: IndexLine): boolean =>
  isFileLine(line) && line.text[line.text.indexOf('\0', line.path.length + 1) + 1] !== '\0';

/** Of a file's content. */
export function sizeOfLine(line: IndexLine): number {
  if (!isFileLine(line)) return 0;
  const start = line.path.length + 1;
  return Number(line.text.slice(start, line.text.indexOf('\0', start)).split(' ')[3]);
}

/** What stands before a record: the length of its line, that of the bytes it was sent as, and a folder's time of last change. */
const HEAD_BYTES = 16;

/** What is known of a folder's entries in their order, read as it is wanted. */
export class IndexReader implements Disposable {
  readonly #fd: number;
  #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  /** Of the record in turn, and of what was read, in the buffer. */
  #start = 0;
  #end = 0;
  #position = 0;
  #lineBytes = 0;
  #sentBytes = 0;
  #isAtEnd = false;
  #line: IndexLine | undefined;

  /** The layer that it is about. */
  layer = '' as LocalLayer;
  /** What the bytes of its entries are. */
  kind = '';
  entries = 0;
  /** Of all its files. */
  sizeBytes = 0;

  /** @returns undefined: there is none, or it is of another boot, so that it may be other than what was written */
  static open(path: string, bootID: string): IndexReader | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const reader = new IndexReader(fd);
    const mark = Buffer.alloc(MARK_BYTES);
    const size = readSync(fd, mark, 0, MARK_BYTES, 0);
    const [version, layer = '', boot, kind = '', entries, sizeBytes] = mark.toString('latin1', 0, size).split(' ');
    if (Number(version) !== VERSION || !isLocalLayer(layer) || boot !== bootID) {
      reader[Symbol.dispose]();
      return undefined;
    }
    Object.assign(reader, { layer, kind, entries: Number(entries), sizeBytes: Number(sizeBytes) });
    reader.rewind();
    return reader;
  }

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** The line in turn; undefined: there are no more. */
  get line(): IndexLine | undefined {
    if (this.#isAtEnd) return undefined;
    if (this.#line === undefined) {
      const start = this.#start + HEAD_BYTES;
      const text = this.#buffer.toString('latin1', start, start + this.#lineBytes);
      this.#line = { text, path: text.slice(0, text.indexOf('\0')) };
    }
    return this.#line;
  }

  /** The time of the last change that a folder in turn was sent with. */
  get folderNs(): bigint {
    return this.#buffer.readBigInt64LE(this.#start + 8);
  }

  /** The record in turn as it is written; until the next one is. */
  get record(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#start + this.#size);
  }

  /** Whether the entry in turn was sent as these bytes. */
  isSentAs(bytes: Uint8Array): boolean {
    if (this.#isAtEnd || bytes.length === 0 || bytes.length !== this.#sentBytes) return false;
    const start = this.#start + HEAD_BYTES + this.#lineBytes;
    return this.#buffer.compare(bytes, 0, bytes.length, start, start + bytes.length) === 0;
  }

  advance(): void {
    if (this.#isAtEnd) return;
    this.#start += this.#size;
    this.#take();
  }

  /** Makes the first one the one in turn. */
  rewind(): void {
    this.#start = 0;
    this.#end = 0;
    this.#position = MARK_BYTES;
    this.#isAtEnd = false;
    this.#take();
  }

  get #size(): number {
    return HEAD_BYTES + this.#lineBytes + this.#sentBytes;
  }

  #take(): void {
    this.#line = undefined;
    this.#isAtEnd = !this.#fill(HEAD_BYTES);
    if (this.#isAtEnd) return;
    this.#lineBytes = this.#buffer.readUInt32LE(this.#start);
    this.#sentBytes = this.#buffer.readUInt32LE(this.#start + 4);
    if (!this.#fill(this.#size)) throw new TareError('Internal', 'the index of a kept folder is cut off');
  }

  /** @returns false: there are no more bytes */
  #fill(size: number): boolean {
    if (this.#end - this.#start >= size) return true;
    const rest = this.#buffer.subarray(this.#start, this.#end);
    const next = size > this.#buffer.length ? Buffer.allocUnsafe(size + PIECE_BYTES) : this.#buffer;
    next.set(rest, 0);
    this.#buffer = next;
    this.#start = 0;
    this.#end = rest.length;
    while (this.#end < size) {
      const read = readSync(this.#fd, next, this.#end, next.length - this.#end, this.#position);
      if (read === 0) return false;
      this.#end += read;
      this.#position += read;
    }
    return true;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Writes an index beside the one that it is to replace, if anything is written. */
export class IndexWriter implements Disposable {
  readonly #path: string;
  readonly #kind: string;
  #fd: number | undefined;
  #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  #size = 0;
  #entries = 0;
  #sizeBytes = 0;
  #isPublished = false;

  /** @param kind what the bytes of its entries are */
  constructor(path: string, kind: string) {
    this.#path = path;
    this.#kind = kind;
  }

  get isBegun(): boolean {
    return this.#fd !== undefined;
  }

  /** @param sent what the entry was sent as; empty if it was no bytes */
  write(line: string, entry: Pick<CheckedEntry, 'type' | 'modifiedNs'>, sizeBytes: number, sent: Uint8Array): void {
    const kept = sent.length > MAX_SENT_BYTES ? none : sent;
    const size = HEAD_BYTES + line.length + kept.length;
    this.#room(size);
    const start = this.#size;
    this.#buffer.writeUInt32LE(line.length, start);
    this.#buffer.writeUInt32LE(kept.length, start + 4);
    this.#buffer.writeBigInt64LE(entry.type === S_IFDIR ? BigInt.asIntN(64, entry.modifiedNs) : 0n, start + 8);
    this.#buffer.write(line, start + HEAD_BYTES, 'latin1');
    this.#buffer.set(kept, start + HEAD_BYTES + line.length);
    this.#count(size, sizeBytes);
  }

  /** A record of the index before. */
  copy(record: Uint8Array, sizeBytes: number): void {
    this.#room(record.length);
    this.#buffer.set(record, this.#size);
    this.#count(record.length, sizeBytes);
  }

  /** Takes the place of the one before. Nobody waits for the disk: it counts during this boot alone. */
  publish(layer: LocalLayer, bootID: string): void {
    const fd = this.#begin();
    this.#flush();
    const mark = [VERSION, layer, bootID, this.#kind, this.#entries, this.#sizeBytes, ''].join(' ');
    writeSync(fd, mark.padEnd(MARK_BYTES), 0, 'latin1');
    renameSync(`${this.#path}.new`, this.#path);
    this.#isPublished = true;
  }

  #begin(): number {
    if (this.#fd === undefined) {
      this.#fd = openSync(`${this.#path}.new`, 'w', 0o600);
      writeSync(this.#fd, ' '.repeat(MARK_BYTES));
    }
    return this.#fd;
  }

  #room(size: number): void {
    this.#begin();
    if (this.#size + size <= this.#buffer.length) return;
    this.#flush();
    if (size > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(size);
  }

  #count(size: number, sizeBytes: number): void {
    this.#size += size;
    this.#entries += 1;
    this.#sizeBytes += sizeBytes;
  }

  #flush(): void {
    for (let done = 0; done < this.#size; ) done += writeSync(this.#fd!, this.#buffer, done, this.#size - done);
    this.#size = 0;
  }

  [Symbol.dispose](): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    if (!this.#isPublished) rmSync(`${this.#path}.new`, { force: true });
  }
}

const none = new Uint8Array(0);
const MARK_BYTES = 160;
