import { rmSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { removeBundle } from './bundle.ts';
import { containerFolder } from './config.ts';
import { freeNetwork } from './container-network.ts';
import { containerEvent } from './events.ts';
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
  await parts.layers.remove(id);
  rmSync(containerFolder(parts.config, id), { recursive: true, force: true });
  removeBundle(record.bundle);
  const volumes = options.volumes === true ? anonymousVolumes(parts, record) : [];
  await parts.store.delete(id, (tx) => {
    tx.run('DELETE FROM execs WHERE container_id = ?', id);
    tx.event(containerEvent(record, 'destroy'));
  });
  for (const name of volumes) {
    try {
      await parts.volumes.remove(name, { force: true });
    } catch (error) {
      // Another container took it over with --volumes-from.
      if (!(error instanceof TareError && error.kind === 'Conflict')) throw error;
    }
  }
}

const anonymousVolumes = (parts: EngineParts, record: ContainerRecord): string[] =>
  record.mounts
    .filter((mount) => mount.type === 'volume' && parts.volumes.find(mount.name)?.anonymous === true)
    .map((mount) => mount.name);
