import { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { TareError } from '../errors/index.ts';
import { ByteReader } from './byte-reader.ts';
import { SNIFF_BYTES, sniffCompression } from './manifest.ts';

// Far more than real images reach; a bomb has to stay below both to go on.
const MAX_RATIO = 200;
const RATIO_COUNTS_FROM_BYTES = 256 << 20;

/**
 * The bytes of a stream that may be compressed as a whole.
 *
 * @param what names the stream in errors
 * @throws {TareError} InvalidArgument: damaged, or it inflates beyond reason; Unsupported: bzip2 and xz
 */
export async function* decompressed(input: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(input);
  const head = await reader.upTo(SNIFF_BYTES);
  const compression = sniffCompression(head);
  const stored = reader.rest(head);
  if (compression === 'none') {
    yield* stored;
    return;
  }
  if (compression !== 'gzip' && compression !== 'zstd') {
    await stored.return(undefined);
    throw new TareError(
      'Unsupported',
      `${what} is compressed with ${compression}: decompress it first, or use gzip or zstd`,
    );
  }
  const decoder = compression === 'gzip' ? createGunzip() : createZstdDecompress();
  const source = Readable.from(stored, { objectMode: false });
  source.on('error', (error) => decoder.destroy(error));
  source.pipe(decoder);
  let inflated = 0;
  try {
    for await (const chunk of decoder) {
      inflated += chunk.length;
      if (inflated > RATIO_COUNTS_FROM_BYTES && inflated > reader.position * MAX_RATIO) {
        throw new TareError(
          'InvalidArgument',
          `${what}: ${reader.position} bytes inflate to more than ${inflated}: refused as a decompression bomb`,
        );
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code))) {
      throw new TareError('InvalidArgument', `${what}: damaged ${compression} stream: ${error.message}`, {
        cause: error,
      });
    }
    throw error;
  } finally {
    decoder.destroy();
    source.destroy();
  }
}
