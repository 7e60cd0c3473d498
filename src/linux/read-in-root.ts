import { closeSync, constants, openSync, readSync } from 'node:fs';
import { toByteString } from './byte-string.ts';
import { SyscallError } from './ffi.ts';
import { S_IFMT, S_IFREG, statusOf } from './file-status.ts';
import { AT_FDCWD, O_DIRECTORY, O_PATH, OpenFile, openAt } from './files.ts';
import { openAt2, RESOLVE_IN_ROOT, RESOLVE_NO_XDEV } from './open-at2.ts';

/**
 * Reads a small regular file beneath a foreign root, with every link and `..` resolved inside that root and without
 * crossing into another mount.
 *
 * The path is first opened without opening what it names (O_PATH), so a device, FIFO or socket under that name is never
 * touched: opening some devices has effects.
 *
 * @param root a directory of the host
 * @param path inside the root, with or without a leading slash
 * @returns undefined: there is no such file, or it is not a regular one
 * @throws {RangeError} the file is longer than `maxBytes`
 */
export function readFileInRoot(root: string, path: string, maxBytes: number): Buffer | undefined {
  using directory = new OpenFile(openAt(AT_FDCWD, toByteString(root), O_PATH | O_DIRECTORY));
  let fd: number;
  try {
    fd = openAt2(directory.fd, toByteString(path), O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV);
  } catch (error) {
    if (error instanceof SyscallError && absent.has(error.code)) return undefined;
    throw error;
  }
  using handle = new OpenFile(fd);
  if ((statusOf(handle.fd).mode & S_IFMT) !== S_IFREG) return undefined;
  // The descriptor pins the file that was checked; opening it anew through /proc resolves no path.
  const file = openSync(`/proc/self/fd/${handle.fd}`, constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
  try {
    return readAtMost(file, maxBytes, path);
  } finally {
    closeSync(file);
  }
}

// ELOOP: links that lead nowhere. EXDEV: the file is on another mount, which is not part of this root.
const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'EACCES', 'ENAMETOOLONG']);

/** Reads to the end, whatever size the file claims to have. */
function readAtMost(fd: number, maxBytes: number, path: string): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(Math.min(65536, maxBytes + 1 - total));
    const size = readSync(fd, chunk);
    if (size === 0) return Buffer.concat(chunks, total);
    total += size;
    if (total > maxBytes) throw new RangeError(`${path} is longer than ${maxBytes} bytes`);
    chunks.push(chunk.subarray(0, size));
  }
}
