import { blobsOf, canonical, canonicalName, type Reference, type StoredImage } from '../image/index.ts';
import type { Transaction } from '../state/index.ts';
import type { Descriptor } from '../storage/index.ts';
import { putBlobSources } from './blob-sources.ts';
import { isImageMounted } from './image-mounts.ts';
import { formatRegistryOrigin } from './image-origin.ts';
import { findImage, listImage, putImage, putName, retireImage, transferEvent } from './image-records.ts';
import { putVariants, releaseVariants } from './image-variants.ts';

/** An image from a registry whose blobs and layers lie in the stores. */
export interface PulledImage {
  image: StoredImage;
  /** What the manifest was chosen from. */
  index?: Descriptor;
  /** Other platforms of the index; their layers need not be unpacked. */
  variants?: readonly StoredImage[];
  /** What the user asked for: with a digest no tag is set. */
  names: readonly Reference[];
  signatures?: readonly Descriptor[];
  nowMs: number;
}

/** Makes a pulled image visible, with its tags, the digest it has in its repositories, and its event. */
export function recordPulled(tx: Transaction, pulled: PulledImage): void {
  const { image, index, variants = [], names, signatures = [], nowMs } = pulled;
  const trusted = (one: StoredImage): StoredImage => ({
    ...one,
    signatures: [...(one.signatures ?? []), ...signatures],
    origins: names.map((name) => formatRegistryOrigin(canonical(name))),
  });
  recordWithVariants(tx, trusted(image), index, variants.map(trusted));
  const digest = index?.digest ?? image.manifest.digest;
  const repositories = new Set<string>();
  for (const name of names) {
    const { domain, path, tag } = name;
    if (name.digest === undefined) putName(tx, { domain, path, tag: tag ?? 'latest' }, image.id, nowMs, digest);
    else if (name.digest !== digest) putName(tx, { domain, path, digest: name.digest }, image.id, nowMs, digest);
    if (!repositories.has(canonicalName(name))) {
      putName(tx, { domain, path, digest }, image.id, nowMs, digest);
      putBlobSources(tx, name, [image, ...variants].flatMap(blobsOf));
    }
    repositories.add(canonicalName(name));
    transferEvent(tx, 'pull', name, image.config.config?.Labels);
  }
}

/** Makes an image visible that was chosen from an index, and findable what else of that index is here. */
export function recordWithVariants(
  tx: Transaction,
  image: StoredImage,
  index: Descriptor | undefined,
  variants: readonly StoredImage[],
): void {
  const indexBefore = findImage(tx, image.id)?.index;
  putImage(tx, index === undefined ? image : { ...image, index });
  if (index !== undefined && variants.length > 0) {
    for (const variant of variants) putImage(tx, { ...variant, index }, 'variant');
    putVariants(tx, index.digest, [image.id, ...variants.map(({ id }) => id)]);
  }
  if (indexBefore !== undefined && indexBefore.digest !== index?.digest) {
    for (const { id } of releaseVariants(tx, indexBefore.digest)) {
      // What is mounted stays an image, so that it can be unmounted.
      if (isImageMounted(tx, id)) listImage(tx, id);
      // Retired, not deleted: containers may use them. The next collection takes those that none uses.
      else retireImage(tx, id);
    }
  }
}
