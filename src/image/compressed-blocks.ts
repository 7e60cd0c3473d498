import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { constants, gzip, zstdCompress } from 'node:zlib';

/** How blocks are compressed. */
export interface BlockCompression {
  kind: 'gzip' | 'zstd';
  /** Undefined: what is fast. */
  level?: number;
}

/** Large enough that a block's own beginning costs nothing, small enough that memory stays flat. zstd looks further back. */
const BLOCK_BYTES = { gzip: 512 * 1024, zstd: 4 * 1024 * 1024 };
/** A layer a few percent larger than by zlib's and zstd's own defaults, in half the time. */
const LEVEL = { gzip: 1, zstd: 2 };

/**
 * Compresses a stream on all processors: block by block, each a gzip member (RFC 1952, 2.2) or a zstd frame (RFC 8878, 3) of its
 * own, which every reader takes as one file. Equal bytes give equal bytes, however they were cut when they came.
 */
export async function* compressedBlocks(
  source: AsyncIterable<Uint8Array>,
  { kind, level = LEVEL[kind] }: BlockCompression,
): AsyncGenerator<Buffer, void, void> {
  const blockBytes = BLOCK_BYTES[kind];
  const compressGzip = promisify(gzip);
  const compressZstd = promisify(zstdCompress);
  const compress = (bytes: Buffer): Promise<Buffer> =>
    kind === 'gzip'
      ? compressGzip(bytes, { level })
      : compressZstd(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level } });
  const limit = availableParallelism() + 1;
  const running: { block: Buffer; work: Promise<Buffer> }[] = [];
  /** Used again and again: blocks that wait for the garbage collector add up. */
  const free: Buffer[] = [];
  const begin = (block: Buffer, size: number): void => {
    const work = compress(block.subarray(0, size));
    // Whoever reads the block meets the error; with no reader any more, nobody has to.
    work.catch(() => {});
    running.push({ block, work });
  };
  const finish = async (): Promise<Buffer> => {
    const { block, work } = running.shift()!;
    const packed = await work;
    free.push(block);
    return packed;
  };
  let block: Buffer = Buffer.allocUnsafeSlow(blockBytes);
  let size = 0;
  let isEmpty = true;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + blockBytes - size);
      block.set(piece, size);
      size += piece.byteLength;
      at += piece.byteLength;
      if (size < blockBytes) continue;
      begin(block, size);
      isEmpty = false;
      if (running.length >= limit) yield await finish();
      block = free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
      size = 0;
    }
  }
  if (size > 0 || isEmpty) begin(block, size);
  while (running.length > 0) yield await finish();
}
