import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type FileLock, tryFlock } from '../../linux/index.ts';
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
  /** Its folder, relative to the builder's own; it is removed with the entry. The user of the entry makes it. */
  folder?: string;
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

const safeID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/;

/**
 * Takes an entry into use, recording it if it is new: several users at once are fine, also in several processes. What of it must
 * not be written by two is for the user to lock.
 */
export async function useCacheEntry(parts: EntryParts, entry: CacheEntry): Promise<CacheEntryUse> {
  if (!safeID.test(entry.id)) throw new TareError('Internal', `invalid cache entry ${JSON.stringify(entry.id)}`);
  const lock = lockEntry(parts, entry.id, 'shared');
  try {
    const isNew = await parts.db.write((tx) => {
      const now = parts.now();
      const known = tx.run(
        'UPDATE build_records SET last_used_ms = ?, usage_count = usage_count + 1, description = ? WHERE id = ?',
        ...[now, entry.description, entry.id],
      );
      if (known > 0) return false;
      tx.run(
        'INSERT INTO build_records VALUES (?, NULL, ?, ?, ?, ?, 0, ?, ?, 1)',
        ...[entry.id, entry.folder ?? null, entry.type, entry.description, '[]', now, now],
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

function lockEntry(parts: EntryParts, id: string, mode: 'shared' | 'exclusive'): FileLock {
  const lock = tryLockEntry(parts, id, mode);
  if (lock !== undefined) return lock;
  throw new TareError('Unavailable', `the build cache's ${id} is being removed: try again`);
}

function tryLockEntry({ execDirectory }: EntryParts, id: string, mode: 'shared' | 'exclusive'): FileLock | undefined {
  const folder = join(execDirectory, 'entries');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return tryFlock(join(folder, id), mode);
}

/** Whether anybody uses it, in any process. */
export function isEntryInUse(parts: EntryParts, id: string): boolean {
  using lock = tryLockEntry(parts, id, 'exclusive');
  return lock === undefined;
}

/** Forgets an entry and removes its folder. @returns false: it is in use, and stays */
export async function removeEntry(parts: EntryParts, id: string): Promise<boolean> {
  using lock = tryLockEntry(parts, id, 'exclusive');
  if (lock === undefined) return false;
  const row = parts.db.get<{ folder: string | null }>('SELECT folder FROM build_records WHERE id = ?', id);
  if (row === undefined) return true;
  await parts.db.write((tx) => {
    tx.run('DELETE FROM build_records WHERE id = ?', id);
    tx.run('DELETE FROM build_results WHERE key_id = ?', entryKey(id));
  });
  if (row.folder !== null) await removeFolder(parts, row.folder);
  rmSync(join(parts.execDirectory, 'entries', id), { force: true });
  return true;
}

/** Out of sight in one step; what a crash leaves of it, `sweepRemoved` takes. */
async function removeFolder({ directory }: EntryParts, folder: string): Promise<void> {
  const removing = join(directory, 'removing');
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
  await rm(join(directory, 'removing'), { recursive: true, force: true });
}
