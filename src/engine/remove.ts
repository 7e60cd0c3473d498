import { TareError } from '../errors/index.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import { type RemoveOptions, removeLocked } from './remove-locked.ts';
import { killAndSettle } from './stop.ts';

/**
 * Removes a container.
 * @throws {TareError} NotFound; Conflict: it runs and `force` was not given, or somebody else is removing it
 */
export async function removeContainer(
  parts: EngineParts,
  ref: string,
  options: RemoveOptions & { force?: boolean } = {},
): Promise<void> {
  const { id } = parts.store.get(ref);
  using removal = parts.locks.tryAcquire(`removal:${id}`);
  // Clients that remove twice wait for it to be gone when they hear this.
  if (removal === undefined) throw new TareError('Conflict', `removal of container ${ref} is already in progress`);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.find(id);
  // It removed itself when it ended.
  if (record === undefined) throw new TareError('NotFound', `No such container: ${ref}`);
  if (isUp(record)) {
    if (options.force !== true) {
      const what = record.state.status === 'paused' ? 'paused' : 'running';
      const remedy = what === 'paused' ? 'unpause and stop' : 'stop';
      throw new TareError(
        'Conflict',
        `cannot remove container "/${record.name}": container is ${what}: ${remedy} the container before removing or force remove`,
      );
    }
    // Whatever its policy, it does not come back.
    await parts.store.update(id, (current) => {
      current.state.stoppedByUser = true;
      current.host.autoRemove = false;
    });
    await killAndSettle(parts, parts.store.get(id));
  }
  const settled = parts.store.find(id);
  if (settled !== undefined) await removeLocked(parts, settled, options);
}
