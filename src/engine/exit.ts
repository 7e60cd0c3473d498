import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { oomKills } from '../linux/index.ts';
import { readExit } from '../runtime/index.ts';
import { removeBundle } from './bundle.ts';
import { cgroupPath } from './container-cgroup.ts';
import { endpointEvents, freeNetwork } from './container-network.ts';
import { containerEvent, volumeUseEvents } from './events.ts';
import { needsKeeper } from './keeper-work.ts';
import { isContainerAlive, isMonitorAlive, isOfThisBoot, isUp } from './liveness.ts';
import { releaseSources } from './mount-sources.ts';
import type { EngineParts } from './parts.ts';
import { anonymousVolumes, deleteRecord, releaseImages, removeFiles, removeVolumes } from './remove-locked.ts';
import { restartDelayMs } from './restart-policy.ts';
import type { ContainerRecord } from './types.ts';

/** The exit code that is reported when nobody could say it. */
const UNKNOWN_EXIT_CODE = 255;
/** How long conmon may take from the end of the container to its exit file. */
const MONITOR_GRACE_MS = 5_000;

/**
 * Settles a container that has ended: what it used is freed, and its record says how it ended and what comes next.
 * Called by whoever notices first; the others find nothing to do. A container that still runs is left alone.
 */
export async function handleExit(parts: EngineParts, id: string): Promise<void> {
  if (parts.store.find(id) === undefined) return forgetExit(parts, id);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.find(id);
  // The end of a start that failed, told after everything else of it was undone.
  if (record === undefined || !isUp(record)) return forgetExit(parts, id);
  const end = await findEnd(parts, record);
  if (end !== undefined) await settleLocked(parts, record, end);
}

function forgetExit(parts: EngineParts, id: string): void {
  rmSync(join(parts.config.execRoot, 'exits', id), { force: true });
}

/** How a container ended. */
export interface End {
  exitCode: number;
  error: string;
}

/** @returns undefined: it has not ended */
async function findEnd(parts: EngineParts, record: ContainerRecord): Promise<End | undefined> {
  const exitDir = join(parts.config.execRoot, 'exits');
  const told = (): End | undefined => {
    const exitCode = readExit(exitDir, record.id);
    return exitCode === undefined ? undefined : { exitCode, error: '' };
  };
  const deadline = Date.now() + MONITOR_GRACE_MS;
  for (;;) {
    // Asked before the file is read: a monitor that was alive may write between the two.
    const isMonitored = isMonitorAlive(record);
    const end = told();
    if (end !== undefined) return end;
    if (isContainerAlive(record)) return undefined;
    if (!isMonitored || Date.now() > deadline) {
      const cause = isOfThisBoot(record.state) ? 'the monitor (conmon) was killed' : 'the machine was started anew';
      return { exitCode: UNKNOWN_EXIT_CODE, error: `the exit code is unknown: ${cause}` };
    }
    await sleep(5);
  }
}

/** Frees and records, for a caller that holds the container's lock. */
export async function settleLocked(parts: EngineParts, record: ContainerRecord, end: End): Promise<void> {
  const { id, bundle, host, state } = record;
  const finishedMs = Date.now();
  // With the machine, the policy begins anew.
  const restartCount = isOfThisBoot(state) ? record.restartCount : 0;
  const delayMs = restartDelayMs({ ...record, restartCount }, end.exitCode, finishedMs - state.startedMs);
  const isGoing = delayMs === undefined && host.autoRemove;
  // Read before the runtime deletes the cgroup.
  const oomKilled = existsSync(join(bundle, 'oom')) || (oomKills(cgroupPath(parts, record)) ?? 0) > 0;
  const endpoints = parts.networks.endpoints({ containerId: id });
  const volumes = isGoing ? anonymousVolumes(parts, record) : [];
  // All else is freed while the runtime removes what it keeps. A kill in between is no harm: the exit file still tells.
  const freed = await Promise.allSettled([
    parts.runtime.delete(id, parts.runtimeFor(host.runtime), true),
    free(parts, record, isGoing),
  ]);
  const failure = freed.find((result) => result.status === 'rejected');

  const settled = await parts.store.update(id, (current, tx) => {
    if (oomKilled) tx.event(containerEvent(current, 'oom'));
    for (const event of endpointEvents(parts, endpoints, 'disconnect')) tx.event(event);
    for (const event of volumeUseEvents(current, 'unmount')) tx.event(event);
    const attributes = {
      exitCode: String(end.exitCode),
      execDuration: String(Math.max(0, Math.floor((finishedMs - state.startedMs) / 1000))),
    };
    tx.event(containerEvent(current, 'die', attributes));
    if (current.state.isStopping) tx.event(containerEvent(current, 'stop'));
    if (delayMs !== undefined) current.restartCount = isOfThisBoot(state) ? restartCount + 1 : 0;
    current.state = {
      ...current.state,
      status: delayMs === undefined ? 'exited' : 'restarting',
      pid: 0,
      pidStartTicks: 0,
      monitorPid: 0,
      monitorStartTicks: 0,
      exitCode: end.exitCode,
      error: end.error,
      oomKilled,
      finishedMs,
      isStopping: false,
      restartAtMs: delayMs === undefined ? 0 : finishedMs + delayMs,
      health: current.state.health === null ? null : { ...current.state.health, status: 'unhealthy' },
    };
    if (isGoing && failure === undefined) deleteRecord(tx, current);
  });
  forgetExit(parts, id);
  removeBundle(bundle);
  if (failure !== undefined) throw failure.reason;
  if (isGoing) {
    await removeVolumes(parts, volumes);
    await releaseImages(parts, record);
  } else if (settled?.state.status === 'restarting' && needsKeeper(settled)) parts.wakeKeeper();
}

async function free(parts: EngineParts, record: ContainerRecord, isGoing: boolean): Promise<void> {
  await freeNetwork(parts, record.id);
  parts.layers.unmount(record.id);
  await releaseSources(parts, record);
  await parts.forgetExecs(record.id);
  if (isGoing) await removeFiles(parts, record);
}
