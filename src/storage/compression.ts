import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { TareError } from '../errors/index.ts';
import { inflateForeign } from '../linux/index.ts';
import type { Compression } from './layer-store.ts';

/** Bytes in one piece of output: each costs two changes of thread; small enough to keep memory flat. */
const CHUNK_BYTES = 512 * 1024;

const magics: [Compression, number[]][] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
];

/** How a stream is compressed, by its first six bytes. */
export function detectCompression(head: Uint8Array): Compression {
  for (const [compression, magic] of magics) {
    if (magic.every((byte, index) => head[index] === byte)) return compression;
  }
  // zstd's skippable frames, as zstd:chunked and pzstd put them first: 0x184D2A50 to 0x184D2A5F.
  if (((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) return 'zstd';
  return 'none';
}

/**
 * Inflates a stream at the reader's pace. A chunk is used up before the next is asked for, so that its memory may serve
 * again.
 *
 * @param compression undefined: found out from the first bytes
 * @throws {TareError} InvalidArgument: damaged or truncated
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression?: Compression,
): AsyncGenerator<Buffer, void, void> {
  let input = source;
  let kind = compression;
  if (kind === undefined) {
    const { head, whole } = await peek(source);
    kind = detectCompression(head);
    input = whole;
  }
  try {
    yield* inflate(input, kind);
  } catch (error) {
    throw explain(error, kind);
  }
}

async function* inflate(input: AsyncIterable<Uint8Array>, kind: Compression): AsyncGenerator<Buffer, void, void> {
  if (kind === 'none') {
    for await (const chunk of input) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  } else if (kind === 'gzip' || kind === 'zstd') {
    const inflater =
      kind === 'gzip' ? createGunzip({ chunkSize: CHUNK_BYTES }) : createZstdDecompress({ chunkSize: CHUNK_BYTES });
    void feed(input, inflater);
    yield* inflater as AsyncIterable<Buffer>;
  } else {
    yield* inflateForeign(input, kind, CHUNK_BYTES);
  }
}

/** Writes all of a source; an error of the source's comes out of the stream's other end. */
async function feed(input: AsyncIterable<Uint8Array>, inflater: Transform): Promise<void> {
  try {
    for await (const chunk of input) {
      // The callback comes when the chunk is used up, and never if the stream is destroyed meanwhile.
      await new Promise<void>((resolve, reject) => {
        inflater.once('close', resolve);
        inflater.write(chunk, (error) => {
          inflater.off('close', resolve);
          if (error) reject(error);
          else resolve();
        });
      });
      if (inflater.destroyed) return;
    }
    inflater.end();
  } catch (error) {
    inflater.destroy(error as Error);
  }
}

async function peek(
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; whole: AsyncGenerator<Uint8Array, void, void> }> {
  const input = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 6) {
    const { value, done } = await input.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  const whole = (async function* () {
    try {
      if (head.length > 0) yield head;
      for (let next = await input.next(); !next.done; next = await input.next()) yield next.value;
    } finally {
      await input.return?.();
    }
  })();
  return { head, whole };
}

function explain(error: unknown, kind: Compression): unknown {
  const code = String((error as { code?: unknown }).code);
  if (!/^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD|LZMA_|BZ_)/.test(code)) return error;
  const isShort = code === 'Z_BUF_ERROR' || /unexpected end|truncated/i.test((error as Error).message);
  const problem = isShort ? 'is truncated' : `is damaged (${(error as Error).message})`;
  return new TareError('InvalidArgument', `invalid ${kind} data: it ${problem}`, { cause: error });
}
