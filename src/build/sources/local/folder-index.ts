import { closeSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { digestOf, isLocalLayer, type LocalLayer } from '../../../storage/index.ts';
import type { CheckedEntry } from './sent-entry.ts';

const PIECE_BYTES = 256 * 1024;

/** One line for each entry that lies in a kept folder: what it was sent with. Equal lines are equal entries. */
export function lineOf(entry: CheckedEntry): string {
  const { path, type, permissions, uid, gid, sizeBytes, modifiedNs, target, deviceMajor, deviceMinor, xattrs } = entry;
  const isFolder = type === S_IFDIR;
  // A folder's size and the time of its last change say nothing about what is to be fetched.
  const content = isFolder ? '' : `${sizeBytes} ${modifiedNs}`;
  const device = deviceMajor === 0 && deviceMinor === 0 ? '' : `${deviceMajor}:${deviceMinor}`;
  return `${escaped(path)}\0${(type | permissions).toString(8)} ${uid} ${gid} ${content}\0${escaped(target ?? '')}\0${device}\0${xattrs.length === 0 ? '' : digestOf(JSON.stringify(xattrs.map(([name, value]) => [name, Buffer.from(value).toString('base64')])))}`;
}

const S_IFDIR = 0o040000;
const escaped = (text: string): string =>
  text.includes('\n') || text.includes('\\') ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n') : text;
const plain = (text: string): string =>
  text.includes('\\') ? text.replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : '\\')) : text;

/** A line with the path that it is about. */
export interface IndexLine {
  path: string;
  text: string;
}

export const isFolderLine = ({ text }: IndexLine): boolean => text.startsWith('\x004', text.indexOf('\0'));

/** Lines of an index in their order, read as they are wanted. */
export class IndexReader implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  #lines: string[] = [];
  #position = 0;
  #rest = '';
  #isAtEnd = false;
  #line: IndexLine | undefined;

  /** The layer that it is about. */
  layer = '' as LocalLayer;

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
    const [layer = '', boot] = (reader.#next() ?? '').split(' ');
    if (isLocalLayer(layer) && boot === bootID) {
      reader.layer = layer;
      reader.advance();
      return reader;
    }
    reader[Symbol.dispose]();
    return undefined;
  }

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** The line in turn; undefined: there are no more. */
  get line(): IndexLine | undefined {
    return this.#line;
  }

  advance(): void {
    const text = this.#next();
    this.#line = text === undefined ? undefined : { text, path: plain(text.slice(0, text.indexOf('\0'))) };
  }

  #next(): string | undefined {
    while (this.#position >= this.#lines.length) {
      if (this.#isAtEnd) return undefined;
      const size = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, null);
      const text = this.#rest + this.#buffer.toString('latin1', 0, size);
      this.#isAtEnd = size === 0;
      this.#lines = text.split('\n');
      this.#rest = this.#lines.pop()!;
      this.#position = 0;
    }
    const line = this.#lines[this.#position]!;
    this.#position += 1;
    return line;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Writes an index beside the one that it is to replace. */
export class IndexWriter implements Disposable {
  readonly #path: string;
  readonly #fd: number;
  #text: string;
  #isPublished = false;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(`${path}.new`, 'w', 0o600);
    this.#text = `${' '.repeat(MARK_CHARACTERS)}\n`;
  }

  write(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length >= PIECE_BYTES) this.#flush();
  }

  /** Takes the place of the one before. Nobody waits for the disk: it counts during this boot alone. */
  publish(layer: LocalLayer, bootID: string): void {
    this.#flush();
    writeSync(this.#fd, `${layer} ${bootID}`.padEnd(MARK_CHARACTERS), 0, 'latin1');
    renameSync(`${this.#path}.new`, this.#path);
    this.#isPublished = true;
  }

  #flush(): void {
    writeSync(this.#fd, Buffer.from(this.#text, 'latin1'));
    this.#text = '';
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
    if (!this.#isPublished) rmSync(`${this.#path}.new`, { force: true });
  }
}

const MARK_CHARACTERS = 120;
