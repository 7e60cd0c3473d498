import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** An open file of a log: the current one, or one that was rotated away. */
export interface LogFile extends AsyncDisposable {
  handle: FileHandle;
  /** Names the file whatever its path is by now. */
  inode: bigint;
}

/**
 * Opens the files of a log, oldest first: `PATH.2`, `PATH.1`, `PATH`. Those that a rotation moves meanwhile are opened
 * once. An empty list: nothing was logged yet.
 */
export async function openLogFiles(path: string): Promise<LogFile[]> {
  const files: LogFile[] = [];
  // Newest first: a file that moves meanwhile moves to where we have still to look.
  for (const name of await logFileNames(path)) {
    const file = await openLogFile(join(dirname(path), name));
    if (file === undefined) continue;
    if (files.some(({ inode }) => inode === file.inode)) await file[Symbol.asyncDispose]();
    else files.unshift(file);
  }
  return files;
}

async function openLogFile(path: string): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const { ino } = await handle.stat({ bigint: true });
    return { handle, inode: ino, [Symbol.asyncDispose]: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Names of a log's files in their folder, newest first. */
export async function logFileNames(path: string): Promise<string[]> {
  const name = basename(path);
  let names: string[];
  try {
    names = await readdir(dirname(path));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  const numbers = names
    .filter((candidate) => candidate.startsWith(`${name}.`))
    .map((candidate) => candidate.slice(name.length + 1))
    .filter((suffix) => /^[1-9]\d{0,5}$/.test(suffix))
    .map(Number)
    .sort((a, b) => a - b);
  return [name, ...numbers.map((number) => `${name}.${number}`)];
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';
