import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import { tryFlock } from '../../linux/index.ts';
import type { Database } from '../../state/index.ts';
import type { LayerName } from '../../storage/index.ts';

/** What entries need of the builder. */
export interface EntryParts {
  /** The builder's own folder. */
  directory: string;
  /** Folder in memory: locks of entries in use lie there. */
  execDirectory: string;
  db: Database;
  now(): number;
}

/**
 * Something that builds keep from one to the next beside the layers of results: the folder of a cache mount, a client's files as they
 * were sent last, a repository. It is listed, counted and pruned with the rest of the cache.
 */
export interface CacheEntry {
  /** Unique, the same from build to build: letters, digits, `.`, `_` and `-`. */
  id: string;
  type: 'exec.cachemount' | 'source.local' | 'source.git.checkout' | 'source.http';
  /** One line, for lists. */
  description: string;
  /** Its folder, in one of the builder's own (`entryFolder`); it is removed with the entry. The user of the entry makes it. */
  folder?: string;
  /** Its user does not know how large it is: whoever lists it looks. */
  isMeasuredLater?: boolean;
  /** Layers that it keeps. */
  layers?: readonly LayerName[];
}

/** An entry in use: nobody prunes it until this is disposed or the process has ended. */
export interface CacheEntryUse extends Disposable {
  /** Absolute path of its folder. */
  readonly path: string;
  /** True: nobody had made it before, or it was pruned; its folder may be there nevertheless, if a process was killed. */
  readonly isNew: boolean;
  /** Tells how large it is now, once that is known. */
  record(state: { sizeBytes: number; layers?: readonly LayerName[] }): Promise<void>;
}

/** The size of what was not measured since it was used last. */
export const UNKNOWN_SIZE = -1;

/** Removing a large folder takes long. */
const MAX_WAIT_MS = 120_000;

const safeID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/;

/**
 * Takes an entry into use, recording it if it is new: several users at once are fine, also in several processes. What of it must
 * not be written by two is for the user to lock.
 */
