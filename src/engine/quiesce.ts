import { isFrozen } from '../linux/index.ts';
import { cgroupPath, hasCgroup } from './container-cgroup.ts';
import { containerEvent } from './events.ts';
import { deleteLease, insertLease, leasedResources, leasesOn } from './leases.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

const PREFIX = 'pause:';
const resourceOf = (id: string) => `${PREFIX}${id}`;

type PauseParts = Pick<EngineParts, 'config' | 'instance' | 'db' | 'locks' | 'store' | 'runtime' | 'runtimeFor'>;

/**
 * Keeps a running container still until it is disposed (again does nothing), or its process ends: then the next one to
 * reconcile resumes it.
 * One that its user paused stays as it is; of several who want it still, the last resumes it.
 */
export async function keepStill(
  parts: PauseParts & Pick<EngineParts, 'intents'>,
  id: string,
): Promise<AsyncDisposable> {
  const intent = parts.intents.begin();
  // Only a cgroup can be frozen.
  if (!hasCgroup(parts)) return released(intent);
  try {
    using _lock = await parts.locks.acquire(`container:${id}`);
    const record = parts.store.get(id);
    const { living } = leasesOn(parts.db, resourceOf(id));
    const isPausedByUser = record.state.status === 'paused' && living.length === 0;
    if (!isUp(record) || isPausedByUser) return released(intent);
    // Recorded first: whoever finds the lease of a dead process knows that the container is to run.
    const lease = await parts.db.write((tx) => insertLease(tx, resourceOf(id)));
    if (record.state.status !== 'paused') {
      try {
        await parts.runtime.pause(id, parts.runtimeFor(record.host.runtime));
      } catch (error) {
        await parts.db.write((tx) => deleteLease(tx, lease));
        throw error;
      }
      await parts.store.update(id, (current, tx) => {
        current.state.status = 'paused';
        tx.event(containerEvent(current, 'pause'));
      });
    }
    let letting: Promise<void> | undefined;
    return {
      [Symbol.asyncDispose]: async () => {
        letting ??= letGo(parts, id, [lease]).finally(() => intent[Symbol.dispose]());
        await letting;
      },
    };
  } catch (error) {
    intent[Symbol.dispose]();
    throw error;
  }
}

const released = (intent: Disposable): AsyncDisposable => ({
  [Symbol.asyncDispose]: async () => intent[Symbol.dispose](),
});

/** Resumes what processes held still that have ended since. */
export async function resumeAbandoned(parts: PauseParts): Promise<void> {
  for (const resource of leasedResources(parts.db, PREFIX)) {
    const { dead } = leasesOn(parts.db, resource);
    if (dead.length > 0) await letGo(parts, resource.slice(PREFIX.length), dead);
  }
}

async function letGo(parts: PauseParts, id: string, leases: readonly string[]): Promise<void> {
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.find(id);
  const { living } = leasesOn(parts.db, resourceOf(id));
  const isLast = living.every((lease) => leases.includes(lease));
  if (record !== undefined && isLast && isUp(record) && isFrozen(cgroupPath(parts, record))) {
    await resume(parts, record);
  }
  await parts.db.write((tx) => {
    for (const lease of leases) deleteLease(tx, lease);
  });
}

async function resume(parts: PauseParts, { id, host }: ContainerRecord): Promise<void> {
  await parts.runtime.resume(id, parts.runtimeFor(host.runtime));
  await parts.store.update(id, (current, tx) => {
    if (current.state.status !== 'paused') return;
    current.state.status = 'running';
    tx.event(containerEvent(current, 'unpause'));
  });
}
