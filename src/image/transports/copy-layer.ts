import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import { TareError } from '../../errors/index.ts';
import { type Compression, type Descriptor, type DiffID, detectCompression } from '../../storage/index.ts';
import { ByteReader } from '../byte-reader.ts';
import { decompressed } from '../decompress.ts';
import { verified } from './hashed-bytes.ts';
import type { LayerCompression } from './layer-types.ts';
import { type Spooled, spool } from './spool.ts';

/** How layers are to be compressed. */
export interface CompressionChoice {
  format: 'gzip' | 'zstd';
  /** As the format counts it: gzip 0 to 9, zstd 1 to 22; undefined: the format's default. */
  level?: number | undefined;
}

const SNIFF_BYTES = 6;

/**
 * A layer's bytes in another compression, in a nameless file: only its end tells the new digest.
 *
 * @param wanted 'none' to decompress; a compression only where a layer has none
 * @param isStrict also a layer that is compressed otherwise is compressed anew
 * @param diffID what the layer must unpack to, if that is seen on the way
 * @returns undefined: it is so already
 * @throws {DigestMismatch} the bytes are not the descriptor's; {TareError} InvalidArgument: damaged, or another diffID
 */
export async function convertLayer(
  descriptor: Descriptor,
  bytes: AsyncIterable<Uint8Array>,
  wanted: CompressionChoice | 'none',
  isStrict: boolean,
  diffID: DiffID | undefined,
): Promise<{ spooled: Spooled; compression: LayerCompression } | undefined> {
  let isWhole = false;
  const whole = async function* () {
    yield* verified(bytes, descriptor, `layer ${descriptor.digest}`);
    isWhole = true;
  };
  const reader = new ByteReader(whole());
  const head = Buffer.from(await reader.upTo(SNIFF_BYTES));
  const actual = detectCompression(head);
  const target = wanted === 'none' ? 'none' : wanted.format;
  if (actual === target || (actual !== 'none' && target !== 'none' && !isStrict && isTellable(actual))) {
    await reader.close();
    return undefined;
  }
  const plain = withDiffID(actual === 'none' ? reader.rest(head) : decompressed(reader.rest(head)), diffID, descriptor);
  await using spooling = new AsyncDisposableStack();
  const spooled = spooling.use(await spool(wanted === 'none' ? plain : compressed(plain, wanted)));
  if (!isWhole) {
    throw new TareError('InvalidArgument', `layer ${descriptor.digest} has bytes after its compressed data`);
  }
  spooling.move();
  return { spooled, compression: target };
}

/** Whether a media type can say so. */
const isTellable = (compression: Compression): compression is LayerCompression =>
  compression === 'none' || compression === 'gzip' || compression === 'zstd';

async function* withDiffID(
  bytes: AsyncIterable<Uint8Array>,
  diffID: DiffID | undefined,
  descriptor: Descriptor,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (diffID === undefined || actual === diffID) return;
  throw new TareError(
    'InvalidArgument',
    `layer ${descriptor.digest} unpacks to diffID ${actual}, but the config says ${diffID}`,
  );
}

async function* compressed(
  bytes: AsyncIterable<Uint8Array>,
  { format, level }: CompressionChoice,
): AsyncGenerator<Uint8Array> {
  const chunkSize = 256 * 1024;
  const packer =
    format === 'gzip'
      ? createGzip({ chunkSize, ...(level === undefined ? {} : { level }) })
      : createZstdCompress({
          chunkSize,
          params: level === undefined ? {} : { [constants.ZSTD_c_compressionLevel]: level },
        });
  // The error, the source's too, comes out of the iteration below.
  pipeline(bytes, packer, () => {});
  yield* packer as AsyncIterable<Buffer>;
}

/** @throws {TareError} InvalidArgument: the format has no such level */
export function checkCompression({ format, level }: CompressionChoice): void {
  if (level === undefined) return;
  const [least, most] = format === 'gzip' ? [0, 9] : [1, 22];
  if (Number.isInteger(level) && level >= least && level <= most) return;
  throw new TareError('InvalidArgument', `compression level ${level}: ${format} has ${least} to ${most}`);
}
