import { TareError } from '../errors/index.ts';
import { canonical, familiar, idPrefixOf, parseAnyReference, type Reference, withDefaultTag } from '../image/index.ts';
import type { Digest, Platform } from '../storage/index.ts';
import { findImage, type ImageReader, type RecordedImage } from './image-records.ts';
import { variantFor } from './image-variants.ts';

/**
 * The image that a name points at. Two tags may share an image whose other platforms differ: it comes with its index only
 * for a name that stands for that one.
 */
export function findNamed(db: ImageReader, name: Reference): RecordedImage | undefined {
  const row = rowNamed(db, name);
  const image = row === undefined ? undefined : findImage(db, row.image_id);
  if (image === undefined || row?.root == null || row.root === image.index?.digest) return image;
  const { index: _, ...alone } = image;
  return alone;
}

/** What a user's word stands for in its registry, where that is recorded. */
export function rootNamed(db: ImageReader, ref: string): Digest | undefined {
  const parsed = parseAnyReference(ref);
  return 'name' in parsed ? (rowNamed(db, parsed.name)?.root ?? undefined) : undefined;
}

const rowNamed = (db: ImageReader, name: Reference) =>
  db.get<{ image_id: string; root: Digest | null }>(
    'SELECT image_id, root FROM image_references WHERE name = ?',
    canonical(lookUpName(name)),
  );

/** A digest says more than the tag beside it. */
function lookUpName(name: Reference): Reference {
  const { domain, path, digest } = name;
  return digest === undefined ? withDefaultTag(name) : { domain, path, digest };
}

/**
 * The image that a user means: by name, by id, or by an id's unique prefix.
 *
 * @param platform wanted; undefined: the one that was chosen when the image came
 * @throws {TareError} NotFound `No such image: REF`, or not for this platform; InvalidArgument: no reference
 */
export function resolveImage(db: ImageReader, ref: string, platform?: Platform): RecordedImage {
  const image = resolveChosen(db, ref);
  return platform === undefined ? image : variantFor(db, image, platform, ref);
}

function resolveChosen(db: ImageReader, ref: string): RecordedImage {
  const parsed = parseAnyReference(ref);
  if ('id' in parsed) {
    const image = findImage(db, parsed.id);
    if (image !== undefined && !image.isRetired) return image;
    throw new TareError('NotFound', `No such image: ${parsed.id}`);
  }
  const image = findNamed(db, parsed.name) ?? findByPrefix(db, ref);
  if (image !== undefined && !image.isRetired) return image;
  throw new TareError('NotFound', `No such image: ${familiar(withDefaultTag(parsed.name))}`);
}

function findByPrefix(db: ImageReader, ref: string): RecordedImage | undefined {
  const prefix = idPrefixOf(ref);
  if (prefix === undefined) return undefined;
  const rows = db.all<{ id: string }>(
    'SELECT id FROM images WHERE id >= ? AND id < ?',
    `sha256:${prefix}`,
    `sha256:${prefix}g`,
  );
  const images = rows.map(({ id }) => findImage(db, id)!).filter((image) => !image.isRetired);
  if (images.length > 1) {
    throw new TareError('InvalidArgument', `multiple images found with provided prefix: ${ref}`);
  }
  return images[0];
}

/** Whether a user's word is an id or a part of one, rather than a name of the image. */
export function isIdPrefix(id: Digest, ref: string): boolean {
  return id.startsWith(ref) || id.slice('sha256:'.length).startsWith(ref);
}
