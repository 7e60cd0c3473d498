import { read as readCallback, write as writeCallback } from 'node:fs';
import { promisify } from 'node:util';
import { startWriteback } from '../../linux/index.ts';
import { PieceWriter } from '../piece-writer.ts';

const read = promisify(readCallback);
const write = promisify(writeCallback);
const READ_BYTES = 512 * 1024;
/** How much may wait in the page cache before it is sent to the disk: a sync then waits for the last piece only. */
const WRITEBACK_BYTES = 8 << 20;

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

/**
 * Writes a stream to a stretch of an open file: small chunks are gathered, and one piece is written while the next one
 * comes. What had come is in the file also when the stream fails.
 *
 * @param onProgress told of the bytes taken so far, from the stretch's beginning
 */
export async function writeStream(
  fd: number,
  start: number,
  bytes: AsyncIterable<Uint8Array>,
  onProgress: (takenBytes: number) => void = () => {},
): Promise<void> {
  let position = start;
  let flushed = start;
  let flushing: Promise<void> = Promise.resolve();
  const pieces = new PieceWriter({
    write: async (piece) => {
      await writeAt(fd, piece, position);
      position += piece.byteLength;
      if (position - flushed < WRITEBACK_BYTES) return;
      const from = flushed;
      flushed = position;
      flushing = flushing.then(() => startWriteback(fd, from, position - from));
    },
  });
  let taken = 0;
  try {
    for await (const chunk of bytes) {
      await pieces.write(chunk);
      taken += chunk.byteLength;
      onProgress(taken);
    }
    await pieces.finish();
  } catch (error) {
    // The first failure is the one to tell.
    await pieces.finish().catch(() => {});
    throw error;
  } finally {
    // Nothing uses the descriptor after this.
    await flushing.catch(() => {});
  }
}
