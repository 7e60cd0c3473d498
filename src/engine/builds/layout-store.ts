import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SessionContentStore } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { DigestMismatch, parseDigest } from '../../storage/index.ts';

const PIECE_BYTES = 256 * 1024;

/** The blobs of an OCI layout on this machine (image-spec, image-layout.md). It is made when something is written to it. */
export function openLayoutStore(folder: string): SessionContentStore {
  const pathOf = (digest: string): string =>
    join(folder, 'blobs', 'sha256', parseDigest(digest).slice('sha256:'.length));
  const missing = (digest: string, cause: unknown): unknown =>
    (cause as NodeJS.ErrnoException).code === 'ENOENT'
      ? new TareError('NotFound', `content ${digest}: not found in ${folder}`, { cause })
      : cause;
  const info: SessionContentStore['info'] = async (digest) => {
    try {
      const { size } = await stat(pathOf(digest));
      return { digest, sizeBytes: size, labels: {} };
    } catch (error) {
      throw missing(digest, error);
    }
  };
  return {
    info,
    read: async function* (digest, offset = 0) {
      await using file = await open(pathOf(digest), 'r').catch((error: unknown) => {
        throw missing(digest, error);
      });
      for (let at = offset; ; ) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES, at);
        if (bytesRead === 0) return;
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    },
    write: async (_ref, { digest, sizeBytes }, bytes) => {
      const path = pathOf(digest);
      if ((await stat(path).catch(() => undefined))?.size === sizeBytes) return;
      await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
      await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}', { mode: 0o644 });
      const growing = `${path}.${randomBytes(6).toString('hex')}`;
      try {
        await writeBlob(growing, digest, sizeBytes, bytes);
        await rename(growing, path);
      } finally {
        await rm(growing, { force: true });
      }
    },
  };
}

async function writeBlob(
  path: string,
  digest: string,
  sizeBytes: number,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const hash = createHash('sha256');
  let size = 0;
  await using file = await open(path, 'wx', 0o644);
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > sizeBytes) break;
    hash.update(chunk);
    for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
  }
  if (size !== sizeBytes)
    throw new TareError('InvalidArgument', `blob ${digest}: ${size} bytes came, ${sizeBytes} were said`);
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== digest) throw new DigestMismatch('blob', digest, actual);
  await file.datasync();
}
