import { TareError } from '../errors/index.ts';
import type { ContentStore, Descriptor, DiffID, Digest } from '../storage/index.ts';
import type { ArchiveBlob } from './archive-source.ts';
import { type ImageConfigFile, MAX_CONFIG_BYTES, parseImageConfig } from './config.ts';
import type { Reference } from './reference.ts';
import type { Unpacker } from './unpack.ts';

/** A layer of an image as it lies in both stores. */
export interface StoredLayer {
  digest: Digest;
  diffID: DiffID;
  mediaType: string;
  /** Of the stored blob. */
  blobBytes: number;
  /** Of the files in it. */
  unpackedBytes: number;
}

/** An image whose blobs and layers lie, checked, in the stores. It is visible once somebody records it. */
export interface StoredImage {
  /** Digest of the config. */
  id: Digest;
  manifest: Descriptor;
  config: ImageConfigFile;
  /** Base first. */
  layers: StoredLayer[];
  /** The index that the manifest was chosen from; its blob lies in the store. */
  index?: Descriptor;
  /** Documents that speak for the image's trust, kept with it. */
  signatures?: Descriptor[];
  /** The ways that it came from elsewhere (`docker://NAME`, `oci-archive:`): a signature policy asks again when it runs. */
  origins?: string[];
}

/** A stored image with the names that its archive gives it. */
export interface LoadedImage extends StoredImage {
  names: Reference[];
  /** Other platforms of its index. */
  variants?: StoredImage[];
}

/** Reads a config blob. @throws {TareError} InvalidArgument: too large, or not an image's */
export async function readConfig(
  content: Pick<ContentStore, 'read'>,
  blob: { digest: Digest; sizeBytes: number },
  what: string,
): Promise<ImageConfigFile> {
  if (blob.sizeBytes > MAX_CONFIG_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `${what}: config ${blob.digest} has ${blob.sizeBytes} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
    );
  }
  return parseImageConfig(await content.read(blob.digest, MAX_CONFIG_BYTES), `${what}: config ${blob.digest}`);
}

/** A layer on its way from an archive into the stores. */
export interface ArchivedLayer {
  blob: ArchiveBlob;
  mediaType: string;
}

/**
 * Unpacks an image's layers, all at once, and compares each with what the config says.
 *
 * @throws {TareError} InvalidArgument: as many layers as diff_ids, and each with its diffID
 */
export async function unpackLayers(
  unpacker: Unpacker,
  config: ImageConfigFile,
  layers: readonly ArchivedLayer[],
  what: string,
): Promise<StoredLayer[]> {
  const diffIDs = config.rootfs.diff_ids;
  if (layers.length !== diffIDs.length) {
    throw new TareError(
      'InvalidArgument',
      `${what}: it lists ${layers.length} layers, but its config ${diffIDs.length} diff_ids: they must be as many`,
    );
  }
  return await Promise.all(
    layers.map(async ({ blob, mediaType }, index) => {
      const layer = await unpacker.finish(blob.digest, blob.compression, diffIDs[index]!, what);
      return {
        digest: blob.digest,
        diffID: layer.diffID,
        mediaType,
        blobBytes: blob.sizeBytes,
        unpackedBytes: layer.sizeBytes,
      };
    }),
  );
}
