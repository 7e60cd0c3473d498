import { stat } from 'node:fs/promises';
import { BLOCK_BYTES, identityOf, type LogFile, openLogFiles } from './log-files.ts';
import { findTail } from './log-tail.ts';

/** A place in a log, whatever the file there is called by now. */
export interface LogCursor {
  identity: string;
  offset: number;
}

/** The files of a log, read one after the other. */
export class LogChain implements AsyncDisposable {
  readonly #path: string;
  #files: LogFile[] = [];
  #offset = 0;
  /** The current file was read to its end after its successor was seen, so that nothing more comes in it. */
  #superseded = false;
  drained = true;

  constructor(path: string) {
    this.#path = path;
  }

  async open(tail: number | undefined): Promise<void> {
    this.#files = await openLogFiles(this.#path);
    if (tail === undefined) return;
    const start = await findTail(this.#files, tail);
    for (const passed of this.#files.splice(0, start.file)) await passed[Symbol.asyncDispose]();
    this.#offset = start.offset;
  }

  /**
   * Goes on where a reader left off. When that file is no longer there, what is left is read from its start.
   * @returns false: that file is gone, and perhaps others that were never read
   */
  async openAt(cursor: LogCursor): Promise<boolean> {
    this.#files = await openLogFiles(this.#path);
    const position = this.#files.findIndex(({ identity }) => identity === cursor.identity);
    if (position === -1) return false;
    for (const passed of this.#files.splice(0, position)) await passed[Symbol.asyncDispose]();
    this.#offset = cursor.offset;
    return true;
  }

  /** Where the next read begins. */
  get cursor(): LogCursor | undefined {
    const current = this.#files[0];
    return current === undefined ? undefined : { identity: current.identity, offset: this.#offset };
  }

  /**
   * @param block where to; its length is read at most
   * @returns what was read, a view of it; undefined: at the end, for now, of the current file
   */
  async read(block: Buffer = Buffer.allocUnsafe(BLOCK_BYTES)): Promise<Buffer | undefined> {
    const current = this.#files[0];
    if (current === undefined) return undefined;
    const { bytesRead } = await (await current.handle()).read(block, 0, block.length, this.#offset);
    this.#offset += bytesRead;
    return bytesRead === 0 ? undefined : block.subarray(0, bytesRead);
  }

  /**
   * Goes on to the next file, if there is one; `drained` tells whether the current one has to be read again first.
   *
   * The monitor writes to a renamed file until it has made the new one, so a file is only left when it was at its end
   * after its successor had been seen.
   */
  async advance(follow: boolean): Promise<boolean> {
    this.drained = true;
    if (this.#files.length <= 1 && follow) await this.#findSuccessors();
    if (this.#files.length <= 1) return false;
    if (!this.#superseded) {
      this.#superseded = true;
      this.drained = false;
      return false;
    }
    await this.#files.shift()![Symbol.asyncDispose]();
    this.#offset = 0;
    this.#superseded = false;
    return true;
  }

  async #findSuccessors(): Promise<void> {
    const current = this.#files[0];
    const newest = await stat(this.#path, { bigint: true }).catch(() => undefined);
    if (newest === undefined || identityOf(newest) === current?.identity) return;
    const all = await openLogFiles(this.#path);
    // When the current one is not among them, it was removed for its age, and perhaps others that were never read.
    const position = current === undefined ? -1 : all.findIndex(({ identity }) => identity === current.identity);
    for (const known of all.splice(0, position + 1)) await known[Symbol.asyncDispose]();
    this.#files.push(...all);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#files.splice(0)) await file[Symbol.asyncDispose]();
  }
}
