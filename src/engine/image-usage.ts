import type { Digest } from '../storage/index.ts';
import { type KeptByBuilds, keptByBuilds } from './builds/kept-by-builds.ts';
import { isImageMounted } from './image-mounts.ts';
import type { ImageParts } from './image-parts.ts';
import { everyImage, type ImageOutline } from './image-records.ts';
import type { ImageUsage } from './types.ts';

/** What images occupy: blobs as they came, and unpacked layers. What builds alone keep does not count. */
export async function storedBytes({ db, content, layers }: StoredWith): Promise<number> {
  const kept = keptByBuilds(db, layers);
  const images = everyImage(db);
  const blobs = new Set(images.flatMap(blobsOf));
  const diffIDs = new Set(images.flatMap(({ layers }) => layers.map(({ diffID }) => diffID)));
  let bytes = 0;
  for await (const { digest, sizeBytes } of content.walk()) {
    if (blobs.has(digest) || !kept.blobs.has(digest)) bytes += sizeBytes;
  }
  for (const { diffID, sizeBytes } of await layers.layers()) {
    if (diffIDs.has(diffID) || !kept.layers.has(diffID)) bytes += sizeBytes;
  }
  return bytes;
}

const blobsOf = ({ id, manifest, index, signatures, layers }: ImageOutline): Digest[] => [
  id,
  ...[manifest, ...(index === undefined ? [] : [index]), ...signatures, ...layers].map(({ digest }) => digest),
];

type StoredWith = Pick<ImageParts, 'db' | 'content' | 'layers'>;

/** See `Images.usage`. */
export async function imageUsage(parts: ImageParts): Promise<ImageUsage> {
  const unpacked = new Set((await parts.layers.layers()).map(({ diffID }) => diffID));
  const blobs = await storedBlobs(parts);
  // A row tells sizes also of what is not unpacked.
  const images = everyImage(parts.db).map((image) => ({
    ...image,
    layers: asStored(image, blobs).layers.map((layer) =>
      unpacked.has(layer.diffID) ? layer : { ...layer, unpackedBytes: 0 },
    ),
  }));
  const all = new StoredParts(images);
  const isUsed = ({ id }: ImageOutline) => parts.containersUsing(id).length > 0 || isImageMounted(parts.db, id);
  const totalBytes = await storedBytes(parts);
  const kept = keptByBuilds(parts.db, parts.layers);
  const needed = new StoredParts(images.filter(isUsed)).bytes;
  const keptBytes = all.bytes - new StoredParts(images, kept).bytes;
  const neededKept = needed - new StoredParts(images.filter(isUsed), kept).bytes;
  return {
    totalBytes,
    // What the build cache keeps as well stays without the images.
    reclaimableBytes: Math.max(0, totalBytes - needed - (keptBytes - neededKept)),
    images: new Map(
      images.map((image) => [image.id, { sizeBytes: bytesOf(image), sharedBytes: all.sharedBytes(image) }]),
    ),
  };
}

/** Digests of the blobs that there are. */
export async function storedBlobs({ content }: Pick<ImageParts, 'content'>): Promise<ReadonlySet<string>> {
  return new Set(await content.digests());
}

/** An image whose blobs take what they take here: a layer that was made here is packed only when somebody wants its blob. */
export const asStored = <T extends ImageOutline>(image: T, blobs: ReadonlySet<string>): T => ({
  ...image,
  layers: image.layers.map((layer) => (blobs.has(layer.digest) ? layer : { ...layer, blobBytes: 0 })),
});

const bytesOf = (image: ImageOutline): number => partsOf(image).reduce((sum, { bytes }) => sum + bytes, 0);

/** How many images need each blob and each unpacked layer. */
export class StoredParts {
  readonly #users = new Map<string, { count: number; bytes: number }>();

  /** @param kept is there without images too, and counts nothing */
  constructor(images: Iterable<ImageOutline>, kept: KeptByBuilds = { layers: new Set(), blobs: new Set() }) {
    for (const image of images) {
      for (const { key, bytes } of partsOf(image, kept)) {
        const known = this.#users.get(key);
        if (known === undefined) this.#users.set(key, { count: 1, bytes });
        else known.count += 1;
      }
    }
  }

  /** Of all of them, each counted once. */
  get bytes(): number {
    return [...this.#users.values()].reduce((sum, { count, bytes }) => sum + (count > 0 ? bytes : 0), 0);
  }

  /** What of an image others need, too. */
  sharedBytes(image: ImageOutline): number {
    return partsOf(image).reduce(
      (sum, { key, bytes }) => sum + ((this.#users.get(key)?.count ?? 0) > 1 ? bytes : 0),
      0,
    );
  }

  /** @returns bytes that nobody needs any more without this image */
  withdraw(image: ImageOutline): number {
    let freed = 0;
    for (const { key, bytes } of partsOf(image)) {
      const known = this.#users.get(key);
      if (known === undefined) continue;
      known.count -= 1;
      if (known.count === 0) freed += bytes;
    }
    return freed;
  }
}

/** What an image is stored as. The config's size is not recorded and small. */
function partsOf({ manifest, index, layers }: ImageOutline, kept?: KeptByBuilds): { key: string; bytes: number }[] {
  const parts = [manifest, ...(index === undefined ? [] : [index])].map(({ digest, size }) => ({
    key: `blob ${digest}`,
    bytes: size,
  }));
  for (const { digest, diffID, blobBytes, unpackedBytes } of layers) {
    parts.push(
      { key: `blob ${digest}`, bytes: kept?.blobs.has(digest) ? 0 : blobBytes },
      { key: `layer ${diffID}`, bytes: kept?.layers.has(diffID) ? 0 : unpackedBytes },
    );
  }
  return [...new Map(parts.map((part) => [part.key, part])).values()];
}
