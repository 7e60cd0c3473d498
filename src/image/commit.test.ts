import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { openContentStore } from '../storage/index.ts';
import { storeLayer } from './commit.ts';
import { compressedBlocks } from './compressed-blocks.ts';

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

const packed = async (kind: 'gzip' | 'zstd', bytes: Uint8Array, size: number): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(compressedBlocks(cut(bytes, size), { kind })));

const sizes = [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 9_000_003];
test.each([...sizes.map((size) => ['gzip', size] as const), ...sizes.map((size) => ['zstd', size] as const)])(
  '%s, %d bytes: they come back, however they were cut',
  async (kind, size) => {
    const bytes = Buffer.concat([Buffer.alloc(size >> 1, 'text '), randomBytes(size - (size >> 1))]);
    const one = await packed(kind, bytes, 70_001);
    const unpacked =
      kind === 'gzip' ? execFileSync('gzip', ['-dc'], { input: one, maxBuffer: 1e8 }) : zstdDecompressSync(one);
    expect(unpacked.equals(bytes)).toBe(true);
    expect((await packed(kind, bytes, 1_500_000)).equals(one)).toBe(true);
  },
);

test('a layer is named by its bytes, and by what is stored of them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-commit-'));
  try {
    using content = await openContentStore(folder);
    const bytes = randomBytes(3_000_000);
    const { blob, diffID } = await storeLayer(content, cut(bytes, 100_000));
    const sha256 = (of: Uint8Array) => `sha256:${createHash('sha256').update(of).digest('hex')}`;
    expect(diffID).toBe(sha256(bytes));
    expect(blob.digest).toBe(sha256(readFileSync(await content.path(blob.digest))));
    const broken = (async function* () {
      yield randomBytes(2_500_000);
      throw new Error('the container is gone');
    })();
    await expect(storeLayer(content, broken)).rejects.toThrow('the container is gone');
    expect((await Array.fromAsync(content.walk())).map(({ digest }) => digest)).toEqual([blob.digest]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
