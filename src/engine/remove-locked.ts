import { rmSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { forgetEgress } from '../network/index.ts';
import type { Transaction } from '../state/index.ts';
import { removeBundle } from './bundle.ts';
import { forgetCheckpoints } from './checkpoints/records.ts';
import { containerFolder } from './config.ts';
import { freeNetwork } from './container-network.ts';
import { containerEvent } from './events.ts';
import { deleteLinks } from './links.ts';
import { shipRest } from './log-keeping.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

export interface RemoveOptions {
  /** Its anonymous volumes too. */
  volumes?: boolean;
}

/** Removes a container that does not run, for a caller that holds its lock and an intent. Repeating finishes a broken try. */
export async function removeLocked(parts: EngineParts, record: ContainerRecord, options: RemoveOptions): Promise<void> {
  const { id } = record;
  if (record.state.status !== 'removing') {
    await parts.store.update(id, (current) => {
      current.state.status = 'removing';
      current.state.removesVolumes = options.volumes === true;
    });
  }
  await freeNetwork(parts, id);
  await parts.forgetExecs(id);
  await removeFiles(parts, record);
  const volumes = options.volumes === true ? anonymousVolumes(parts, record) : [];
  await parts.db.write((tx) => deleteRecord(tx, record));
  await removeVolumes(parts, volumes);
  await releaseImages(parts, record);
}

/** The images that a container needed may go now. */
export async function releaseImages(parts: EngineParts, record: ContainerRecord): Promise<void> {
  const mounted = record.mounts.flatMap(({ imageId }) => (imageId === undefined ? [] : [imageId]));
  for (const id of new Set([record.imageId, ...mounted])) await parts.images.release(id);
}

/** Removes a container's snapshot, folder and bundle, once its output is where it shall go. */
export async function removeFiles(parts: EngineParts, record: ContainerRecord): Promise<void> {
  await shipRest(parts, record);
  await parts.layers.remove(record.id);
  rmSync(containerFolder(parts.config, record.id), { recursive: true, force: true });
  removeBundle(record.bundle);
}

/** Deletes a container's record with those of its execs, and tells of it. */
export function deleteRecord(tx: Transaction, record: ContainerRecord): void {
  tx.run('DELETE FROM execs WHERE container_id = ?', record.id);
  deleteLinks(tx, record.id);
  forgetCheckpoints(tx, record.id);
  forgetEgress(tx, record.id);
  if (tx.run('DELETE FROM containers WHERE id = ?', record.id) > 0) tx.event(containerEvent(record, 'destroy'));
}

/** Names of a container's volumes that nobody named. Asked before its record goes. */
export const anonymousVolumes = (parts: EngineParts, record: ContainerRecord): string[] =>
  record.mounts
    .filter((mount) => mount.type === 'volume' && parts.volumes.find(mount.name)?.anonymous === true)
    .map((mount) => mount.name);

/** Removes volumes, save those that another container took over with --volumes-from. */
export async function removeVolumes(parts: EngineParts, names: readonly string[]): Promise<void> {
  for (const name of names) {
    try {
      await parts.volumes.remove(name, { force: true });
    } catch (error) {
      if (!(error instanceof TareError && error.kind === 'Conflict')) throw error;
    }
  }
}
