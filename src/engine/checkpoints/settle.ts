import { containerEvent } from '../events.ts';
import type { EngineParts } from '../parts.ts';
import type { ContainerRecord } from '../types.ts';
import { CheckpointsFolder } from './folder.ts';
import { checkpointsOf, forgetCheckpoint, putCheckpoint } from './records.ts';

/**
 * Finishes or undoes what a process left that died while it made or removed a checkpoint: one that bears its name is whole, what
 * does not is dropped. For a caller that holds the container's lock.
 */
export async function settleCheckpoints(
  parts: Pick<EngineParts, 'config' | 'db'>,
  container: ContainerRecord,
): Promise<void> {
  for (const record of checkpointsOf(parts.db, container.id)) {
    using folder = CheckpointsFolder.open(parts.config, container.id, record.directory);
    folder?.removeUnfinished(record.name);
    if (folder?.has(record.name) !== true) {
      await parts.db.write((tx) => forgetCheckpoint(tx, record));
    } else if (!record.isWhole) {
      await parts.db.write((tx) => {
        putCheckpoint(tx, { ...record, isWhole: true });
        tx.event(containerEvent(container, 'checkpoint'));
      });
    }
  }
}
