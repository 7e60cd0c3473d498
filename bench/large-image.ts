import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../test/support/image.ts';
import { tar } from '../test/support/tar.ts';

const FILE_BYTES = 50e6;
const BLOCK_BYTES = 1e6;

/**
 * Writes an OCI layout with an image of one layer, whatever its size: a tenth of its bytes repeat nothing, the others are
 * zeros.
 *
 * @returns the layout's folder, `latest` in it
 */
export async function largeImage(folder: string, totalBytes: number): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  const blobs = join(folder, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const draft = join(blobs, 'layer');
  const zstd = spawn('zstd', ['--quiet', '--force', '-1', '-', '-o', draft], { stdio: ['pipe', 'inherit', 'inherit'] });
  const ended = once(zstd, 'exit');
  const uncompressed = createHash('sha256');
  const write = async (bytes: Buffer) => {
    uncompressed.update(bytes);
    if (!zstd.stdin.write(bytes)) await once(zstd.stdin, 'drain');
  };
  for (let number = 0; number * FILE_BYTES < totalBytes; number++) {
    await write(tar([{ path: `file${number}`, claimedSize: FILE_BYTES }], { end: false }));
    for (let written = 0; written < FILE_BYTES; written += BLOCK_BYTES) {
      await write(Buffer.concat([randomBytes(BLOCK_BYTES / 10), Buffer.alloc((BLOCK_BYTES / 10) * 9)]));
    }
    await write(Buffer.alloc((512 - (FILE_BYTES % 512)) % 512));
  }
  await write(Buffer.alloc(1024));
  zstd.stdin.end();
  await ended;

  const blob = (bytes: Buffer, mediaType: string) => {
    const digest = sha256(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (document: object, mediaType: string) => blob(Buffer.from(JSON.stringify(document)), mediaType);
  const compressed = readFileSync(draft);
  const layer = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
    digest: sha256(compressed),
    size: statSync(draft).size,
  };
  renameSync(draft, join(blobs, layer.digest.slice('sha256:'.length)));
  const config = json(
    {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [`sha256:${uncompressed.digest('hex')}`] },
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = json({ schemaVersion: 2, mediaType, config, layers: [layer] }, mediaType);
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return folder;
}
