import {
  canonical,
  createdMsOf,
  familiar,
  familiarName,
  type ImageConfigFile,
  parseReference,
  type Reference,
  type StoredImage,
  type StoredLayer,
} from '../image/index.ts';
import type { Database, Transaction } from '../state/index.ts';
import type { Descriptor, DiffID, Digest, Platform } from '../storage/index.ts';
import { forgetUse } from './image-uses.ts';
import type { ImageRecord } from './types.ts';

/** What an image's row holds beside its config, which has a column of its own: lists of images never read it. */
interface ImageDocument {
  manifest: Descriptor;
  layers: StoredLayer[];
  lastTaggedMs: number;
  /** What lists tell of the config. Absent in old rows. */
  outline?: ConfigOutline;
  /** Old rows have their config here. */
  config?: ImageConfigFile;
  index?: Descriptor;
  signatures?: Descriptor[];
  origins?: string[];
  isVariant?: boolean;
  /**
   * Removed by its user while containers still needed its layers: no longer listed or found, kept until the last of them
   * is gone.
   */
  isRetired?: boolean;
}

interface ConfigOutline {
  createdMs: number;
  labels: Record<string, string>;
  platform: Platform;
}

/** What is recorded of an image, without its config. */
export interface ImageOutline extends Omit<ImageRecord, 'config'>, ConfigOutline {
  id: Digest;
  layers: StoredLayer[];
  references: Reference[];
  /** The index that its manifest was chosen from. */
  index?: Descriptor;
  /** Documents kept because they speak for its trust. */
  signatures: Descriptor[];
  /** The ways that it came from elsewhere; none: it was made here. */
  origins: string[];
  /** It is here only as another platform of an image: not listed, found through that one's index or by its id. */
  isVariant: boolean;
  isRetired: boolean;
}

/** An image with everything that is recorded of it. */
export interface RecordedImage extends ImageOutline, Omit<StoredImage, 'signatures' | 'origins'> {
  id: Digest;
  config: ImageConfigFile;
}

export type ImageReader = Pick<Database, 'all' | 'get'>;

interface ImageRow {
  id: string;
  doc: string;
  config: string | null;
}

/** All images that users see, the newest first. */
export function allImages(db: ImageReader): ImageOutline[] {
  return everyImage(db)
    .filter((image) => !image.isRetired && !image.isVariant)
    .sort((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1));
}

/** All images, also those that only containers still use, and other platforms. */
export function everyImage(db: ImageReader): ImageOutline[] {
  const names = new Map<string, string[]>();
  for (const row of db.all<{ name: string; image_id: string }>('SELECT name, image_id FROM image_references')) {
    const known = names.get(row.image_id);
    if (known === undefined) names.set(row.image_id, [row.name]);
    else known.push(row.name);
  }
  return db
    .all<{ id: string; doc: string }>('SELECT id, doc FROM images')
    .map((row) => outlineOf(row.id, JSON.parse(row.doc) as ImageDocument, names.get(row.id) ?? []));
}

/** The image with this id, also a retired one or another platform's. */
export function findImage(db: ImageReader, id: string): RecordedImage | undefined {
  const row = db.get<ImageRow>('SELECT id, doc, config FROM images WHERE id = ?', id);
  if (row === undefined) return undefined;
  const names = db.all<{ name: string }>('SELECT name FROM image_references WHERE image_id = ?', id);
  const document = JSON.parse(row.doc) as ImageDocument;
  return {
    ...outlineOf(
      row.id,
      document,
      names.map(({ name }) => name),
    ),
    config: row.config === null ? document.config! : (JSON.parse(row.config) as ImageConfigFile),
  };
}

function outlineOf(id: string, document: ImageDocument, names: string[]): ImageOutline {
  const {
    manifest,
    layers,
    lastTaggedMs,
    index,
    signatures = [],
    origins = [],
    isVariant = false,
    isRetired = false,
  } = document;
  const references = names.sort().map(parseReference);
  return {
    id: id as Digest,
    references,
    repoTags: references.filter(({ digest }) => digest === undefined).map(familiar),
    repoDigests: references.filter(({ digest }) => digest !== undefined).map(familiar),
    manifest,
    ...(index === undefined ? {} : { index }),
    layers,
    ...(document.outline ?? configOutline(document.config!)),
    sizeBytes: layers.reduce((total, layer) => total + layer.unpackedBytes, 0),
    ...{ lastTaggedMs, signatures, origins, isVariant, isRetired },
  };
}

const configOutline = (config: ImageConfigFile): ConfigOutline => ({
  createdMs: createdMsOf(config),
  labels: config.config?.Labels ?? {},
  platform: platformOfConfig(config),
});

function platformOfConfig(config: ImageConfigFile): Platform {
  const { os, architecture, variant } = config;
  const version = config['os.version'];
  return {
    ...{ architecture, os },
    ...(variant === undefined ? {} : { variant }),
    ...(version === undefined ? {} : { 'os.version': version }),
  };
}

const MAX_ORIGINS = 50;

/**
 * Records an image, or its newest manifest if it is known. Names stay as they are, and so do the index and signatures of
 * an equal manifest that comes without them.
 *
 * @param as a variant is not listed by itself, unless it was before
 */