export async function useCacheEntry(parts: EntryParts, entry: CacheEntry): Promise<CacheEntryUse> {
  if (!safeID.test(entry.id)) throw new TareError('Internal', `invalid cache entry ${JSON.stringify(entry.id)}`);
  const lock = await shareEntry(parts, entry.id);
  try {
    const isNew = await parts.db.write((tx) => {
      const now = parts.now();
      const columns =
        'last_used_ms = ?, usage_count = usage_count + 1, description = ?, size_bytes = coalesce(?, size_bytes)';
      const size = entry.isMeasuredLater === true ? UNKNOWN_SIZE : null;
      const known = tx.run(
        `UPDATE build_records SET ${columns} WHERE id = ?`,
        ...[now, entry.description, size, entry.id],
      );
      if (known > 0) return false;
      tx.run(
        'INSERT INTO build_records VALUES (?, NULL, ?, ?, ?, ?, ?, ?, ?, 1)',
        ...[entry.id, entry.folder ?? null, entry.type, entry.description, '[]', size ?? 0, now, now],
      );
      return true;
    });
    if (entry.layers !== undefined) await keepLayers(parts, entry.id, entry.layers);
    return {
      path: join(parts.directory, entry.folder ?? ''),
      isNew,
      record: async ({ sizeBytes, layers }) => {
        const sql = 'UPDATE build_records SET size_bytes = ?, last_used_ms = ? WHERE id = ?';
        await parts.db.write((tx) => void tx.run(sql, sizeBytes, parts.now(), entry.id));
        if (layers !== undefined) await keepLayers(parts, entry.id, layers);
      },
      [Symbol.dispose]: () => lock[Symbol.dispose](),
    };
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** Layers of an entry stand in the records as the result of a key that nothing leads to. */
const entryKey = (id: string): string => `entry:${id}`;

async function keepLayers({ db, now }: EntryParts, id: string, layers: readonly LayerName[]): Promise<void> {
  await db.write((tx) => {
    tx.run('DELETE FROM build_results WHERE key_id = ?', entryKey(id));
    const columns = '(key_id, layers, created_ms) VALUES (?, ?, ?)';
    tx.run(`INSERT INTO build_results ${columns}`, entryKey(id), JSON.stringify(layers), now());
    const row = tx.get<{ id: number }>('SELECT id FROM build_results WHERE key_id = ?', entryKey(id))!;
    for (const layer of layers) tx.run('INSERT OR IGNORE INTO build_result_layers VALUES (?, ?)', layer, row.id);
  });
}

/** Folders of the builder's that entries have theirs in; what is in the first is cache mounts. */
export type EntryParent = 'cache-mounts' | 'sources';

const CACHE_MOUNT = 'cache-mount.';

/** The id of the entry whose folder in `cache-mounts` has this name. */
export const cacheMountID = (name: string): string => `${CACHE_MOUNT}${name}`;

/** What lies where entries have their folders, each with the entry that it belongs to, drafts too. */
export function entryFolders({ directory }: EntryParts): { parent: EntryParent; name: string; id: string }[] {
  const parents: EntryParent[] = ['cache-mounts', 'sources'];
  return parents.flatMap((parent) => {
    const folder = join(directory, parent);
    return (existsSync(folder) ? readdirSync(folder) : []).map((name) => {
      const own = name.replace(/\.new-[0-9a-f]+$/, '');
      return { parent, name, id: parent === 'cache-mounts' ? cacheMountID(own) : own };
    });
  });
}

/** Keeps a folder of this name in `sources` from being swept, though no record has it. */
export async function holdFolder(parts: LockPlace, name: string): Promise<Disposable> {
  const lock = await shareEntry(parts, name);
  return {
    [Symbol.dispose]: () => {
      lock.remove();
      lock[Symbol.dispose]();
    },
  };
}

type LockPlace = Pick<EntryParts, 'execDirectory'>;

/** A lock on an entry, the file of which can be removed as long as it is held. */
interface EntryLock extends Disposable {
  remove(): void;
}

/** Waits for whoever looks whether it is in use, or removes it: then it is a new one. */
async function shareEntry(parts: LockPlace, id: string): Promise<EntryLock> {
  const until = performance.now() + MAX_WAIT_MS;
  for (let waitMs = 0.5; performance.now() < until; waitMs = Math.min(waitMs * 1.5, 50)) {
    const lock = tryLockEntry(parts, id, 'shared');
    if (lock !== undefined) return lock;
    await sleep(waitMs);
  }
  throw new TareError('Unavailable', `the build cache's ${id} is being removed: try again`);
}

/** @returns undefined: it is in use, for `shared` by somebody who removes it */
export function tryLockEntry(
  { execDirectory }: LockPlace,
  id: string,
  mode: 'shared' | 'exclusive',
): EntryLock | undefined {
  const folder = join(execDirectory, 'entries');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, id);
  const lock = tryFlock(path, mode);
  return (
    lock && {
      remove: () => rmSync(path, { force: true }),
      [Symbol.dispose]: () => lock[Symbol.dispose](),
    }
  );
}

/** Whether anybody uses it, in any process. */
export function isEntryInUse({ execDirectory }: LockPlace, id: string): boolean {
  // Who uses it has made the file of its lock.
  if (!existsSync(join(execDirectory, 'entries', id))) return false;
  using lock = tryLockEntry({ execDirectory }, id, 'exclusive');
  return lock === undefined;
}

/** Forgets an entry and removes its folder. @returns false: it is in use, and stays */
export async function removeEntry(parts: EntryParts, id: string): Promise<boolean> {
  using lock = tryLockEntry(parts, id, 'exclusive');
  if (lock === undefined) return false;
  const row = parts.db.get<{ folder: string | null }>('SELECT folder FROM build_records WHERE id = ?', id);
  if (row !== undefined) {
    await forgetEntry(parts, id);
    if (row.folder !== null) await removeFolder(parts, row.folder);
  }
  lock.remove();
  return true;
}

/** Forgets an entry's record, and that it keeps layers. */
export async function forgetEntry({ db }: EntryParts, id: string): Promise<void> {
  await db.write((tx) => {
    tx.run('DELETE FROM build_records WHERE id = ?', id);
    tx.run('DELETE FROM build_results WHERE key_id = ?', entryKey(id));
  });
}

const REMOVING = 'removing';

/** Out of sight in one step; what a crash leaves of it, `sweepRemoved` takes. @param folder relative to the builder's own */
export async function removeFolder({ directory }: Pick<EntryParts, 'directory'>, folder: string): Promise<void> {
  const removing = join(directory, REMOVING);
  mkdirSync(removing, { recursive: true, mode: 0o700 });
  const gone = join(removing, randomBytes(8).toString('hex'));
  try {
    renameSync(join(directory, folder), gone);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return;
    throw error;
  }
  await rm(gone, { recursive: true, force: true });
}

/** Finishes removals that were cut off. */
export async function sweepRemoved({ directory }: Pick<EntryParts, 'directory'>): Promise<void> {
  const removing = join(directory, REMOVING);
  for (const name of existsSync(removing) ? await readdir(removing) : []) {
    await rm(join(removing, name), { recursive: true, force: true });
  }
}
