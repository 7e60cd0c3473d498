import { TareError } from '../errors/index.ts';
import {
  canonical,
  createdMsOf,
  familiar,
  type ImageConfigFile,
  idPrefixOf,
  parseAnyReference,
  parseReference,
  type Reference,
  type StoredImage,
  type StoredLayer,
  withDefaultTag,
} from '../image/index.ts';
import type { Database, Transaction } from '../state/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import type { ImageRecord } from './types.ts';

/** What an image's row holds. */
interface ImageDocument {
  manifest: Descriptor;
  config: ImageConfigFile;
  layers: StoredLayer[];
  lastTaggedMs: number;
  /**
   * Removed by its user while containers still needed its layers: no longer listed or found, kept until the last of them
   * is gone.
   */
  isRetired?: boolean;
}

/** An image with everything that is recorded of it. */
export interface RecordedImage extends ImageRecord, StoredImage {
  id: Digest;
  config: ImageConfigFile;
  layers: StoredLayer[];
  references: Reference[];
  isRetired: boolean;
}

type Reader = Pick<Database, 'all' | 'get'>;

interface ImageRow {
  id: string;
  doc: string;
}

/** All images that are not retired, the newest first. */
export function allImages(db: Reader): RecordedImage[] {
  return everyImage(db)
    .filter((image) => !image.isRetired)
    .sort((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1));
}

/** All images, also those that only containers still use. */
export function everyImage(db: Reader): RecordedImage[] {
  const names = new Map<string, string[]>();
  for (const row of db.all<{ name: string; image_id: string }>('SELECT name, image_id FROM image_references')) {
    names.set(row.image_id, [...(names.get(row.image_id) ?? []), row.name]);
  }
  return db.all<ImageRow>('SELECT id, doc FROM images').map((row) => recordOf(row, names.get(row.id) ?? []));
}

/** The image with this id, also a retired one. */
export function findImage(db: Reader, id: string): RecordedImage | undefined {
  const row = db.get<ImageRow>('SELECT id, doc FROM images WHERE id = ?', id);
  if (row === undefined) return undefined;
  const names = db.all<{ name: string }>('SELECT name FROM image_references WHERE image_id = ?', id);
  return recordOf(
    row,
    names.map(({ name }) => name),
  );
}

/** The image that a name points at. */
export function findNamed(db: Reader, name: Reference): RecordedImage | undefined {
  const row = db.get<{ image_id: string }>(
    'SELECT image_id FROM image_references WHERE name = ?',
    canonical(lookUpName(name)),
  );
  return row === undefined ? undefined : findImage(db, row.image_id);
}

/** A digest says more than the tag beside it. */
function lookUpName(name: Reference): Reference {
  const { domain, path, digest } = name;
  return digest === undefined ? withDefaultTag(name) : { domain, path, digest };
}

/**
 * The image that a user means: by name, by id, or by an id's unique prefix.
 *
 * @throws {TareError} NotFound `No such image: REF`; InvalidArgument: no reference
 */
export function resolveImage(db: Reader, ref: string): RecordedImage {
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

function findByPrefix(db: Reader, ref: string): RecordedImage | undefined {
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

function recordOf(row: ImageRow, names: string[]): RecordedImage {
  const { manifest, config, layers, lastTaggedMs, isRetired = false } = JSON.parse(row.doc) as ImageDocument;
  const references = names.sort().map(parseReference);
  return {
    id: row.id as Digest,
    references,
    repoTags: references.filter(({ digest }) => digest === undefined).map(familiar),
    repoDigests: references.filter(({ digest }) => digest !== undefined).map(familiar),
    manifest,
    config,
    layers,
    createdMs: createdMsOf(config),
    sizeBytes: layers.reduce((total, layer) => total + layer.unpackedBytes, 0),
    lastTaggedMs,
    isRetired,
  };
}

/** Records an image, or its newest manifest if it is known. Names stay as they are. */
export function putImage(tx: Transaction, image: StoredImage): void {
  const { manifest, config, layers } = image;
  const lastTaggedMs = findImage(tx, image.id)?.lastTaggedMs ?? 0;
  const document: ImageDocument = { manifest, config, layers, lastTaggedMs };
  tx.run('INSERT OR REPLACE INTO images (id, doc) VALUES (?, ?)', image.id, JSON.stringify(document));
}

/** Keeps an image's layers for the containers that use it, and hides it. */
export function retireImage(tx: Transaction, image: RecordedImage): void {
  const { manifest, config, layers, lastTaggedMs } = image;
  const document: ImageDocument = { manifest, config, layers, lastTaggedMs, isRetired: true };
  tx.run('UPDATE images SET doc = ? WHERE id = ?', JSON.stringify(document), image.id);
}

export function deleteImage(tx: Transaction, id: Digest): void {
  tx.run('DELETE FROM images WHERE id = ?', id);
}

/**
 * Points a name at an image.
 * @returns the id of the other image that had the name before, if any
 */
export function putName(tx: Transaction, name: Reference, id: Digest, nowMs: number): string | undefined {
  const text = canonical(name);
  const before = tx.get<{ image_id: string }>('SELECT image_id FROM image_references WHERE name = ?', text)?.image_id;
  tx.run('INSERT OR REPLACE INTO image_references (name, image_id) VALUES (?, ?)', text, id);
  const row = tx.get<ImageRow>('SELECT id, doc FROM images WHERE id = ?', id);
  const document = JSON.parse(row!.doc) as ImageDocument;
  tx.run('UPDATE images SET doc = ? WHERE id = ?', JSON.stringify({ ...document, lastTaggedMs: nowMs }), id);
  return before === id ? undefined : before;
}

export function deleteName(tx: Transaction, name: Reference): void {
  tx.run('DELETE FROM image_references WHERE name = ?', canonical(name));
}

/** Records an event about an image, with docker's attributes: its labels and a name. */
export function imageEvent(
  tx: Transaction,
  action: 'import' | 'load' | 'save' | 'tag' | 'untag' | 'delete',
  image: Pick<StoredImage, 'id' | 'config'>,
  name: string = image.id,
): void {
  tx.event({ type: 'image', action, actorId: image.id, attributes: { ...image.config.config?.Labels, name } });
}
