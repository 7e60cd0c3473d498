import { TareError } from '../errors/index.ts';
import { bestPlatform, formatPlatform } from '../image/index.ts';
import type { Transaction } from '../state/index.ts';
import type { Digest, Platform } from '../storage/index.ts';
import { findImage, type ImageReader, type RecordedImage } from './image-records.ts';

/** Remembers which images an index lists, of those that were pulled with it. Repeating is safe. */
export function putVariants(tx: Transaction, index: Digest, ids: readonly Digest[]): void {
  for (const id of ids) {
    tx.run('INSERT OR IGNORE INTO image_variants (index_digest, image_id) VALUES (?, ?)', index, id);
  }
}

/** The other platforms of an image that are here, without those that only containers still use. */
export function variantsOf(db: ImageReader, image: Pick<RecordedImage, 'id' | 'index'>): RecordedImage[] {
  if (image.index === undefined) return [];
  return db
    .all<{ image_id: string }>('SELECT image_id FROM image_variants WHERE index_digest = ?', image.index.digest)
    .filter((row) => row.image_id !== image.id)
    .map((row) => findImage(db, row.image_id)!)
    .filter((other) => !other.isRetired);
}

/** An image or its other platform, as `platform` wants. @throws {TareError} NotFound: none of them fits */
export function variantFor(db: ImageReader, image: RecordedImage, platform: Platform, ref: string): RecordedImage {
  const choices = [image, ...variantsOf(db, image)];
  const best = bestPlatform(choices, (choice) => choice.platform, platform);
  if (best !== undefined) return best;
  const here = [...new Set(choices.map((choice) => formatPlatform(choice.platform)))].sort().join(', ');
  throw new TareError(
    'NotFound',
    `image with reference ${ref} was found but does not provide the specified platform (${formatPlatform(platform)}): it is here for ${here}`,
  );
}

/**
 * Forgets which images an index lists if no image came from it any more.
 * @returns the images that were here for its sake alone; the caller removes them
 */
export function releaseVariants(tx: Transaction, index: Digest): RecordedImage[] {
  const rows = tx.all<{ image_id: string }>('SELECT image_id FROM image_variants WHERE index_digest = ?', index);
  const images = rows.map((row) => findImage(tx, row.image_id)).filter((image) => image !== undefined);
  if (images.some((image) => !image.isVariant && !image.isRetired && image.index?.digest === index)) return [];
  tx.run('DELETE FROM image_variants WHERE index_digest = ?', index);
  return images.filter(
    ({ id, isVariant, isRetired }) =>
      isVariant && !isRetired && tx.get('SELECT 1 FROM image_variants WHERE image_id = ? LIMIT 1', id) === undefined,
  );
}
