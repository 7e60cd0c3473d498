import type { EngineParts } from '../parts.ts';
import type { CheckpointPlace } from './checkpoint-types.ts';
import { CheckpointsFolder, checkCheckpointName, noCheckpoint } from './folder.ts';
import { type CheckpointRecord, findCheckpoint, forgetCheckpoint, putCheckpoint } from './records.ts';

/** @see ContainerService.removeCheckpoint */
export async function removeCheckpoint(parts: EngineParts, ref: string, place: CheckpointPlace): Promise<void> {
  const { name, directory } = place;
  checkCheckpointName(name);
  const { id } = parts.store.get(ref);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  const container = parts.store.get(id);
  using folder = CheckpointsFolder.open(parts.config, id, directory);
  if (folder === undefined) throw noCheckpoint(name, container.name);
  // A folder that is no checkpoint is not ours to remove.
  folder.checked(name, container.name)[Symbol.dispose]();
  const record: CheckpointRecord = findCheckpoint(parts.db, id, folder.path, name) ?? {
    ...{ containerId: id, directory: folder.path, name },
    ...{ isWhole: true, tcpEstablished: false, endpoints: [] },
  };
  // Recorded, also one that came from elsewhere: whoever reconciles finds what is left of it.
  await parts.db.write((tx) => putCheckpoint(tx, record));
  folder.remove(name);
  await parts.db.write((tx) => forgetCheckpoint(tx, record));
}
