import { createGzip, gzipSync } from 'node:zlib';
import type { Blob, TestRegistry } from './registry.ts';

/** A gzip of so many zero bytes: about a thousandth of them. */
export async function gzipBomb(uncompressedBytes: number): Promise<Buffer> {
  const gzip = createGzip({ level: 9 });
  const zeros = Buffer.alloc(1 << 20);
  const chunks: Buffer[] = [];
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (let left = uncompressedBytes; left > 0; left -= zeros.length) {
    const isFull = !gzip.write(zeros.subarray(0, Math.min(left, zeros.length)));
    if (isFull) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  const done = new Promise((resolve) => gzip.once('end', resolve));
  gzip.end();
  await done;
  return Buffer.concat(chunks);
}

/** Index in index, `depth` deep, the innermost around `manifest`. */
export async function nestedIndex(
  registry: TestRegistry,
  repository: string,
  tag: string,
  depth: number,
  manifest: Blob,
): Promise<Blob> {
  let inner = manifest;
  for (let level = depth; level > 0; level -= 1) {
    const { mediaType, digest, size } = await registry.seedIndex(
      repository,
      level === 1 ? tag : undefined,
      [{ ...inner, platform: { architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux' } }],
      { annotations: { level: String(level) } },
    );
    inner = { mediaType, digest, size };
  }
  return inner;
}

/** A gzip whose end is missing. */
export const cutGzip = (bytes: Uint8Array): Buffer => {
  const whole = gzipSync(bytes);
  return whole.subarray(0, whole.length - 12);
};
