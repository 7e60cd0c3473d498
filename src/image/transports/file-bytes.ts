import { read as readCallback, write as writeCallback } from 'node:fs';
import { promisify } from 'node:util';

const read = promisify(readCallback);
const write = promisify(writeCallback);
const READ_BYTES = 512 * 1024;

/**
 * The bytes of an open file by position, so that several readers may share the descriptor. A stream of Node's would close
 * it when its reader leaves early.
 *
 * @param end where to stop; the file's end unless given
 */
export async function* bytesAt(
  fd: number,
  start = 0,
  end = Number.MAX_SAFE_INTEGER,
): AsyncGenerator<Buffer, void, void> {
  for (let position = start; position < end; ) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - position));
    const { bytesRead } = await read(fd, chunk, 0, chunk.byteLength, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

/** The bytes of a pipe, or of a file from where it is. */
export async function* bytesOf(fd: number): AsyncGenerator<Buffer, void, void> {
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(READ_BYTES);
    const { bytesRead } = await read(fd, chunk, 0, chunk.byteLength, null);
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
  }
}

/** Writes all of a chunk at a place. */
export async function writeAt(fd: number, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.byteLength; ) {
    const { bytesWritten } = await write(fd, chunk, done, chunk.byteLength - done, position + done);
    done += bytesWritten;
  }
}
