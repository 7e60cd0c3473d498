import { kindOf } from '../errors/index.ts';
import type { Digest, LayerName } from '../storage/index.ts';
import { forgetBlobSources } from './blob-sources.ts';
import { layersOfWorking } from './builds/working/working-records.ts';
import { whileNobodyHolds } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { reachable } from './image-reach.ts';
import { deleteImage, everyImage, type ImageOutline } from './image-records.ts';

const DUE = 'collection-due';

/** A collection was asked for while somebody held the content: who lets go and has made nothing himself does it nevertheless. */
export const isCollectionDue = (db: Pick<ImageParts['db'], 'get'>): boolean =>
  db.get('SELECT 1 FROM facts WHERE key = ?', DUE) !== undefined;

/**
 * Removes blobs and layers that no image and no container uses, unless an image is being stored meanwhile: then its end
 * does it. Safe to repeat and to interrupt, since what to keep is computed from the records each time.
 *
 * @param isUsed images that containers use, beside those that `containersUsing` tells of
 */
export async function collectGarbage(
  parts: ImageParts,
  isUsed: (imageID: string) => boolean = () => false,
): Promise<void> {
  if (await collectUnlessHeld(parts, isUsed)) return;
  await parts.db.write((tx) => tx.run("INSERT OR REPLACE INTO facts (key, value) VALUES (?, '')", DUE));
  // Whoever held it may have let go, and looked, before that was noted.
  await collectUnlessHeld(parts, isUsed);
}

/** The same. @returns false: nothing was done, for somebody holds the content */
export async function collectUnlessHeld(
  parts: ImageParts,
  isUsed: (imageID: string) => boolean = () => false,
): Promise<boolean> {
  return await whileNobodyHolds(parts, async () => {
    if (isCollectionDue(parts.db)) await parts.db.write((tx) => tx.run('DELETE FROM facts WHERE key = ?', DUE));
    await forgetRetired(parts, isUsed);
    const images = everyImage(parts.db);
    const blobs = new Set<string>();
    const layers = new Set<string>();
    for (const digest of blobsOfHistory(parts.db)) blobs.add(digest);
    for (const { id, manifest, layers: own } of images) {
      blobs.add(id).add(manifest.digest);
      for (const { digest, diffID } of own) {
        blobs.add(digest);
        layers.add(diffID);
      }
    }
    const kept = layersOfBuilds(parts.db).union(new Set(layersOfWorking(parts.db)));
    for (const digest of await blobsOfBuilds(parts.db, kept)) blobs.add(digest);
    // Read only when there is a blob that no record names.
    let documents: Promise<Set<Digest>> | undefined;
    const gone: Digest[] = [];
    let settled: Promise<void> | undefined;
    for (const digest of await parts.content.digests()) {
      if (blobs.has(digest)) continue;
      documents ??= ofDocuments(parts, images);
      if ((await documents).has(digest)) continue;
      // Else power could bring back the record of an image, and not its blobs.
      settled ??= parts.db.settle();
      await settled;
      await parts.content.delete(digest);
      gone.push(digest);
    }
    if (gone.length > 0) await parts.db.write((tx) => forgetBlobSources(tx, gone));
    for (const { diffID } of await parts.layers.layers()) {
      if (!layers.has(diffID) && !kept.has(diffID)) await removeLayer(parts, diffID);
    }
    for (const layer of await parts.layers.localLayers()) {
      if (!kept.has(layer)) await removeLayer(parts, layer);
    }
  });
}

/** Layers that the build cache keeps, images or not. */
export const layersOfBuilds = (db: Pick<ImageParts['db'], 'all'>): Set<string> =>
  new Set([
    ...db.all<{ layer: string }>('SELECT layer FROM build_records WHERE layer IS NOT NULL').map(({ layer }) => layer),
    ...db.all<{ layer: string }>('SELECT DISTINCT layer FROM build_result_layers').map(({ layer }) => layer),
  ]);

/** Logs, traces and results' documents of builds on record. */
const blobsOfHistory = (db: ImageParts['db']): string[] =>
  db.all<{ digest: string }>('SELECT DISTINCT digest FROM build_history_blobs').map(({ digest }) => digest);

/** Blobs of layers that the build cache keeps; it forgets those of others. */
async function blobsOfBuilds(db: ImageParts['db'], kept: ReadonlySet<string>): Promise<Set<string>> {
  const rows = db.all<{ layer: string; digest: string }>('SELECT layer, digest FROM build_blobs');
  const gone = new Set(rows.filter(({ layer }) => !kept.has(layer)).map(({ layer }) => layer));
  if (gone.size > 0) {
    await db.write((tx) => {
      for (const layer of gone) tx.run('DELETE FROM build_blobs WHERE layer = ?', layer);
    });
  }
  return new Set(rows.filter(({ layer }) => !gone.has(layer)).map(({ digest }) => digest));
}

/** What indexes and signatures keep beside the images themselves. */
async function ofDocuments({ content }: ImageParts, images: readonly ImageOutline[]): Promise<Set<Digest>> {
  const manifests = new Set(images.map(({ manifest }) => manifest.digest));
  const listed = images.filter(({ isRetired }) => !isRetired);
  const roots = listed.flatMap(({ index, signatures }) => (index === undefined ? signatures : [index, ...signatures]));
  return await reachable(content, roots, (digest) => manifests.has(digest));
}

/** A snapshot may stand on a layer a moment longer than its container is recorded; a later collection takes both. */
async function removeLayer({ layers }: ImageParts, diffID: LayerName): Promise<void> {
  try {
    await layers.removeLayer(diffID);
  } catch (error) {
    if (kindOf(error) !== 'Conflict') throw error;
  }
}

async function forgetRetired(parts: ImageParts, isUsed: (imageID: string) => boolean): Promise<void> {
  const isFree = (image: { id: string; isRetired: boolean }) =>
    image.isRetired && !isUsed(image.id) && parts.containersUsing(image.id).length === 0;
  if (!everyImage(parts.db).some(isFree)) return;
  await parts.db.write((tx) => {
    for (const image of everyImage(tx)) if (isFree(image)) deleteImage(tx, image.id);
  });
}
