import { closeSync, createReadStream, fstatSync, openSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';

const CHUNK_BYTES = 256 * 1024;

/**
 * A file's bytes, or standard input for `-`. The file is opened at once, so that a wrong path is refused before anything is sent.
 *
 * @throws {TareError} InvalidArgument: cannot be read, a folder, or a terminal
 */
export function openInput(path: string): AsyncIterable<Uint8Array> {
  if (path === '-') {
    if (process.stdin.isTTY)
      throw new TareError('InvalidArgument', 'standard input is a terminal: give a file, or pipe the archive in');
    // A pipe may be non-blocking, and a plain read of it fails with EAGAIN while its writer is slow.
    if (!fstatSync(0).isFile()) return process.stdin;
    return createReadStream('', { fd: 0, autoClose: false, highWaterMark: CHUNK_BYTES });
  }
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw new TareError('InvalidArgument', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (fstatSync(descriptor).isDirectory()) {
    closeSync(descriptor);
    throw new TareError('InvalidArgument', `cannot read ${path}: it is a folder`);
  }
  return createReadStream('', { fd: descriptor, highWaterMark: CHUNK_BYTES });
}
