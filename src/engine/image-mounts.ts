import { TareError } from '../errors/index.ts';
import type { Database, Transaction } from '../state/index.ts';
import { currentBootId } from './leases.ts';
import type { EngineParts } from './parts.ts';

/** An image whose tree can be looked at. */
export interface ImageMount {
  /** Digest of the config. */
  id: string;
  repoTags: string[];
  path: string;
  /** How often it was mounted, less how often it was unmounted. */
  mounts: number;
}

/** Images as read-only folders on this machine, until they are unmounted or it is started anew. */
export interface ImageMountService {
  /** Mounts an image; again and it counts. @throws {TareError} NotFound */
  mount(ref: string): Promise<ImageMount>;
  /** Takes one mount back, or all by `force`. @returns the image's id @throws {TareError} Conflict: it is not mounted */
  unmount(ref: string, options?: { force?: boolean }): Promise<string>;
  list(): Promise<ImageMount[]>;
}

/** What mounting works with. */
export type MountParts = Pick<EngineParts, 'db' | 'locks' | 'intents' | 'images' | 'layers'>;

interface MountRow {
  image_id: string;
  mounts: number;
}

type Reader = Pick<Database, 'all' | 'get'>;

/** Keys of the snapshots that show images. No container's id looks like them. */
const PREFIX = 'image-';
const keyOf = (imageID: string): string => `${PREFIX}${imageID.slice('sha256:'.length)}`;

/** Whether an image is mounted, in this run of the kernel. */
export const isImageMounted = (db: Reader, imageID: string): boolean => mountsOf(db, imageID) > 0;

/** Whether a snapshot's key is that of a mounted image. */
export const isMountKey = (db: Reader, key: string): boolean =>
  key.startsWith(PREFIX) && isImageMounted(db, `sha256:${key.slice(PREFIX.length)}`);

/** Forgets the mounts of an image; its snapshot belongs to nobody then. */
export function forgetMounts(tx: Transaction, imageID: string): void {
  tx.run('DELETE FROM image_mounts WHERE image_id = ?', imageID);
}

/** Unmounts images whose mounts were forgotten. Those that are just being mounted are left alone. */
export async function removeForgottenMounts({ db, locks, layers }: Pick<MountParts, 'db' | 'locks' | 'layers'>) {
  for (const key of (await layers.snapshots()).filter((name) => name.startsWith(PREFIX) && !isMountKey(db, name))) {
    using lock = locks.tryAcquire(`container:${key}`);
    if (lock !== undefined && !isMountKey(db, key)) await layers.remove(key);
  }
}

/** Forgets what a reboot has unmounted. */
export async function forgetEarlierBoots(db: Database): Promise<void> {
  const old = db.all('SELECT 1 AS there FROM image_mounts WHERE boot_id <> ?', currentBootId());
  if (old.length > 0) await db.write((tx) => tx.run('DELETE FROM image_mounts WHERE boot_id <> ?', currentBootId()));
}

export function createImageMountService(parts: MountParts): ImageMountService {
  return {
    mount: (ref) => mountImage(parts, ref),
    unmount: (ref, options) => unmountImage(parts, ref, options),
    list: async () => listMounts(parts),
  };
}

async function mountImage(parts: MountParts, ref: string): Promise<ImageMount> {
  const image = parts.images.resolve(ref);
  const key = keyOf(image.id);
  // Marks the work, so that a snapshot which a crash leaves without a record is found.
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${key}`);
  const isNew = !isImageMounted(parts.db, image.id);
  await using undo = new AsyncDisposableStack();
  // Layers cannot go once the snapshot stands on them; before that a removal may win, which `view` then tells.
  const diffIDs = await parts.images.ensureUnpacked(image.id);
  if (isNew) {
    // Left by an earlier boot, or by a crash.
    await parts.layers.remove(key);
    undo.defer(() => parts.layers.remove(key));
  }
  const path = await parts.layers.view(key, diffIDs);
  const count = await parts.db.write((tx) => {
    // Throws when it was removed meanwhile.
    if (tx.get('SELECT 1 AS there FROM images WHERE id = ?', image.id) === undefined) {
      throw new TareError('NotFound', `No such image: ${ref}`);
    }
    const mounts = mountsOf(tx, image.id) + 1;
    tx.run(
      'INSERT OR REPLACE INTO image_mounts (image_id, mounts, boot_id) VALUES (?, ?, ?)',
      ...[image.id, mounts, currentBootId()],
    );
    tx.event({ type: 'image', action: 'mount', actorId: image.id, attributes: { name: ref, path } });
    return mounts;
  });
  undo.move();
  return { id: image.id, repoTags: image.repoTags, path, mounts: count };
}

async function unmountImage(
  parts: MountParts,
  ref: string,
  { force = false }: { force?: boolean } = {},
): Promise<string> {
  const { id } = parts.images.resolve(ref);
  const key = keyOf(id);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${key}`);
  const isLast = await parts.db.write((tx) => {
    const mounts = mountsOf(tx, id);
    if (mounts === 0) throw new TareError('Conflict', `image ${ref} is not mounted`);
    tx.event({ type: 'image', action: 'unmount', actorId: id, attributes: { name: ref } });
    if (mounts > 1 && !force) {
      tx.run('UPDATE image_mounts SET mounts = ? WHERE image_id = ?', mounts - 1, id);
      return false;
    }
    forgetMounts(tx, id);
    return true;
  });
  if (isLast) await parts.layers.remove(key);
  return id;
}

function listMounts({ db, images, layers }: MountParts): ImageMount[] {
  return db
    .all<MountRow>('SELECT image_id, mounts FROM image_mounts WHERE boot_id = ?', currentBootId())
    .map(({ image_id: id, mounts }) => ({
      id,
      repoTags: images.resolve(id).repoTags,
      path: layers.mountPath(keyOf(id)),
      mounts,
    }));
}

const mountsOf = (db: Reader, imageID: string): number =>
  db.get<MountRow>(
    'SELECT image_id, mounts FROM image_mounts WHERE image_id = ? AND boot_id = ?',
    imageID,
    currentBootId(),
  )?.mounts ?? 0;
