import { TareError } from '../errors/index.ts';
import {
  canonicalName,
  familiar,
  parsePlatform,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../image/index.ts';
import type { Transaction } from '../state/index.ts';
import { chainIDOf, type DiffID } from '../storage/index.ts';
import { keptByBuilds } from './builds/kept-by-builds.ts';
import { pruneEvent } from './events.ts';
import { filterLabels, filterTime, flagFilter, refuseUnknownFilters } from './filters.ts';
import { collectGarbage } from './image-collect.ts';
import { forgetMounts, isImageMounted, removeForgottenMounts } from './image-mounts.ts';
import type { ImageParts, ImageUser } from './image-parts.ts';
import {
  allImages,
  deleteImage,
  deleteName,
  everyImage,
  findImage,
  type ImageOutline,
  imageEvent,
  listImage,
  putName,
  retireImage,
} from './image-records.ts';
import { isIdPrefix, resolveImage } from './image-resolve.ts';
import { asStored, StoredParts, storedBlobs } from './image-usage.ts';
import { releaseVariants, variantFor, variantsOf } from './image-variants.ts';
import type { Filters, RemovedImage } from './types.ts';

/** See `ImageService.remove`. */
export async function removeImage(
  parts: ImageParts,
  ref: string,
  options: { force?: boolean; platforms?: readonly string[] } = {},
): Promise<RemovedImage[]> {
  const platforms = (options.platforms ?? []).map(parsePlatform);
  const removed = await parts.db.write((tx) => {
    const image = resolveImage(tx, ref);
    const { force = false } = options;
    if (platforms.length > 0) {
      const chosen = new Map(platforms.map((wanted) => variantFor(tx, image, wanted, ref)).map((one) => [one.id, one]));
      const kept = [image, ...variantsOf(tx, image)].filter(({ id }) => !chosen.has(id));
      if (kept.length > 0) return removePlatforms(parts, tx, image, { chosen: [...chosen.values()], kept, force });
    }
    return isIdPrefix(image.id, ref) ? removeById(parts, tx, image, force) : removeByName(parts, tx, image, ref, force);
  });
  await removeForgottenMounts(parts);
  await collectGarbage(parts);
  return removed;
}

/** Removes some platforms of an image. Its names go on with one that stays. */
function removePlatforms(
  parts: ImageParts,
  tx: Transaction,
  image: ImageOutline,
  { chosen, kept, force }: { chosen: ImageOutline[]; kept: ImageOutline[]; force: boolean },
): RemovedImage[] {
  for (const one of chosen) {
    const conflict = conflictOf(parts.containersUsing(one.id), force);
    if (conflict !== undefined) throw conflictError(one, conflict);
  }
  if (chosen.some(({ id }) => id === image.id)) {
    const heir = kept[0]!;
    for (const name of image.references) putName(tx, name, heir.id, image.lastTaggedMs);
    listImage(tx, heir.id);
  }
  return chosen.flatMap((one) => forget(parts, tx, one, { force }));
}

/** Removes a name; the image too if it was its last. */
function removeByName(
  parts: ImageParts,
  tx: Transaction,
  image: ImageOutline,
  ref: string,
  force: boolean,
): RemovedImage[] {
  const [user] = usersOf(parts, tx, image);
  if (!force && user !== undefined && isSingleReference(image.references)) {
    throw new TareError(
      'Conflict',
      `conflict: unable to remove repository reference ${JSON.stringify(ref)} (must force) - container ${short(user.id)} is using its referenced image ${short(image.id)}`,
    );
  }
  const { domain, path, tag, digest } = withDefaultTag(parseReference(ref));
  const name: Reference = digest === undefined ? { domain, path, tag: tag! } : { domain, path, digest };
  const gone = [name];
  const others = image.references.filter((other) => familiar(other) !== familiar(name));
  const ofRepository = others.filter((other) => canonicalName(other) === canonicalName(name));
  // Digests that no tag of their repository accompanies any more would keep the image for nobody.
  if (digest === undefined && ofRepository.every((other) => other.digest !== undefined)) gone.push(...ofRepository);
  const removed = gone.map((each) => untag(tx, image, each));
  if (image.references.length > gone.length) return removed;
  // Forced off a running container, the image stays without a name.
  if (conflictOf(usersOf(parts, tx, image), force) !== undefined) return removed;
  return [...removed, ...erase(parts, tx, image, { force })];
}

function removeById(parts: ImageParts, tx: Transaction, image: ImageOutline, force: boolean): RemovedImage[] {
  const conflict = conflictOf(usersOf(parts, tx, image), force);
  const isAmbiguous = !force && !isSingleReference(image.references);
  if (conflict?.isHard || (conflict !== undefined && !isAmbiguous)) throw conflictError(image, conflict);
  if (isAmbiguous) {
    throw conflictError(image, { isHard: false, reason: 'image is referenced in multiple repositories' });
  }
  const removed = image.references.map((name) => untag(tx, image, name));
  return [...removed, ...erase(parts, tx, image, { force })];
}

interface RemovalConflict {
  /** Force does not help. */
  isHard: boolean;
  reason: string;
}

/** An image and the other platforms that go with it. */
const goingWith = (tx: Transaction, image: ImageOutline): ImageOutline[] => [
  image,
  ...variantsOf(tx, image).filter(({ isVariant }) => isVariant),
];

/** Containers of these. */
const usersOf = (parts: ImageParts, tx: Transaction, image: ImageOutline) =>
  goingWith(tx, image).flatMap(({ id }) => parts.containersUsing(id));

/** Whether an image may go without being asked for: no container uses it or what would go with it, and none is mounted. */
export const isUnused = (parts: ImageParts, tx: Transaction, image: ImageOutline): boolean =>
  goingWith(tx, image).every(({ id }) => parts.containersUsing(id).length === 0 && !isImageMounted(tx, id));

function conflictOf(users: readonly ImageUser[], force: boolean): RemovalConflict | undefined {
  const running = users.find(({ isRunning }) => isRunning);
  if (running !== undefined) {
    return { isHard: true, reason: `image is being used by running container ${short(running.id)}` };
  }
  const stopped = users[0];
  if (force || stopped === undefined) return undefined;
  return { isHard: false, reason: `image is being used by stopped container ${short(stopped.id)}` };
}

const conflictError = (image: ImageOutline, { isHard, reason }: RemovalConflict) =>
  new TareError(
    'Conflict',
    `conflict: unable to delete ${short(image.id)} (${isHard ? 'cannot be forced' : 'must be forced'}) - ${reason}`,
  );

/** Whether all names say one thing: at most one tag, and digests of its repository only. */
function isSingleReference(references: readonly Reference[]): boolean {
  if (references.length <= 1) return true;
  const repositories = new Set(references.map(canonicalName));
  return references.filter(({ digest }) => digest === undefined).length <= 1 && repositories.size === 1;
}

function untag(tx: Transaction, image: ImageOutline, name: Reference): RemovedImage {
  deleteName(tx, name);
  imageEvent(tx, 'untag', image);
  return { untagged: familiar(name) };
}

interface Removal {
  force: boolean;
  /** As it was before the removal; undefined: counted now. */
  uses?: LayerUses;
}

/** Removes the image, and other platforms that were here for its sake; blobs and layers go with the next collection, unless others use them. */
function erase(parts: ImageParts, tx: Transaction, image: ImageOutline, removal: Removal): RemovedImage[] {
  // Of the record: what a name showed may be without it.
  const index = findImage(tx, image.id)?.index;
  const removed = forget(parts, tx, image, removal);
  if (index === undefined) return removed;
  return [...removed, ...releaseVariants(tx, index.digest).flatMap((variant) => forget(parts, tx, variant, removal))];
}

/** How many recorded images have a layer. Counted once for as many removals as there are: each would read all records. */
export class LayerUses {
  readonly #counts = new Map<DiffID, number>();

  constructor(images: readonly ImageOutline[]) {
    for (const image of images) {
      for (const diffID of layersOf(image)) this.#counts.set(diffID, (this.#counts.get(diffID) ?? 0) + 1);
    }
  }

  /** Counts an image no longer. @returns those of its layers that no other has */
  drop(image: ImageOutline): Set<DiffID> {
    const gone = new Set<DiffID>();
    for (const diffID of layersOf(image)) {
      const left = (this.#counts.get(diffID) ?? 1) - 1;
      this.#counts.set(diffID, left);
      if (left === 0) gone.add(diffID);
    }
    return gone;
  }
}

const layersOf = ({ layers }: ImageOutline): Set<DiffID> => new Set(layers.map(({ diffID }) => diffID));

/** @throws {TareError} Conflict: it is mounted, and not forced */
function forget(
  parts: ImageParts,
  tx: Transaction,
  image: ImageOutline,
  { force, uses = new LayerUses(everyImage(tx)) }: Removal,
): RemovedImage[] {
  if (!force && isImageMounted(tx, image.id)) {
    throw conflictError(image, { isHard: false, reason: 'image is mounted: unmount it first (tare image unmount)' });
  }
  forgetMounts(tx, image.id);
  if (parts.containersUsing(image.id).length > 0) {
    retireImage(tx, image.id);
    imageEvent(tx, 'delete', image);
    return [{ deleted: image.id }];
  }
  deleteImage(tx, image.id);
  imageEvent(tx, 'delete', image);
  const gone = uses.drop(image);
  const removed: RemovedImage[] = [{ deleted: image.id }];
  const diffIDs = image.layers.map(({ diffID }) => diffID);
  for (let height = diffIDs.length; height > 0; height -= 1) {
    if (gone.has(diffIDs[height - 1]!)) removed.push({ deleted: chainIDOf(diffIDs.slice(0, height)) });
  }
  return removed;
}

/** Removes an image that nobody uses, with all its names. */
export function eraseUnused(parts: ImageParts, tx: Transaction, image: ImageOutline, uses?: LayerUses): RemovedImage[] {
  const untagged = image.references.map((name) => untag(tx, image, name));
  return [...untagged, ...erase(parts, tx, image, { force: false, ...(uses === undefined ? {} : { uses }) })];
}

/** 12 hex digits, as docker shows ids. */
const short = (id: string): string => id.replace('sha256:', '').slice(0, 12);

/** See `ImageService.prune`. */
export async function pruneImages(
  parts: ImageParts,
  filters: Filters = {},
): Promise<{ removed: RemovedImage[]; spaceReclaimedBytes: number }> {
  refuseUnknownFilters(filters, ['dangling', 'label', 'label!', 'until']);
  const isDanglingOnly = flagFilter(filters, 'dangling') ?? true;
  // A time that is none is refused, also where there is nothing to compare it with.
  filterTime(filters, 0);
  const blobs = await storedBlobs(parts);
  const report = await parts.db.write((tx) => {
    const all = everyImage(tx);
    const kept = keptByBuilds(tx, parts.layers);
    const bytesOf = (images: readonly ImageOutline[]) =>
      new StoredParts(
        images.map((image) => asStored(image, blobs)),
        kept,
      ).bytes;
    const before = bytesOf(all);
    const uses = new LayerUses(all);
    const removed = allImages(tx)
      .filter((image) => !isDanglingOnly || image.repoTags.length === 0)
      .filter((image) => isUnused(parts, tx, image))
      .filter((image) => filterTime(filters, image.createdMs))
      .filter((image) => filterLabels(filters, image.labels))
      .flatMap((image) => eraseUnused(parts, tx, image, uses));
    const spaceReclaimedBytes = before - bytesOf(everyImage(tx));
    tx.event(pruneEvent('image', spaceReclaimedBytes));
    return { removed, spaceReclaimedBytes };
  });
  await collectGarbage(parts);
  return report;
}
