import { TareError } from '../errors/index.ts';
import { toRuntimeResources } from '../runtime/index.ts';
import { applyBandwidth, changedBandwidth } from './container-bandwidth.ts';
import { hasCgroup } from './container-cgroup.ts';
import { containerEvent } from './events.ts';
import { needsKeeper } from './keeper-work.ts';
import { isUp } from './liveness.ts';
import { parseContainerName } from './names.ts';
import type { EngineParts } from './parts.ts';
import { checkRestartPolicy } from './restart-policy.ts';
import type { ContainerService } from './types.ts';

/** @throws {TareError} Conflict: it does not run, or is paused already */
export async function pauseContainer(parts: EngineParts, ref: string): Promise<void> {
  const { id } = parts.store.get(ref);
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.get(id);
  if (record.state.status === 'paused') throw new TareError('Conflict', `container ${id} is already paused`);
  if (record.state.status === 'restarting') {
    throw new TareError('Conflict', `Container ${id} is restarting, wait until the container is running`);
  }
  if (record.state.status !== 'running') throw new TareError('Conflict', `container ${id} is not running`);
  if (!hasCgroup(parts)) {
    const why = 'an engine without root has no cgroups, and only a cgroup can be frozen';
    throw new TareError('Unsupported', `cannot pause container ${id}: ${why}`);
  }
  await parts.runtime.pause(id, parts.runtimeFor(record.host.runtime));
  await parts.store.update(id, (current, tx) => {
    current.state.status = 'paused';
    tx.event(containerEvent(current, 'pause'));
  });
}

/** @throws {TareError} Conflict: it is not paused */
export async function unpauseContainer(parts: EngineParts, ref: string): Promise<void> {
  const { id } = parts.store.get(ref);
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.get(id);
  if (record.state.status !== 'paused') throw new TareError('Conflict', `Container ${id} is not paused`);
  await parts.runtime.resume(id, parts.runtimeFor(record.host.runtime));
  await parts.store.update(id, (current, tx) => {
    current.state.status = 'running';
    tx.event(containerEvent(current, 'unpause'));
  });
}

/** @throws {TareError} InvalidArgument: no name; AlreadyExists: it is taken */
export async function renameContainer(parts: EngineParts, ref: string, newName: string): Promise<void> {
  if (newName === '') throw new TareError('InvalidArgument', 'Neither old nor new names may be empty');
  const name = parseContainerName(newName);
  const { id } = parts.store.get(ref);
  using _lock = await parts.locks.acquire(`container:${id}`);
  await parts.store.update(id, (current, tx) => {
    if (current.name === name) {
      throw new TareError('InvalidArgument', 'Renaming a container with the same name as its current name');
    }
    const oldName = `/${current.name}`;
    current.name = name;
    tx.event(containerEvent(current, 'rename', { oldName }));
  });
}

type Change = Parameters<ContainerService['update']>[1];

/**
 * Changes limits and the restart policy, of a running container in its cgroup too.
 * @throws {TareError} InvalidArgument: a limit that the host or another limit does not allow
 */
export async function updateContainer(
  parts: EngineParts,
  ref: string,
  change: Change,
): Promise<{ warnings: string[] }> {
  const { id } = parts.store.get(ref);
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.get(id);
  if (record.state.status === 'removing' || record.state.status === 'dead') {
    throw new TareError('Conflict', `Container ${id} is marked for removal and cannot be "update".`);
  }
  const { restartPolicy, networkBandwidth, ...limits } = change;
  if (restartPolicy !== undefined) {
    if (record.host.autoRemove && restartPolicy.name !== 'no') {
      throw new TareError(
        'InvalidArgument',
        'Restart policy cannot be updated because AutoRemove is enabled for the container',
      );
    }
    checkRestartPolicy({ restartPolicy, autoRemove: record.host.autoRemove });
  }
  const bandwidth = networkBandwidth && changedBandwidth(record, networkBandwidth);
  const { resources, limits: newLimits, warnings } = toRuntimeResources(limits, record.host, parts.facts);
  if (isUp(record) && Object.keys(resources).length > 0) {
    await parts.runtime.update(id, parts.runtimeFor(record.host.runtime), resources);
  }
  if (isUp(record) && bandwidth !== undefined) await applyBandwidth(parts, record, bandwidth);
  const updated = await parts.store.update(id, (current, tx) => {
    Object.assign(current.host, newLimits);
    if (bandwidth !== undefined) current.host.networkBandwidth = bandwidth;
    if (restartPolicy !== undefined) current.host.restartPolicy = restartPolicy;
    tx.event(containerEvent(current, 'update'));
  });
  if (updated !== undefined && isUp(updated) && needsKeeper(updated)) parts.wakeKeeper();
  return { warnings };
}
