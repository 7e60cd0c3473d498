import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGzip } from 'node:zlib';
import {
  type BlobInfo,
  type Compression,
  type ContentStore,
  type Descriptor,
  type Digest,
  DigestMismatch,
  decompress,
  detectCompression,
} from '../storage/index.ts';
import type { StoredLayer } from './loaded-image.ts';
import { type Manifest, mediaTypes } from './manifest.ts';

const CHUNK_BYTES = 128 * 1024;
/** Enough to tell compressions apart. */
const HEAD_BYTES = 8;

/** How a stored blob is compressed, by its first bytes. @throws {TareError} NotFound */
export async function storedCompression(content: Pick<ContentStore, 'path'>, digest: Digest): Promise<Compression> {
  const head = Buffer.alloc(HEAD_BYTES);
  // For some bytes another thread and a stream would take a hundred times as long.
  const file = openSync(await content.path(digest), 'r');
  try {
    return detectCompression(head.subarray(0, readSync(file, head)));
  } finally {
    closeSync(file);
  }
}

/** Whether registries and their readers take a layer as it is stored: what docker's loaders accept beyond that, they don't. */
export const isSentAsItIs = (compression: Compression): boolean => compression === 'gzip' || compression === 'zstd';

/**
 * Stores a layer once more, compressed with gzip. Equal layers give equal blobs.
 * @param onProgress told of the stored bytes that were read
 * @throws {DigestMismatch} what is stored is damaged: it must not get a new digest, by which it would count as whole
 */
export async function compressLayer(
  content: Pick<ContentStore, 'open' | 'writer'>,
  layer: Pick<StoredLayer, 'digest' | 'diffID'>,
  options: { signal?: AbortSignal; onProgress?(readBytes: number): void } = {},
): Promise<BlobInfo> {
  await using writer = await content.writer();
  const gzip = createGzip({ chunkSize: CHUNK_BYTES });
  const read = async function* () {
    let readBytes = 0;
    for await (const chunk of content.open(layer.digest)) {
      options.signal?.throwIfAborted();
      yield chunk;
      readBytes += chunk.byteLength;
      options.onProgress?.(readBytes);
    }
  };
  const hash = createHash('sha256');
  const hashed = async function* () {
    for await (const chunk of decompress(read())) {
      hash.update(chunk);
      yield chunk;
    }
  };
  // The error, the source's too, comes out of the iteration below.
  pipeline(hashed(), gzip, () => {});
  for await (const chunk of gzip) await writer.write(chunk as Buffer);
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== layer.diffID) throw new DigestMismatch(`stored layer ${layer.digest}`, layer.diffID, actual);
  return await writer.commit();
}

/**
 * A manifest's document with other layer blobs in place of its own; the rest of it, also what we don't know, stays.
 *
 * @param bytes of the manifest that `manifest` was parsed from
 * @param layers base first, as many as the manifest has
 */
export function withLayers(bytes: Uint8Array, manifest: Manifest, layers: readonly Descriptor[]): Buffer {
  const document = JSON.parse(Buffer.from(bytes).toString('utf8')) as { layers: object[] };
  document.layers = document.layers.map((old, index) => {
    const { mediaType, digest, size } = layers[index]!;
    return { ...old, mediaType, digest, size };
  });
  return Buffer.from(JSON.stringify({ ...document, mediaType: manifest.mediaType }));
}

/** The type of a gzip layer in this manifest's family. */
export const gzipTypeFor = (manifest: Manifest): string =>
  manifest.mediaType === mediaTypes.dockerManifest ? mediaTypes.dockerLayerGzip : mediaTypes.layerGzip;
