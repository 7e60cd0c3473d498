import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { EINTR, errno, libc, SyscallError } from './ffi.ts';
import { OpenFile } from './files.ts';

const flock = libc.func('int flock(int fd, int operation)');

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;

/**
 * Tries to lock an open descriptor. The lock belongs to the open file description: it ends when the last duplicate of
 * the descriptor is closed, so also when the process dies.
 *
 * @returns false: somebody else holds it
 */
export function tryFlockDescriptor(fd: number, mode: 'exclusive' | 'shared' = 'exclusive'): boolean {
  const operation = (mode === 'exclusive' ? LOCK_EX : LOCK_SH) | LOCK_NB;
  for (;;) {
    if (flock(fd, operation) === 0) return true;
    const number = errno();
    if (number === EWOULDBLOCK) return false;
    if (number !== EINTR) throw new SyscallError('flock', number, `descriptor ${fd}`);
  }
}

/** A held lock on a file, which is open meanwhile; disposing releases it. */
export class FileLock extends OpenFile {}

/**
 * Takes the lock on a file without waiting.
 *
 * @param creates a missing file is made, with mode 0600
 * @returns undefined: another holder, in this or another process, has it; or there is no file, and none is to be made
 */
export function tryFlock(
  path: string,
  mode: 'exclusive' | 'shared' = 'exclusive',
  { creates = true }: { creates?: boolean } = {},
): FileLock | undefined {
  for (;;) {
    const fd = openToLock(path, creates);
    if (fd === undefined) return undefined;
    let keep = false;
    try {
      if (!tryFlockDescriptor(fd, mode)) return undefined;
      // A previous holder may have removed the file after we opened it: then our lock guards nothing.
      const held = fstatSync(fd, { bigint: true });
      const current = statSync(path, { bigint: true, throwIfNoEntry: false });
      keep = current?.ino === held.ino && current.dev === held.dev;
      if (keep) return new FileLock(fd);
    } finally {
      if (!keep) closeSync(fd);
    }
  }
}

function openToLock(path: string, creates: boolean): number | undefined {
  try {
    // Node opens every file close-on-exec.
    return openSync(path, constants.O_RDWR | (creates ? constants.O_CREAT : 0), 0o600);
  } catch (error) {
    if (!creates && (error as { code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
}
