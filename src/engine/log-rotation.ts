import { rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { logFileNames } from './log-files.ts';

export interface Rotation {
  maxSizeBytes: number;
  /** Files kept, the current one included. */
  maxFiles: number;
}

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
    if ((await logFileNames(path)).length > 1) await reopen();
    return false;
  }
  if (size < limits.maxSizeBytes) return false;
  const numbered = (await logFileNames(path)).slice(1).map((name) => join(dirname(path), name));
  // Oldest first, so that each finds the next number free.
  for (const old of numbered.reverse()) {
    const number = Number(old.slice(path.length + 1));
    if (number + 1 < limits.maxFiles) await rename(old, `${path}.${number + 1}`);
    else await rm(old, { force: true });
  }
  if (limits.maxFiles > 1) await rename(path, `${path}.1`);
  else await rm(path);
  await reopen();
  return true;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
