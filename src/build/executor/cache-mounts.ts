import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AT_FDCWD, type FileLock, renameAt, toByteString, tryFlock } from '../../linux/index.ts';
import {
  type CacheEntryUse,
  cacheMountID,
  type EntryParent,
  type EntryParts,
  useCacheEntry,
} from '../cache/entries.ts';

export type CacheSharing = 'shared' | 'private' | 'locked';

/** A folder that steps keep from one to the next. */
export interface CacheMountRequest {
  /** As the build calls it, with the namespace that a client chose. */
  id: string;
  sharing: CacheSharing;
  /** Where it is mounted, for lists. */
  target: string;
  /** What it begins with; undefined: nothing. */
  base: CacheBase | undefined;
}

export interface CacheBase {
  /** Equal for equal content: another base is another cache. */
  key: string;
  /** Fills a new folder. */
  fill(folder: string): Promise<void>;
}

/** A cache's folder while a step has it. */
export interface HeldCache extends Disposable {
  readonly path: string;
  /** What locks it: whoever has the descriptor open keeps it. */
  readonly lockFd: number;
}

/** The caches of a step. */
export interface HeldCaches extends Disposable {
  of(request: CacheMountRequest): HeldCache;
  readonly lockFds: readonly number[];
}

const FOLDER: EntryParent = 'cache-mounts';
const MAX_WAIT_MS = 20;
/** So many steps may use one private cache at once. */
const MAX_PRIVATE = 1000;

const strictest: readonly CacheSharing[] = ['shared', 'private', 'locked'];

/**
 * Takes the folders of a step's caches. All are taken in one order, so that two steps never wait for each other; one that is asked for
 * twice is taken once, by the stricter of its ways of sharing.
 *
 * A lock is a flock, which is given to the step's runtime too: other processes are kept out for as long as the step runs, even if the one
 * that began it has died.
 */
export async function holdCaches(
  parts: EntryParts,
  requests: readonly CacheMountRequest[],
  signal: AbortSignal,
): Promise<HeldCaches> {
  using held = new DisposableStack();
  const byKey = Map.groupBy(requests, keyOf);
  const caches = new Map<string, HeldCache>();
  for (const key of [...byKey.keys()].sort()) {
    const wanted = byKey.get(key)!;
    const sharing = strictest.findLast((way) => wanted.some((request) => request.sharing === way))!;
    caches.set(key, held.use(await hold(parts, key, { ...wanted[0]!, sharing }, signal)));
  }
  const owned = held.move();
  return {
    of: (request) => caches.get(keyOf(request))!,
    lockFds: [...caches.values()].map(({ lockFd }) => lockFd),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

const keyOf = ({ id, base }: CacheMountRequest): string =>
  createHash('sha256')
    .update(JSON.stringify([id, base?.key ?? '']))
    .digest('hex')
    .slice(0, 32);

async function hold(
  parts: EntryParts,
  key: string,
  request: CacheMountRequest,
  signal: AbortSignal,
): Promise<HeldCache> {
  using taken = new DisposableStack();
  const { name, lock } = await lockOne(parts, key, request.sharing, signal);
  taken.use(lock);
  const use = taken.use(
    await useCacheEntry(parts, {
      id: cacheMountID(name),
      type: 'exec.cachemount',
      isMeasuredLater: true,
      description: `cached mount ${request.target} with id ${JSON.stringify(request.id)}`,
      folder: join(FOLDER, name),
    }),
  );
  await makeFolder(use, request.base);
  const owned = taken.move();
  return { path: use.path, lockFd: lock.fd, [Symbol.dispose]: () => owned.dispose() };
}

async function lockOne(
  { execDirectory }: EntryParts,
  key: string,
  sharing: CacheSharing,
  signal: AbortSignal,
): Promise<{ name: string; lock: FileLock }> {
  const folder = join(execDirectory, 'cache-locks');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const attempt = (name: string) => tryFlock(join(folder, name), sharing === 'shared' ? 'shared' : 'exclusive');
  if (sharing === 'private') {
    for (let number = 0; number < MAX_PRIVATE; number += 1) {
      const name = number === 0 ? key : `${key}.${number}`;
      const lock = attempt(name);
      if (lock !== undefined) return { name, lock };
    }
  }
  for (let waitMs = 0.5; ; waitMs = Math.min(waitMs * 1.5, MAX_WAIT_MS)) {
    signal.throwIfAborted();
    const lock = attempt(key);
    if (lock !== undefined) return { name: key, lock };
    await sleep(waitMs);
  }
}

/** A folder appears by rename, with what it begins with. */
async function makeFolder({ path }: CacheEntryUse, base: CacheBase | undefined): Promise<void> {
  if (existsSync(path)) return;
  const draft = `${path}.new-${randomBytes(6).toString('hex')}`;
  mkdirSync(draft, { recursive: true, mode: 0o755 });
  try {
    await base?.fill(draft);
    // Never in place of an empty one, which another step may have mounted already.
    renameAt(AT_FDCWD, toByteString(draft), AT_FDCWD, toByteString(path), { noReplace: true });
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another user of a shared one was quicker.
    if (!existsSync(path)) throw error;
  }
}
