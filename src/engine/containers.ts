import { statSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { exportRoot, readArchive, rootOf, statPath, writeArchive } from './archive.ts';
import { attachContainer } from './attach.ts';
import type { AttachHub } from './attach-hub.ts';
import { createCheckpoint } from './checkpoints/create.ts';
import { listCheckpoints } from './checkpoints/list.ts';
import { removeCheckpoint } from './checkpoints/remove.ts';
import { commitContainer } from './commit.ts';
import { cgroupPath, containerPids, hasCgroup } from './container-cgroup.ts';
import { viewOf, withSizes } from './container-view.ts';
import { createContainer } from './create.ts';
import { containerEvent, pruneEvent } from './events.ts';
import { filterLabels, filterTime, refuseUnknownFilters } from './filters.ts';
import { removeLink } from './links.ts';
import { listContainers } from './list.ts';
import { addPorts, removePorts } from './live-ports.ts';
import { isUp } from './liveness.ts';
import { logAttributes } from './log-attributes.ts';
import { containerLogs } from './logs.ts';
import { pauseContainer, renameContainer, unpauseContainer, updateContainer } from './modify.ts';
import type { EngineParts } from './parts.ts';
import { portReach } from './port-reach.ts';
import { removeContainer } from './remove.ts';
import { noteSubject } from './request-context.ts';
import { portsAnswer, startContainer } from './start.ts';
import { type StatsTarget, watchStats } from './stats.ts';
import { killContainer, restartContainer, stopContainer } from './stop.ts';
import { processTable } from './top.ts';
import type { ContainerRecord, ContainerService, Filters, MountPoint, PruneReport } from './types.ts';
import { waitContainer } from './wait.ts';

/** A host's folder that a caller names for checkpoints is held to the rules of one that he binds. */
const asBind = (source: string): MountPoint => ({
  type: 'bind',
  name: '',
  source,
  destination: source,
  driver: '',
  mode: '',
  readWrite: true,
  propagation: '',
});

/** The verbs of a container's life, each a use-case in a file of its own. */
export function createContainerService(parts: EngineParts, hub: AttachHub): ContainerService {
  /** Tells of a look or a copy, which changes no record. */
  const event = async (ref: string, action: string): Promise<ContainerRecord> => {
    const record = parts.store.get(ref);
    await parts.db.write((tx) => tx.event(containerEvent(record, action)));
    return record;
  };
  /** A container that the caller at work may run and reach into. */
  const reachable = (ref: string, folder?: string): string => {
    const { id, name, host, mounts } = parts.store.get(ref);
    noteSubject(() => ({ id, name }));
    parts.guard.checkContainer({ id, host, mounts: folder === undefined ? mounts : [...mounts, asBind(folder)] });
    return ref;
  };
  return {
    create: (request) => createContainer(parts, request),
    start: async (ref, options) => {
      const { checkpoint } = options ?? {};
      if (checkpoint?.directory !== undefined) parts.guard.checkRestore(checkpoint.directory);
      await startContainer(parts, reachable(ref, checkpoint?.directory), checkpoint && { checkpoint });
    },
    checkpoint: async (ref, request) => await createCheckpoint(parts, reachable(ref, request.directory), request),
    checkpoints: async (ref, directory) => listCheckpoints(parts, reachable(ref, directory), directory),
    removeCheckpoint: async (ref, place) => await removeCheckpoint(parts, reachable(ref, place.directory), place),
    stop: (ref, options) => stopContainer(parts, ref, options),
    restart: async (ref, options) => {
      await restartContainer(parts, reachable(ref), options);
      await portsAnswer(parts);
    },
    kill: (ref, signal) => killContainer(parts, ref, signal),
    pause: (ref) => pauseContainer(parts, ref),
    unpause: (ref) => unpauseContainer(parts, ref),
    rename: (ref, name) => renameContainer(parts, ref, name),
    remove: (ref, options) => removeContainer(parts, ref, options),
    removeLink: (name) => removeLink(parts, name),
    async wait(ref, condition, signal) {
      const { id } = parts.store.get(ref);
      const result = await waitContainer(parts, id, condition, signal);
      // Clients print what they have when they hear of the end.
      await hub.drained(id);
      return result;
    },
    inspect: async (ref, options) => {
      const view = viewOf(parts, parts.store.get(ref));
      return options?.size === true ? await withSizes(parts, view) : view;
    },
    list: (options) => listContainers(parts, options),
    top: async (ref, psArgs) => {
      requireRunning(parts.store.get(ref));
      const record = await event(ref, 'top');
      return await processTable(containerPids(parts, record), psArgs);
    },
    stats: (ref, options) => watchStats(() => statsTarget(parts, ref), options),
    update: (ref, change) => updateContainer(parts, ref, change),
    addPorts: async (ref, wanted) => {
      const added = await addPorts(parts, ref, wanted);
      await portsAnswer(parts);
      return added;
    },
    removePorts: (ref, ports) => removePorts(parts, ref, ports),
    portReach: async (ref, port, protocol) => portReach(parts, ref, port, protocol),
    logs: (ref, options) => containerLogs(parts, ref, options),
    logAttributes: (ref) => logAttributes(parts.store.get(ref)),
    attach: async (ref, options) => await attachContainer({ ...parts, hub }, reachable(ref), options),
    resize: async (ref, rows, columns) => {
      const record = parts.store.get(ref);
      requireRunning(record);
      await parts.runtime.resize(record.bundle, rows, columns);
      await parts.db.write((tx) =>
        tx.event(containerEvent(record, 'resize', { height: String(rows), width: String(columns) })),
      );
    },
    commit: (ref, options) => commitContainer(parts, ref, options),
    changes: async (ref) => await parts.layers.changes(parts.store.get(ref).id),
    export: async function* (ref) {
      yield* exportRoot(rootOf(parts, await event(ref, 'export')));
    },
    statPath: async (ref, path) => await statPath(rootOf(parts, parts.store.get(ref)), path),
    readArchive: async (ref, path) =>
      await readArchive(rootOf(parts, await event(reachable(ref), 'archive-path')), path),
    writeArchive: async (ref, path, tar, options) => {
      await writeArchive(rootOf(parts, await event(reachable(ref), 'extract-to-dir')), path, tar, options);
    },
    prune: (filters) => pruneContainers(parts, filters),
  };
}

function statsTarget(parts: EngineParts, ref: string): StatsTarget | undefined {
  const record = parts.store.get(ref);
  if (!isUp(record)) return undefined;
  const { pid } = record.state;
  const ownNetwork = record.host.networkMode !== 'host' && !sharesHostNetwork(pid);
  return { pid, cgroupPath: hasCgroup(parts) ? cgroupPath(parts, record) : undefined, ownNetwork };
}

/** By its own choice, or that of the container whose network it shares. */
function sharesHostNetwork(pid: number): boolean {
  const namespace = statSync(`/proc/${pid}/ns/net`, { throwIfNoEntry: false });
  const own = statSync('/proc/self/ns/net');
  return namespace?.ino === own.ino && namespace.dev === own.dev;
}

function requireRunning(record: ContainerRecord): void {
  if (!isUp(record)) throw new TareError('Conflict', `container ${record.id} is not running`);
}

/** Removes every container that does not run. */
async function pruneContainers(parts: EngineParts, filters: Filters = {}): Promise<PruneReport> {
  refuseUnknownFilters(filters, ['label', 'label!', 'until']);
  // A time that is none is refused, also where there is nothing to compare it with.
  filterTime(filters, 0);
  const report: PruneReport = { deleted: [], spaceReclaimedBytes: 0 };
  for (const record of parts.store.withStatus('created', 'exited', 'dead')) {
    if (!filterLabels(filters, record.config.labels) || !filterTime(filters, record.createdMs)) continue;
    const { sizeBytes } = await parts.layers.usage(record.id);
    try {
      await removeContainer(parts, record.id);
    } catch (error) {
      // Started or removed by somebody else meanwhile.
      if (error instanceof TareError && (error.kind === 'Conflict' || error.kind === 'NotFound')) continue;
      throw error;
    }
    report.deleted.push(record.id);
    report.spaceReclaimedBytes += sizeBytes;
  }
  await parts.db.write((tx) => tx.event(pruneEvent('container', report.spaceReclaimedBytes)));
  return report;
}
