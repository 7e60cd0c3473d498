import { createHash } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { BlobInfo, ContentStore, Descriptor, DiffID } from '../storage/index.ts';
import { compressedBlocks } from './compressed-blocks.ts';
import { type ImageConfigFile, type ImageHistoryEntry, type ImageProcessConfig, MAX_LAYERS } from './config.ts';
import { compact } from './json.ts';
import type { ImageStores } from './load.ts';
import { putManifest } from './load-docker.ts';
import type { StoredImage, StoredLayer } from './loaded-image.ts';
import { mediaTypes } from './manifest.ts';

/** Of an archive with nothing in it: two zero blocks. Docker makes no layer of it. */
const EMPTY_TAR = 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef' as DiffID;

/** What a new image says beside what its base says. */
export interface CommitOptions {
  config: ImageProcessConfig;
  author: string;
  comment: string;
  /** The command that made the change, for the history. */
  createdBy: string;
  /** Milliseconds since the epoch. */
  createdMs: number;
}

/**
 * Stores a layer's tar compressed, reading it once.
 *
 * @returns the blob, and the name of the bytes as they came
 */
export async function storeLayer(
  content: Pick<ContentStore, 'writer'>,
  tar: AsyncIterable<Uint8Array>,
): Promise<{ blob: BlobInfo; diffID: DiffID }> {
  const hash = createHash('sha256');
  const hashed = async function* () {
    for await (const chunk of tar) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await using writer = await content.writer();
  for await (const chunk of compressedBlocks(hashed(), { kind: 'gzip' })) await writer.write(chunk);
  const blob = await writer.commit();
  return { blob, diffID: `sha256:${hash.digest('hex')}` as DiffID };
}

/**
 * Makes an image of another one and a layer above it. Hold the stores against garbage collection meanwhile.
 *
 * @param tar the layer, uncompressed (image-spec, layer.md); without an entry no layer is made of it
 * @throws {TareError} InvalidArgument: the base has as many layers as can be stacked
 */
export async function commitImage(
  { content, layers }: ImageStores,
  base: StoredImage,
  tar: AsyncIterable<Uint8Array>,
  options: CommitOptions,
): Promise<StoredImage> {
  if (base.layers.length >= MAX_LAYERS) {
    throw new TareError(
      'InvalidArgument',
      `image ${base.id} has ${base.layers.length} layers, and no more than ${MAX_LAYERS} can be stacked: export the container and import it as one layer`,
    );
  }
  const added: StoredLayer[] = [];
  const { blob, diffID } = await storeLayer(content, tar);
  if (diffID !== EMPTY_TAR) {
    // From the blob: what can be run later is what was stored.
    const layer = await layers.apply({ path: await content.path(blob.digest), compression: 'gzip' }, diffID);
    added.push({
      digest: blob.digest,
      diffID,
      mediaType: mediaTypes.layerGzip,
      blobBytes: blob.sizeBytes,
      unpackedBytes: layer.sizeBytes,
    });
  }
  const all = [...base.layers, ...added];
  const config = committedConfig(base.config, all, added.length === 0, options);
  const configBlob = await content.put(Buffer.from(JSON.stringify(config)));
  const manifest = await putManifest(
    content,
    { digest: configBlob.digest, size: configBlob.sizeBytes },
    all.map(descriptorOf),
  );
  return { id: configBlob.digest, manifest, config, layers: all };
}

/** A manifest of OCI's names its layers in OCI's words. */
function descriptorOf({ mediaType, digest, blobBytes }: StoredLayer): Descriptor {
  const own = mediaType === mediaTypes.dockerLayerGzip ? mediaTypes.layerGzip : mediaType;
  return { mediaType: own, digest, size: blobBytes };
}

function committedConfig(
  base: ImageConfigFile,
  layers: readonly StoredLayer[],
  isEmptyLayer: boolean,
  options: CommitOptions,
): ImageConfigFile {
  const { architecture, os, variant } = base;
  const created = new Date(options.createdMs).toISOString();
  const said = {
    author: options.author === '' ? undefined : options.author,
    comment: options.comment === '' ? undefined : options.comment,
  };
  const step: ImageHistoryEntry = compact({
    created,
    created_by: options.createdBy,
    ...said,
    empty_layer: isEmptyLayer ? true : undefined,
  });
  // A base without a history still has its layers, and each step stands for one.
  const before = base.history ?? layers.slice(0, isEmptyLayer ? undefined : -1).map(() => ({}));
  return compact({
    created,
    ...said,
    ...{ architecture, os, variant },
    'os.version': base['os.version'],
    'os.features': base['os.features'],
    config: options.config,
    rootfs: { type: 'layers' as const, diff_ids: layers.map(({ diffID }) => diffID) },
    history: [...before, step],
  });
}
