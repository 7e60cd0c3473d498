import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../errors/index.ts';
import { endCgroup, isFrozen, listCgroups } from '../linux/index.ts';
import { reconcileWorking } from './builds/working/reconcile-working.ts';
import { isWorkingKey } from './builds/working/working-records.ts';
import { removeBundle } from './bundle.ts';
import { settleCheckpoints } from './checkpoints/settle.ts';
import { cgroupPath, defaultCgroupParent } from './container-cgroup.ts';
import { freeNetwork } from './container-network.ts';
import { handleExit } from './exit.ts';
import { forgetEarlierBoots, isMountKey } from './image-mounts.ts';
import { currentBootId } from './leases.ts';
import { isContainerAlive, isUp } from './liveness.ts';
import { releaseSources, viewerOf } from './mount-sources.ts';
import type { EngineParts } from './parts.ts';
import { resumeAbandoned } from './quiesce.ts';
import { removeLocked } from './remove-locked.ts';
import { startByPolicy } from './start-by-policy.ts';
import type { ContainerRecord } from './types.ts';
import { undoUnrecordedConnections } from './undo-connections.ts';

/** What reconcile also needs: the parts with leftovers of their own. */
export interface ReconcileParts extends EngineParts {
  reconcileImages(isUsed: (imageID: string) => boolean): Promise<void>;
  /** @param settling told of what fails */
  reconcileBuilds(settling: EngineParts): Promise<void>;
  reconcileExecs(): Promise<void>;
}

/**
 * Compares the records with what is, and finishes or undoes. Safe beside other processes: what one of them is working on
 * is locked and left to it. What fails is told once, and tried again by a later one.
 */
export async function reconcile(given: ReconcileParts): Promise<void> {
  using reconciling = given.intents.beginReconcile();
  const failures: string[] = [];
  const onError = (subject: string, error: unknown): void => {
    const failure = `${subject}: ${messageOf(error)}`;
    failures.push(failure);
    if (!reconciling.known.has(failure)) given.onError(subject, error);
  };
  const isFirstOfBoot = await settleAll({ ...given, onError });
  reconciling.end(failures);
  if (isFirstOfBoot) await tried(given, 'restart policies', () => startByPolicy(given));
}

async function tried(
  { onError }: Pick<EngineParts, 'onError'>,
  subject: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    onError(subject, error);
  }
}

/** @returns whether the machine was started anew since an engine on these roots last looked */
async function settleAll(parts: ReconcileParts): Promise<boolean> {
  const attempt = (subject: string, work: () => Promise<void>) => tried(parts, subject, work);
  const isFirstOfBoot = await noteBoot(parts);
  // Before their status is compared with what is: to the records they are paused.
  await attempt('paused containers', () => resumeAbandoned(parts));
  for (const { id } of parts.store.all()) await attempt(`container ${id}`, () => reconcileContainer(parts, id));
  await attempt('execs', () => parts.reconcileExecs());
  await attempt('bundles', () => removeOrphanBundles(parts));
  await attempt('steps of builds', () => parts.reconcileBuilds(parts));
  await attempt('cgroups', () => removeOrphanCgroups(parts));
  await attempt('networks', () =>
    parts.networks.reconcile(
      (id) => isSpared(parts, id, isUp),
      (id) => parts.locks.tryAcquire(`container:${id}`),
    ),
  );
  await attempt('image mounts', () => forgetEarlierBoots(parts.db));
  await attempt('working containers', () => reconcileWorking(parts));
  await attempt('snapshots', () =>
    parts.layers.reconcile((key) => {
      const viewer = viewerOf(key);
      return viewer === undefined
        ? isMountKey(parts.db, key) || isWorkingKey(parts.db, key) || isSpared(parts, key, () => true)
        : isSpared(parts, viewer, isUp);
    }),
  );
  await attempt('container folders', async () => removeOrphanFolders(parts));
  await attempt('volumes', () => parts.volumes.reconcile((id) => isSpared(parts, id, isUp)));
  await attempt('images', () => {
    const used = new Set(parts.store.all().map(({ imageId }) => imageId));
    return parts.reconcileImages((imageID) => used.has(imageID));
  });
  return isFirstOfBoot;
}

