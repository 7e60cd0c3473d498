import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';

/** No list of registries, certificate or set of credentials that a person keeps is larger. */
export const MAX_FILE_BYTES = 1024 * 1024;
const MAX_ENTRIES = 1000;

const isAbsent = (error: unknown) => ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

/**
 * A configuration file's bytes; undefined: there is none.
 * @throws {TareError} InvalidArgument: no regular file, or larger than 1 MiB; Forbidden: not readable
 */
export function readSmallFile(path: string): Buffer | undefined {
  let descriptor: number;
  try {
    // Opening a pipe would wait for its writer.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unreadable(path, error);
  }
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw new TareError('InvalidArgument', `${path} is not a regular file`);
    const bytes = Buffer.alloc(Math.min(status.size, MAX_FILE_BYTES) + 1);
    let size = 0;
    for (let read = -1; read !== 0 && size < bytes.length; size += read)
      read = readSync(descriptor, bytes, size, bytes.length - size, null);
    if (size > MAX_FILE_BYTES) throw new TareError('InvalidArgument', `${path} is larger than 1 MiB`);
    return bytes.subarray(0, size);
  } catch (error) {
    throw error instanceof TareError ? error : unreadable(path, error);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Names in a folder, sorted by their bytes; undefined: there is none.
 * @throws {TareError} InvalidArgument: over 1000 of them; Forbidden: not readable
 */
export function listFolder(path: string): string[] | undefined {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unreadable(path, error);
  }
  if (names.length > MAX_ENTRIES)
    throw new TareError('InvalidArgument', `${path} has ${names.length} entries, at most ${MAX_ENTRIES} are allowed`);
  return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function unreadable(path: string, cause: unknown): TareError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const kind = code === 'EACCES' || code === 'EPERM' ? 'Forbidden' : 'InvalidArgument';
  return new TareError(kind, `cannot read ${path}: ${message}`, { cause });
}
