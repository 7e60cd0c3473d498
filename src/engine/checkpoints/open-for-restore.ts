import { TareError } from '../../errors/index.ts';
import type { EngineParts } from '../parts.ts';
import type { ContainerRecord } from '../types.ts';
import type { CheckpointEndpoint } from './addresses.ts';
import type { CheckpointPlace } from './checkpoint-types.ts';
import { requireCheckpointable } from './checkpointable.ts';
import { CheckpointsFolder, checkCheckpointName, noCheckpoint, pathOf } from './folder.ts';
import { findCheckpoint } from './records.ts';

/** A checkpoint held open. */
export interface RestorableCheckpoint extends Disposable {
  /** Folder of CRIU's images, while it is held. */
  images: string;
  tcpEstablished: boolean;
  /** What the container's sockets may know; none for a checkpoint that this container did not make. */
  endpoints: CheckpointEndpoint[];
}

/**
 * Looks whether a container can be taken up from a checkpoint, before anything changes.
 * @throws {TareError} NotFound: the checkpoint; Forbidden: others can write to it; Unsupported: by the runtime
 */
export async function openForRestore(
  parts: EngineParts,
  container: ContainerRecord,
  { name, directory }: CheckpointPlace,
): Promise<RestorableCheckpoint> {
  checkCheckpointName(name);
  await requireCheckpointable(parts, container);
  using folder = CheckpointsFolder.open(parts.config, container.id, directory);
  if (folder === undefined) throw noCheckpoint(name, container.name);
  const record = findCheckpoint(parts.db, container.id, folder.path, name);
  if (record?.isWhole === false) {
    throw new TareError('Conflict', `checkpoint ${name} of container ${container.name} is not whole yet`);
  }
  const place = folder.checked(name, container.name);
  return {
    images: pathOf(place),
    tcpEstablished: record?.tcpEstablished ?? false,
    endpoints: record?.endpoints ?? [],
    [Symbol.dispose]: () => place[Symbol.dispose](),
  };
}