export function putImage(tx: Transaction, image: StoredImage, as: 'listed' | 'variant' = 'listed'): void {
  const known = findImage(tx, image.id);
  const isSame = known?.manifest.digest === image.manifest.digest;
  const index = image.index ?? (isSame ? known?.index : undefined);
  const signatures = new Map(
    [...(isSame ? known.signatures : []), ...(image.signatures ?? [])].map((one) => [one.digest, one]),
  );
  // The same content by whatever manifest; so many ways that the oldest is forgotten are no longer told apart.
  const origins = [...new Set([...(known?.origins ?? []), ...(image.origins ?? [])])].slice(-MAX_ORIGINS);
  const isListed = as === 'listed' || (known !== undefined && !known.isVariant && !known.isRetired);
  const document: ImageDocument = {
    manifest: image.manifest,
    layers: image.layers.map((layer) => sized(layer, known)),
    lastTaggedMs: known?.lastTaggedMs ?? 0,
    outline: configOutline(image.config),
    ...(index === undefined ? {} : { index }),
    ...(signatures.size === 0 ? {} : { signatures: [...signatures.values()] }),
    ...(origins.length === 0 ? {} : { origins }),
    ...(isListed ? {} : { isVariant: true }),
  };
  tx.run(
    'INSERT OR REPLACE INTO images (id, doc, config) VALUES (?, ?, ?)',
    image.id,
    JSON.stringify(document),
    JSON.stringify(image.config),
  );
}

/** A layer that nobody has unpacked yet says no size; a row of before may know it. */
const sized = (layer: StoredLayer, known: ImageOutline | undefined): StoredLayer =>
  layer.unpackedBytes > 0
    ? layer
    : { ...layer, unpackedBytes: known?.layers.find(({ diffID }) => diffID === layer.diffID)?.unpackedBytes ?? 0 };

/** Changes some of what an image's row says. */
function amend(tx: Transaction, id: Digest, change: Partial<ImageDocument>): void {
  const row = tx.get<{ doc: string }>('SELECT doc FROM images WHERE id = ?', id);
  const document = { ...(JSON.parse(row!.doc) as ImageDocument), ...change };
  tx.run('UPDATE images SET doc = ? WHERE id = ?', JSON.stringify(document), id);
}

/** Keeps an image's layers for the containers that use it, and hides it. */
export function retireImage(tx: Transaction, id: Digest): void {
  amend(tx, id, { isRetired: true });
}

/** Records how large an image's layers are unpacked, of those that `sizes` knows. */
export function putLayerSizes(tx: Transaction, id: Digest, sizes: ReadonlyMap<DiffID, number>): void {
  const image = findImage(tx, id);
  if (image === undefined) return;
  const layers = image.layers.map((layer) => ({
    ...layer,
    unpackedBytes: sizes.get(layer.diffID) ?? layer.unpackedBytes,
  }));
  amend(tx, id, { layers });
}

/** Makes another platform's image one that is listed by itself. */
export function listImage(tx: Transaction, id: Digest): void {
  amend(tx, id, { isVariant: false });
}

/** Keeps documents that speak for an image's trust as long as the image. Their blobs must be in the content store. */
export function addSignatures(tx: Transaction, id: Digest, added: readonly Descriptor[]): void {
  const known = findImage(tx, id)?.signatures ?? [];
  amend(tx, id, { signatures: [...new Map([...known, ...added].map((one) => [one.digest, one])).values()] });
}

/** Whether only containers still use an image. Read at each container's end, so its config is left alone. */
export function isRetired(db: ImageReader, id: string): boolean {
  const row = db.get<{ doc: string }>('SELECT doc FROM images WHERE id = ?', id);
  return row !== undefined && (JSON.parse(row.doc) as ImageDocument).isRetired === true;
}

export function deleteImage(tx: Transaction, id: Digest): void {
  tx.run('DELETE FROM images WHERE id = ?', id);
  tx.run('DELETE FROM image_variants WHERE image_id = ?', id);
  forgetUse(tx, id);
}

/**
 * Points a name at an image.
 *
 * @param root digest of the index or manifest that the name stands for in its registry; undefined: whatever the image came with
 * @returns the id of the other image that had the name before, if any
 */
export function putName(
  tx: Transaction,
  name: Reference,
  id: Digest,
  nowMs: number,
  root?: Digest,
): string | undefined {
  const text = canonical(name);
  const before = tx.get<{ image_id: string }>('SELECT image_id FROM image_references WHERE name = ?', text)?.image_id;
  const columns = '(name, image_id, root) VALUES (?, ?, ?)';
  tx.run(`INSERT OR REPLACE INTO image_references ${columns}`, text, id, root ?? null);
  // What has a name is an image of its own, also if it came as another's platform.
  amend(tx, id, { lastTaggedMs: nowMs, isVariant: false });
  return before === id ? undefined : before;
}

export function deleteName(tx: Transaction, name: Reference): void {
  tx.run('DELETE FROM image_references WHERE name = ?', canonical(name));
}

/** Records an event about an image, with docker's attributes: its labels and a name. */
export function imageEvent(
  tx: Transaction,
  action: 'import' | 'load' | 'save' | 'tag' | 'untag' | 'delete',
  image: { id: Digest } & (Pick<StoredImage, 'config'> | Pick<ImageOutline, 'labels'>),
  name: string = image.id,
): void {
  const labels = 'config' in image ? image.config.config?.Labels : image.labels;
  tx.event({ type: 'image', action, actorId: image.id, attributes: { ...labels, name } });
}

/** The same of what passed between us and a registry: docker names the reference as the actor. */
export function transferEvent(
  tx: Transaction,
  action: 'pull' | 'push',
  name: Reference,
  labels: Record<string, string> | undefined,
): void {
  tx.event({ type: 'image', action, actorId: familiar(name), attributes: { ...labels, name: familiarName(name) } });
}
