import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type LogFile, openLogFiles } from './log-files.ts';
import { LineJoiner } from './log-line-joiner.ts';
import { entryTime, LogLineReader } from './log-lines.ts';
import { findTail } from './log-tail.ts';
import type { LogEntry, LogOptions } from './types.ts';

const BLOCK_BYTES = 256 * 1024;
/** Should a notice of the kernel's be lost. */
const LOOK_AGAIN_MS = 1_000;
/** A line that was begun is waited for so long. */
const PROMPT_MS = 50;
const ROUNDING_SECONDS = 1e-6;
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Entries of a log and its rotated files, oldest first. Memory stays flat: one block is held at a time.
 *
 * @param options with `follow`, the entries to come as well, across rotations
 * @param ended aborted when nobody will write any more: what is there is then read, and following ends
 */
export async function* readLog(path: string, options: LogOptions, ended?: AbortSignal): AsyncGenerator<LogEntry> {
  // A number of seconds is exact to a quarter of a microsecond today; an entry's own time must include the entry.
  const since = options.sinceSeconds === undefined ? '' : entryTime(options.sinceSeconds - ROUNDING_SECONDS);
  const until = options.untilSeconds === undefined ? undefined : entryTime(options.untilSeconds + ROUNDING_SECONDS);
  await using chain = new LogChain(path);
  await chain.open(options.tail);
  using news = options.follow ? new News(dirname(path), [ended, options.signal], options.untilSeconds) : undefined;
  let lines = new LogLineReader();
  const joiner = new LineJoiner();
  const isWanted = ({ time, stream }: LogEntry): boolean =>
    time >= since && (stream === 'stdout' ? options.stdout : options.stderr);
  for (;;) {
    // Asked before reading: what was written before the end is then sure to be read.
    const isLast = news === undefined || news.over;
    for (;;) {
      const block = await chain.read();
      if (options.signal?.aborted === true) return;
      if (block === undefined) break;
      for (const part of lines.push(block)) {
        if (until !== undefined && part.time > until) return;
        const entry = joiner.join(part);
        if (entry !== undefined && isWanted(entry)) yield entry;
      }
    }
    if (await chain.advance(options.follow)) lines = new LogLineReader();
    else if (chain.drained) {
      // A prompt has no newline either; it is shown when nothing follows for a moment.
      const isQuiet = !isLast && joiner.isHolding && !(await news.next(PROMPT_MS));
      if (isLast || isQuiet) for (const entry of joiner.flush()) if (isWanted(entry)) yield entry;
      if (isLast) return;
      if (!joiner.isHolding) await news.next(LOOK_AGAIN_MS);
    }
  }
}

/** The files of a log, read one after the other. */
class LogChain implements AsyncDisposable {
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

  /** @returns undefined: at the end, for now, of the current file */
  async read(): Promise<Buffer | undefined> {
    const current = this.#files[0];
    if (current === undefined) return undefined;
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    const { bytesRead } = await current.handle.read(block, 0, BLOCK_BYTES, this.#offset);
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
    if (newest === undefined || newest.ino === current?.inode) return;
    const all = await openLogFiles(this.#path);
    // When the current one is not among them, it was removed for its age, and perhaps others that were never read.
    const position = current === undefined ? -1 : all.findIndex(({ inode }) => inode === current.inode);
    for (const known of all.splice(0, position + 1)) await known[Symbol.asyncDispose]();
    this.#files.push(...all);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#files.splice(0)) await file[Symbol.asyncDispose]();
  }
}

/** Waits for something to happen in a folder. */
class News implements Disposable {
  readonly #stop = new AbortController();
  readonly #watcher;
  readonly #timer: NodeJS.Timeout | undefined;
  #arrived = false;
  #wake: (() => void) | undefined;

  constructor(folder: string, ends: readonly (AbortSignal | undefined)[], untilSeconds: number | undefined) {
    this.#watcher = watch(folder, () => this.#notice());
    this.#watcher.on('error', () => undefined); // looking again once in a while does
    if (untilSeconds !== undefined) {
      const restMs = Math.min(MAX_TIMER_MS, Math.max(0, untilSeconds * 1000 - Date.now()));
      this.#timer = setTimeout(() => this.#end(), restMs);
    }
    for (const end of ends) {
      if (end?.aborted === true) this.#end();
      else end?.addEventListener('abort', () => this.#end(), { signal: this.#stop.signal });
    }
  }

  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /** @returns whether something happened, rather than that the time passed */
  async next(waitMs: number): Promise<boolean> {
    if (!this.#arrived && !this.over) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    const arrived = this.#arrived || this.over;
    this.#arrived = false;
    return arrived;
  }

  #end(): void {
    this.#stop.abort();
    this.#notice();
  }

  #notice(): void {
    this.#arrived = true;
    this.#wake?.();
    this.#wake = undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#watcher.close();
    this.#stop.abort();
  }
}
