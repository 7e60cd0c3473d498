import type { FileHandle } from 'node:fs/promises';
import { BLOCK_BYTES, type LogFile } from './log-files.ts';
import { NEWLINE, SPACE } from './log-lines.ts';

const LETTER_P = 80;
/** An entry's head: the time (at most 35 bytes), the stream and the tag. */
const HEAD_BYTES = 64;

/** Where the last lines of a log begin. */
export interface TailStart {
  /** Index into the files. */
  file: number;
  offset: number;
}

/**
 * Finds the start of the last lines by reading backwards; reads no more of a large log than these lines take. A line
 * written in parts counts once.
 *
 * @param files oldest first
 */
export async function findTail(files: readonly LogFile[], lines: number): Promise<TailStart> {
  const last = files.at(-1);
  if (last === undefined) return { file: 0, offset: 0 };
  if (lines <= 0) return { file: files.length - 1, offset: Number((await (await last.handle()).stat()).size) };
  let found: TailStart = { file: 0, offset: 0 };
  let seen = 0;
  let followed = false;
  for (let file = files.length - 1; file >= 0; file--) {
    for await (const { offset, partial } of entriesBackwards(await files[file]!.handle())) {
      // A partial entry belongs to the line that follows it; with nothing after it, it is a line of its own.
      if (!partial || !followed) seen += 1;
      followed = true;
      if (seen > lines) return found;
      found = { file, offset };
    }
  }
  return { file: 0, offset: 0 };
}

/** The offsets at which entries start, last first. */
async function* entriesBackwards(handle: FileHandle): AsyncGenerator<{ offset: number; partial: boolean }> {
  let end = Number((await handle.stat()).size);
  // The head of an entry may lie across two blocks, so each block is read with the start of the one after it.
  let following: Buffer = Buffer.alloc(0);
  while (end > 0) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const block = await readRange(handle, start, end - start);
    const buffer = Buffer.concat([block, following]);
    // A newline at the file's very end starts no entry.
    for (let at = block.length - 1; at >= 0; ) {
      const newline = block.lastIndexOf(NEWLINE, at);
      if (newline === -1) break;
      if (newline + 1 < buffer.length) yield { offset: start + newline + 1, partial: isPartial(buffer, newline + 1) };
      at = newline - 1;
    }
    if (start === 0) yield { offset: 0, partial: isPartial(buffer, 0) };
    following = buffer.subarray(0, HEAD_BYTES);
    end = start;
  }
}

function isPartial(buffer: Buffer, start: number): boolean {
  const timeEnd = buffer.indexOf(SPACE, start);
  return timeEnd !== -1 && buffer[timeEnd + 8] === LETTER_P;
}

async function readRange(handle: FileHandle, start: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, start + filled);
    if (bytesRead === 0) break; // truncated meanwhile
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
