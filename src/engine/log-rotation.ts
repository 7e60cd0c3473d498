import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { kindOf } from '../errors/index.ts';
import { logFileNames, packLogFile } from './log-files.ts';

export interface Rotation {
  maxSizeBytes: number;
  /** Files kept, the current one included. */
  maxFiles: number;
  /** Those rotated away are compressed. */
  compresses?: boolean;
}

/** How long a monitor may take to open its log anew. */
const REOPEN_MS = 5_000;
const LOOK_MS = 2;

/**
 * Rotates a log that has grown beyond its size: `PATH` becomes `PATH.1`, and so on. Crash-safe: each step is a rename, and
 * a reader knows files by inode. One caller at a time per log.
 *
 * @param reopen makes the monitor open `PATH` anew; until it has, it writes to the renamed file, and nothing is lost
 * @returns whether it rotated
 */
export async function rotateLog(path: string, limits: Rotation, reopen: () => Promise<void>): Promise<boolean> {
  if (limits.maxSizeBytes <= 0) return false;
  const size = await sizeOf(path);
  if (size === undefined) {
    // A crash came between the rename and the reopening.
    if ((await logFileNames(path)).length > 1) await reopenAndWait(path, reopen);
    return false;
  }
  if (size < limits.maxSizeBytes) return false;
  // Oldest first, so that each finds the next number free.
  for (const { name, number } of (await logFileNames(path)).slice(1).reverse()) {
    const old = join(dirname(path), name);
    const suffix = name.slice(`${basename(path)}.${number}`.length);
    if (number + 1 < limits.maxFiles) await rename(old, `${path}.${number + 1}${suffix}`);
    else await rm(old, { force: true });
  }
  if (limits.maxFiles > 1) await rename(path, `${path}.1`);
  else await rm(path);
  await reopenAndWait(path, reopen);
  await dropBeyond(path, (limits.maxFiles - 1) * limits.maxSizeBytes);
  if (limits.compresses === true)
    for (const { name, packed } of (await logFileNames(path)).slice(1))
      if (packed === undefined) await packLogFile(join(dirname(path), name));
  return true;
}

/**
 * Keeps of the files rotated away no more than their share: one that grew far beyond its size between two looks loses its
 * oldest lines, as it would have, had it been rotated in time.
 */
async function dropBeyond(path: string, allowedBytes: number): Promise<void> {
  let leftBytes = allowedBytes;
  for (const { name, packed } of (await logFileNames(path)).slice(1)) {
    const old = join(dirname(path), name);
    const size = (await sizeOf(old)) ?? 0;
    if (leftBytes <= 0) await rm(old, { force: true });
    else if (size > leftBytes && packed === undefined) await keepTail(old, size - leftBytes);
    leftBytes -= size;
  }
}

/** Replaces a file by its lines behind the first `skipBytes`. */
async function keepTail(path: string, skipBytes: number): Promise<void> {
  const shorter = `${path}.new`;
  let dropping = true;
  await pipeline(
    createReadStream(path, { start: skipBytes }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        // The first line is most likely a part of one.
        const start = dropping ? chunk.indexOf(0x0a) + 1 : 0;
        if (dropping && start === 0) continue;
        dropping = false;
        yield chunk.subarray(start);
      }
    },
    createWriteStream(shorter, { mode: 0o600 }),
  );
  await rename(shorter, path);
}

/**
 * Waits for the new file, because a monitor that is told a second time replaces it, with what it has written meanwhile.
 * Without a monitor nobody writes any more, and the next one opens the file anew.
 */
async function reopenAndWait(path: string, reopen: () => Promise<void>): Promise<void> {
  try {
    await reopen();
  } catch (error) {
    if (kindOf(error) === 'Conflict') return;
    throw error;
  }
  const deadline = performance.now() + REOPEN_MS;
  while ((await sizeOf(path)) === undefined && performance.now() < deadline) await sleep(LOOK_MS);
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
