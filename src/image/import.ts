import { TareError } from '../errors/index.ts';
import { type Compression, detectCompression, type Platform } from '../storage/index.ts';
import { ByteReader } from './byte-reader.ts';
import type { ImageConfigFile, ImageProcessConfig } from './config.ts';
import { decompressed } from './decompress.ts';
import { compact } from './json.ts';
import type { ImageStores } from './load.ts';
import { putManifest } from './load-docker.ts';
import type { StoredImage } from './loaded-image.ts';
import { layerMediaType } from './manifest.ts';

// What tells a compression.
const SNIFF_BYTES = 6;

/** What an imported root filesystem becomes beside its files. */
export interface ImportOptions {
  platform: Platform;
  /** Says in the history where it came from. */
  message: string;
  config: ImageProcessConfig;
  /** Milliseconds since the epoch. */
  createdMs: number;
  signal?: AbortSignal;
}

/**
 * Makes an image of one layer from a root filesystem's tar. A tar compressed with gzip or zstd is stored as it came: that
 * costs neither time nor space, and its media type says how to read it. Others have no media type and are stored plain.
 *
 * @throws {TareError} InvalidArgument: no tar, damaged, or with hostile entries
 */
export async function importRootFilesystem(
  { content, layers }: ImageStores,
  input: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<StoredImage> {
  const reader = new ByteReader(input);
  const head = await reader.upTo(SNIFF_BYTES);
  if (head.byteLength === 0) {
    throw new TareError('InvalidArgument', 'import: the input is empty: want the tar of a root filesystem');
  }
  const sniffed = detectCompression(head);
  const isStoredAsIs = sniffed === 'none' || sniffed === 'gzip' || sniffed === 'zstd';
  const compression: Compression = isStoredAsIs ? sniffed : 'none';
  const bytes = isStoredAsIs ? reader.rest(head) : decompressed(reader.rest(head));
  await using writer = await content.writer();
  for await (const chunk of bytes) await writer.write(chunk);
  const blob = await writer.commit();
  const path = await content.path(blob.digest);
  const layer = await layers.apply({ path, compression }, undefined, options.signal);
  const mediaType = layerMediaType(compression);
  const config = importedConfig(options, layer.diffID);
  const configBlob = await content.put(Buffer.from(JSON.stringify(config)));
  const manifest = await putManifest(content, { digest: configBlob.digest, size: configBlob.sizeBytes }, [
    { mediaType, digest: blob.digest, size: blob.sizeBytes },
  ]);
  return {
    id: configBlob.digest,
    manifest,
    config,
    layers: [
      {
        digest: blob.digest,
        diffID: layer.diffID,
        mediaType,
        blobBytes: blob.sizeBytes,
        unpackedBytes: layer.sizeBytes,
      },
    ],
  };
}

function importedConfig(
  options: ImportOptions,
  diffID: ImageConfigFile['rootfs']['diff_ids'][number],
): ImageConfigFile {
  const created = new Date(options.createdMs).toISOString();
  return compact({
    created,
    ...options.platform,
    comment: options.message === '' ? undefined : options.message,
    config: options.config,
    rootfs: { type: 'layers' as const, diff_ids: [diffID] },
    history: [compact({ created, comment: options.message === '' ? undefined : options.message })],
  });
}
