import { statfs } from 'node:fs/promises';
import { keptByBuilds } from './builds/kept-by-builds.ts';
import { collectUnlessHeld } from './image-collect.ts';
import { amountOf, formatThreshold, type ImageGC } from './image-gc-config.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, everyImage, findImage, type ImageOutline } from './image-records.ts';
import { eraseUnused, isUnused, LayerUses } from './image-remove.ts';
import { asStored, StoredParts, storedBlobs, storedBytes } from './image-usage.ts';
import { lastUses } from './image-uses.ts';

/** Who pulls an image makes a container of it next: what was touched so lately stays. */
const GRACE_MS = 60_000;

/** What a trim did. */
export interface Trimmed {
  /** A name or id of each image, the oldest first. */
  images: string[];
  /** Of blobs and layers that no other image needs. */
  bytes: number;
}

/**
 * Removes unused images, those used least lately first, once more than the high threshold is used, until no more than the
 * low one is. An image counts as used when a container was made of it, when it was tagged, or when it was made.
 *
 * @param dataRoot the folder whose file system counts
 * @returns what was removed; undefined: another process is at it, or nothing had to go
 */
export async function trimImages(parts: ImageParts, gc: ImageGC, dataRoot: string): Promise<Trimmed | undefined> {
  if ((await usage(parts, gc, dataRoot)) <= amountOf(gc.high)) return undefined;
  using lock = parts.locks.tryAcquire('image-gc');
  if (lock === undefined) return undefined;
  const trimmed: Trimmed = { images: [], bytes: 0 };
  // While somebody stores an image nothing can be freed, and removing more would not help; whoever stores trims at his end.
  while (await collectUnlessHeld(parts)) {
    const excess = await excessBytes(parts, gc, dataRoot);
    if (excess <= 0) break;
    const round = await removeOldest(parts, gc, excess);
    if (round.images.length === 0) break;
    trimmed.images.push(...round.images);
    trimmed.bytes += round.bytes;
  }
  return trimmed.images.length > 0 ? trimmed : undefined;
}

/** In the threshold's own measure. */
async function usage(parts: ImageParts, gc: ImageGC, dataRoot: string): Promise<number> {
  if ('bytes' in gc.high) return await storedBytes(parts);
  const { blocks, bfree, bavail } = await statfs(dataRoot);
  // As df counts: what is kept for root is neither used nor free.
  const [used, free] = [blocks - bfree, bavail];
  return used + free === 0 ? 0 : (used / (used + free)) * 100;
}

async function excessBytes(parts: ImageParts, gc: ImageGC, dataRoot: string): Promise<number> {
  if ('bytes' in gc.low) return (await storedBytes(parts)) - gc.low.bytes;
  const { blocks, bfree, bavail, bsize } = await statfs(dataRoot);
  const used = blocks - bfree;
  return (used - ((used + bavail) * gc.low.percent) / 100) * bsize;
}

/** Removes as many of the oldest as promise to free so much. */
async function removeOldest(parts: ImageParts, gc: ImageGC, wantedBytes: number): Promise<Trimmed> {
  const blobs = await storedBlobs(parts);
  return await parts.db.write((tx) => {
    const uses = lastUses(tx);
    const usedMs = (image: ImageOutline) => Math.max(uses.get(image.id) ?? 0, image.lastTaggedMs) || image.createdMs;
    const unused = allImages(tx)
      .filter((image) => isUnused(parts, tx, image))
      .filter((image) => usedMs(image) < parts.now() - GRACE_MS)
      .sort((a, b) => usedMs(a) - usedMs(b) || (a.id < b.id ? -1 : 1));
    const trimmed: Trimmed = { images: [], bytes: 0 };
    const everything = new Map<string, ImageOutline>(everyImage(tx).map((image) => [image.id, image]));
    const stored = new StoredParts(
      [...everything.values()].map((image) => asStored(image, blobs)),
      keptByBuilds(tx, parts.layers),
    );
    const layerUses = new LayerUses([...everything.values()]);
    for (const image of unused) {
      if (trimmed.bytes >= wantedBytes) break;
      for (const { deleted } of eraseUnused(parts, tx, image, layerUses)) {
        const gone = everything.get(deleted ?? '');
        // Other platforms that containers use are only hidden.
        if (gone !== undefined && findImage(tx, gone.id) === undefined) trimmed.bytes += stored.withdraw(gone);
      }
      trimmed.images.push(image.repoTags[0] ?? image.repoDigests[0] ?? image.id);
    }
    if (trimmed.images.length > 0) {
      tx.event({
        type: 'image',
        action: 'prune',
        actorId: '',
        attributes: {
          reclaimed: String(trimmed.bytes),
          reason: `image-gc above ${formatThreshold(gc.high)}`,
          images: trimmed.images.join(','),
        },
      });
    }
    return trimmed;
  });
}
