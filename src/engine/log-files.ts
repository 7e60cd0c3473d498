import { type BigIntStats, createWriteStream } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

/** So much of a log is read at a time. */
export const BLOCK_BYTES = 256 * 1024;

/** An open file of a log: the current one, or one that was rotated away. */
export interface LogFile extends AsyncDisposable {
  /** Names the file whatever its path is by now, and whether or not it was compressed since. @see identityOf */
  identity: string;
  /** Its lines; those of a compressed file are unpacked when this is first called. */
  handle(): Promise<FileHandle>;
}

/** A file of a log by its name: `PATH`, `PATH.N`, or `PATH.N.IDENTITY.gz`, which keeps the identity of what was compressed. */
export interface LogFileName {
  name: string;
  /** 0: the current one. */
  number: number;
  packed?: string;
}

/**
 * Opens the files of a log, oldest first: `PATH.2`, `PATH.1`, `PATH`. Those that a rotation moves meanwhile are opened
 * once. An empty list: nothing was logged yet.
 */
export async function openLogFiles(path: string): Promise<LogFile[]> {
  const files: LogFile[] = [];
  // Newest first: a file that moves meanwhile moves to where we have still to look.
  for (const { name, packed } of await logFileNames(path)) {
    const file = await openLogFile(join(dirname(path), name), packed);
    if (file === undefined) continue;
    if (files.some(({ identity }) => identity === file.identity)) await file[Symbol.asyncDispose]();
    else files.unshift(file);
  }
  return files;
}

async function openLogFile(path: string, packed: string | undefined): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  if (packed !== undefined) return packedLogFile(handle, path, packed);
  try {
    const identity = identityOf(await handle.stat({ bigint: true }));
    return { identity, handle: async () => handle, [Symbol.asyncDispose]: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Unpacks into a file without a name, so that it can be read backwards like any other and leaves nothing behind. */
function packedLogFile(packed: FileHandle, path: string, identity: string): LogFile {
  let unpacked: Promise<FileHandle> | undefined;
  const unpack = async (): Promise<FileHandle> => {
    const temporary = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`;
    const handle = await open(temporary, 'wx+', 0o600);
    try {
      await rm(temporary);
      const source = packed.createReadStream({ autoClose: false, start: 0 });
      await pipeline(source, createGunzip(), async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) await handle.writeFile(chunk);
      });
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  };
  return {
    identity,
    handle: () => (unpacked ??= unpack()),
    async [Symbol.asyncDispose]() {
      await packed.close();
      await unpacked?.then((handle) => handle.close()).catch(() => undefined);
    },
  };
}

/** A log's files in their folder, newest first. */
export async function logFileNames(path: string): Promise<LogFileName[]> {
  const name = basename(path);
  let names: string[];
  try {
    names = await readdir(dirname(path));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  const rotated = names
    .filter((candidate) => candidate.startsWith(`${name}.`))
    .flatMap((candidate): LogFileName[] => {
      const match = /^([1-9]\d{0,5})(?:\.(\d{1,20}-\d{1,20})\.gz)?$/.exec(candidate.slice(name.length + 1));
      if (match === null) return [];
      const [, number, packed] = match;
      return [{ name: candidate, number: Number(number), ...(packed === undefined ? {} : { packed }) }];
    })
    .sort((a, b) => a.number - b.number);
  return [{ name, number: 0 }, ...rotated];
}

/** Compresses a file that was rotated away. A kill in between leaves both, which readers take for the one file that it is. */
export async function packLogFile(path: string): Promise<void> {
  await using source = await open(path, 'r');
  const packed = `${path}.${identityOf(await source.stat({ bigint: true }))}.gz`;
  await pipeline(
    source.createReadStream({ autoClose: false }),
    createGzip({ level: 1 }),
    createWriteStream(`${packed}.new`, { mode: 0o600 }),
  );
  await rename(`${packed}.new`, packed);
  await rm(path);
}

/** An inode's number is given to another file soon after its own is gone, so the time of birth belongs to it. */
export const identityOf = ({ ino, birthtimeNs }: BigIntStats): string => `${ino}-${birthtimeNs}`;

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';
