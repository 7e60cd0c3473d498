import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Builder } from '../../../build/index.ts';
import type { ContentStore } from '../../../storage/index.ts';
import type { Images } from '../../images.ts';
import type { EngineParts } from '../../parts.ts';
import { builderFolders } from '../build-cache.ts';
import type { BuildService } from '../build-service.ts';
import { reconcileSteps } from '../reconcile-builds.ts';
import {
  findWorking,
  getWorking,
  isMounted,
  keyOf,
  layersOf,
  updateWorking,
  type WorkingRecord,
} from './working-records.ts';

/** What working containers need of the engine. */
export interface WorkingDeps {
  parts: EngineParts;
  images: Images;
  content: ContentStore;
  builder(): Promise<Builder>;
  build: BuildService['build'];
  /** Stored credentials of who opened the engine may be used. */
  asUser: boolean;
}

/** A working container that nobody else changes meanwhile. */
export interface HeldWorking {
  record: WorkingRecord;
  /** Of its snapshot, which is there. */
  key: string;
}

/**
 * Does something to a working container while nobody else does. Who dies in the middle leaves a mark, by which the next process
 * reconciles.
 *
 * @param ids all that are needed, each once; they are taken in one order, so that nobody waits for who waits for him
 * @throws {TareError} NotFound: one was removed
 */
export async function holdWorking<T>(
  { parts, images }: Pick<WorkingDeps, 'parts' | 'images'>,
  ids: readonly string[],
  signal: AbortSignal | undefined,
  work: (held: readonly HeldWorking[]) => Promise<T>,
): Promise<T> {
  using _intent = parts.intents.begin();
  using locks = new DisposableStack();
  for (const id of [...new Set(ids)].sort()) {
    locks.use(await parts.locks.acquire(`container:${keyOf(id)}`, signal));
  }
  const held: HeldWorking[] = [];
  for (const id of ids) {
    const record = await settleFreeze(parts, getWorking(parts.db, id));
    // What power took of the base comes back from its blobs.
    if (record.base !== undefined) await images.ensureUnpacked(record.base.imageID);
    await parts.layers.prepare(keyOf(id), layersOf(record), { isBare: true });
    await settleRun(parts, record);
    held.push({ record, key: keyOf(id) });
  }
  try {
    return await work(held);
  } finally {
    for (const { key, record } of held) {
      const now = findWorking(parts.db, record.id);
      if (now !== undefined && !isMounted(now)) parts.layers.unmount(key);
    }
  }
}

/** A file that is there while places for a command's mounts are in a working container's files. */
export const mountNotes = ({ config }: Pick<EngineParts, 'config'>, id: string): string =>
  join(builderFolders(config).execDirectory, `places-${keyOf(id)}`);

/**
 * Ends a command whose process died, and takes back the places that were made for its mounts.
 *
 * @param record of a container whose lock is held, and whose snapshot is there
 */
export async function settleRun(parts: EngineParts, record: WorkingRecord): Promise<void> {
  const notes = mountNotes(parts, record.id);
  if (!existsSync(notes)) return;
  await reconcileSteps(parts);
  const { takeBackMountPlaces } = await import('../../../build/index.ts');
  takeBackMountPlaces(parts.layers.mount(keyOf(record.id)), notes);
  if (!isMounted(record)) parts.layers.unmount(keyOf(record.id));
}

/**
 * Finishes what a commit began that died: its files have become a layer then, or become it now.
 *
 * @param record of a container whose lock is held
 */
export async function settleFreeze(
  { db, layers }: Pick<EngineParts, 'db' | 'layers'>,
  record: WorkingRecord,
): Promise<WorkingRecord> {
  const { id, freezing } = record;
  if (freezing === undefined) return record;
  layers.unmount(keyOf(id));
  const layer = await layers.freeze(keyOf(id), freezing.layer);
  return await updateWorking(db, id, (current) => {
    current.layers.push(layer);
    current.history.push(freezing.entry);
    delete current.freezing;
  });
}