/** The cheap part, done at each opening: containers that have ended while nobody looked. */
export async function settleEnded(parts: ReconcileParts): Promise<void> {
  for (const record of parts.store.withStatus('running', 'paused')) {
    if (isContainerAlive(record)) continue;
    try {
      await handleExit(parts, record.id);
    } catch (error) {
      parts.onError(`container ${record.id}`, error);
    }
  }
}

async function reconcileContainer(parts: EngineParts, id: string): Promise<void> {
  if (isUp(parts.store.find(id) ?? ({ state: { status: 'dead' } } as ContainerRecord))) await handleExit(parts, id);
  using lock = parts.locks.tryAcquire(`container:${id}`);
  const record = lock === undefined ? undefined : parts.store.find(id);
  if (record === undefined) return;
  await settleCheckpoints(parts, record);
  if (isUp(record)) {
    await trueStatus(parts, record);
    return await undoUnrecordedConnections(parts, record);
  }
  if (record.state.status === 'removing') {
    return await removeLocked(parts, record, { volumes: record.state.removesVolumes });
  }
  if (existsSync(record.bundle) || parts.layers.isMounted(id)) await undoStart(parts, record);
  if (record.state.status === 'exited' && record.host.autoRemove) {
    return await removeLocked(parts, record, { volumes: true });
  }
}

/** A process that died between the freezer and its record left the record behind the truth. */
async function trueStatus(parts: EngineParts, record: ContainerRecord): Promise<void> {
  const status = isFrozen(cgroupPath(parts, record)) ? 'paused' : 'running';
  if (record.state.status === status) return;
  await parts.store.update(record.id, (current) => {
    current.state.status = status;
  });
}

/** A start whose process died before the record said "running": nobody was told that it runs. */
async function undoStart(parts: EngineParts, record: ContainerRecord): Promise<void> {
  await parts.runtime.delete(record.id, parts.runtimeFor(record.host.runtime), true);
  await freeNetwork(parts, record.id);
  await parts.forgetExecs(record.id);
  parts.layers.unmount(record.id);
  removeBundle(record.bundle);
  await releaseSources(parts, record);
  rmSync(join(parts.config.execRoot, 'exits', record.id), { force: true });
}

/** Whether something named after a container belongs to it, or to somebody who is just making it. */
function isSpared(parts: EngineParts, id: string, belongs: (record: ContainerRecord) => boolean): boolean {
  const record = parts.store.find(id);
  if (record !== undefined && belongs(record)) return true;
  using lock = parts.locks.tryAcquire(`container:${id}`);
  return lock === undefined;
}

const entries = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

async function removeOrphanBundles(parts: EngineParts): Promise<void> {
  const directory = join(parts.config.execRoot, 'containers');
  const fallback = parts.runtimeFor(parts.config.defaultRuntime);
  for (const id of entries(directory)) {
    if (isSpared(parts, id, () => true)) continue;
    await parts.runtime.delete(id, fallback, true);
    removeBundle(join(directory, id));
  }
  for (const id of entries(join(parts.config.execRoot, 'exits'))) {
    if (!isSpared(parts, id, isUp)) rmSync(join(parts.config.execRoot, 'exits', id), { force: true });
  }
}

async function removeOrphanCgroups(parts: EngineParts): Promise<void> {
  const parent = defaultCgroupParent(parts.instance);
  for (const id of listCgroups(parent)) {
    if (isSpared(parts, id, isUp)) continue;
    await tried(parts, `cgroup of ${id}`, () => endCgroup(`${parent}/${id}`));
  }
}

function removeOrphanFolders(parts: EngineParts): void {
  const directory = join(parts.config.dataRoot, 'containers');
  for (const id of entries(directory)) {
    if (!isSpared(parts, id, () => true)) rmSync(join(directory, id), { recursive: true, force: true });
  }
}

/** @returns whether the machine was started anew since an engine on these roots last looked */
async function noteBoot(parts: EngineParts): Promise<boolean> {
  const bootID = currentBootId();
  const known = parts.db.get<{ value: string }>("SELECT value FROM facts WHERE key = 'boot-id'")?.value;
  if (known === bootID) return false;
  await parts.db.write((tx) => tx.run("INSERT OR REPLACE INTO facts (key, value) VALUES ('boot-id', ?)", bootID));
  return known !== undefined;
}
