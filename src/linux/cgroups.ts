import { readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import { type CgroupLayout, cgroupDirectory, cgroupLayout, hierarchies, readCgroupLayout } from './cgroup-layout.ts';

/** A cgroup file's text, or undefined where the file or its cgroup is not there. */
function read(directory: string | undefined, file: string): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return readFileSync(join(directory, file), 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

// ENODEV: the cgroup was removed while its file was open. EOPNOTSUPP: the kernel has the file but not its subject.
const goneCodes = new Set(['ENOENT', 'ENODEV', 'ENOTDIR', 'EOPNOTSUPP']);
const isGone = (error: unknown) => goneCodes.has((error as NodeJS.ErrnoException).code ?? '');

/** One number out of lines `NAME VALUE`. */
function flatKey(text: string | undefined, key: string): number | undefined {
  const match = text === undefined ? null : new RegExp(`^${key} (\\d+)$`, 'm').exec(text);
  return match === null ? undefined : Number(match[1]);
}

/**
 * How many processes of a cgroup and those below it the kernel has killed for want of memory, as long as it exists.
 * @returns undefined: the cgroup is gone, or the kernel does not count
 */
export function oomKills(path: string, layout = cgroupLayout()): number | undefined {
  const directory = cgroupDirectory(layout, 'memory', path);
  if (layout.v1['memory'] === undefined) return flatKey(read(directory, 'memory.events'), 'oom_kill');
  return directory === undefined ? undefined : v1OomKills(directory);
}

/** v1 counts a kill only in the victim's own cgroup. */
function v1OomKills(directory: string): number | undefined {
  const own = flatKey(read(directory, 'memory.oom_control'), 'oom_kill');
  if (own === undefined) return undefined;
  return children(directory).reduce((sum, child) => sum + (v1OomKills(join(directory, child)) ?? 0), own);
}

/** Pids in a cgroup and those below it, ascending; empty when it is gone. */
export function listPids(path: string, layout = cgroupLayout()): number[] {
  // A process leaves no hierarchy by itself, so any will do; pids and memory are those that runtimes always set up.
  const name = ['pids', 'memory', 'cpu', 'freezer', 'name=systemd'].find((key) => layout.v1[key] !== undefined) ?? '';
  const directory = cgroupDirectory(layout, name, path);
  const found = new Set<number>();
  if (directory !== undefined) collectPids(directory, found);
  return [...found].sort((a, b) => a - b);
}

function collectPids(directory: string, found: Set<number>): void {
  for (const line of (read(directory, 'cgroup.procs') ?? '').split('\n')) if (line !== '') found.add(Number(line));
  for (const child of children(directory)) collectPids(join(directory, child), found);
}

function children(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Whether every process of a cgroup is stopped by the freezer; false also when it is gone. */
export function isFrozen(path: string, layout = cgroupLayout()): boolean {
  if (layout.v1['freezer'] !== undefined) {
    return read(cgroupDirectory(layout, 'freezer', path), 'freezer.state')?.trim() === 'FROZEN';
  }
  return flatKey(read(cgroupDirectory(layout, '', path), 'cgroup.events'), 'frozen') === 1;
}

/**
 * Starts to stop, or to let go on, every process of a cgroup. The kernel takes its time: `isFrozen` says when it is done.
 * @throws the cgroup is gone
 */
export function setFrozen(path: string, frozen: boolean, layout = cgroupLayout()): void {
  const directory = cgroupDirectory(layout, 'freezer', path);
  if (layout.v1['freezer'] !== undefined) {
    writeFileSync(join(directory!, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED', { flag: 'w' });
  } else {
    writeFileSync(join(directory!, 'cgroup.freeze'), frozen ? '1' : '0', { flag: 'w' });
  }
}

/** Names of the cgroups directly below `parent` in any hierarchy, sorted. */
export function listCgroups(parent: string, layout = readCgroupLayout()): string[] {
  const names = new Set<string>();
  for (const { mountPoint } of hierarchies(layout)) {
    for (const name of children(join(mountPoint, parent))) names.add(name);
  }
  return [...names].sort();
}

/** Whether a cgroup is there in any hierarchy. */
export function cgroupExists(path: string, layout = readCgroupLayout()): boolean {
  return hierarchies(layout).some(
    ({ mountPoint }) => statSync(join(mountPoint, path), { throwIfNoEntry: false }) !== undefined,
  );
}

/**
 * Removes a cgroup and those below it from every hierarchy. Kills nothing.
 *
 * @returns false: some part has processes and stays. Repeating is safe
 */
export function removeCgroup(path: string, layout = readCgroupLayout()): boolean {
  if (!/^\/[^/]/.test(path) || path.split('/').includes('..')) {
    throw new RangeError(`${JSON.stringify(path)} is not the path of a cgroup below the top`);
  }
  let removed = true;
  for (const { mountPoint } of hierarchies(layout)) removed = removeTree(join(mountPoint, path)) && removed;
  return removed;
}

/** How long killed processes may take to end. */
const END_MS = 5_000;

/**
 * Kills what is in a cgroup and in those below it, and removes them.
 *
 * @throws {TareError} Unavailable: something does not end. Repeating is safe
 */
export async function endCgroup(path: string): Promise<void> {
  for (const until = performance.now() + END_MS; ; await sleep(2)) {
    for (const pid of listPids(path)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    if (removeCgroup(path)) return;
    if (performance.now() > until) throw new TareError('Unavailable', `cgroup ${path}: its processes do not end`);
  }
}

function removeTree(directory: string): boolean {
  let empty = true;
  for (const child of children(directory)) empty = removeTree(join(directory, child)) && empty;
  if (!empty) return false;
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    if (isGone(error)) return true;
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

/** What the kernel lets a cgroup limit on this host. */
export interface CgroupSupport {
  memory: {
    limit: boolean;
    swap: boolean;
    reservation: boolean;
    swappiness: boolean;
    oomKillDisable: boolean;
    kernelTcp: boolean;
  };
  cpu: { shares: boolean; quota: boolean; realtime: boolean };
  cpuset: boolean;
  pids: boolean;
  blkio: {
    weight: boolean;
    weightDevice: boolean;
    readBps: boolean;
    writeBps: boolean;
    readIOps: boolean;
    writeIOps: boolean;
  };
  hugetlb: boolean;
  devices: boolean;
}

/** Finds out from the files of the top cgroups (v1), or from the list of controllers (v2). */
export function cgroupSupport(layout: CgroupLayout = cgroupLayout()): CgroupSupport {
  if (layout.mode === 'v2') return v2Support(layout);
  const files = (controller: string) => {
    const mountPoint = layout.v1[controller];
    return new Set(mountPoint === undefined ? [] : namesIn(mountPoint));
  };
  const memory = files('memory');
  const cpu = files('cpu');
  const blkio = files('blkio');
  return {
    memory: {
      limit: memory.has('memory.limit_in_bytes'),
      swap: memory.has('memory.memsw.limit_in_bytes'),
      reservation: memory.has('memory.soft_limit_in_bytes'),
      swappiness: memory.has('memory.swappiness'),
      oomKillDisable: memory.has('memory.oom_control'),
      kernelTcp: memory.has('memory.kmem.tcp.limit_in_bytes'),
    },
    cpu: {
      shares: cpu.has('cpu.shares'),
      quota: cpu.has('cpu.cfs_quota_us'),
      realtime: cpu.has('cpu.rt_period_us'),
    },
    cpuset: layout.v1['cpuset'] !== undefined,
    pids: layout.v1['pids'] !== undefined,
    blkio: {
      weight: blkio.has('blkio.weight') || blkio.has('blkio.bfq.weight'),
      weightDevice: blkio.has('blkio.weight_device') || blkio.has('blkio.bfq.weight_device'),
      readBps: blkio.has('blkio.throttle.read_bps_device'),
      writeBps: blkio.has('blkio.throttle.write_bps_device'),
      readIOps: blkio.has('blkio.throttle.read_iops_device'),
      writeIOps: blkio.has('blkio.throttle.write_iops_device'),
    },
    hugetlb: layout.v1['hugetlb'] !== undefined,
    devices: layout.v1['devices'] !== undefined,
  };
}

function v2Support(layout: CgroupLayout): CgroupSupport {
  const controllers = new Set(read(layout.unified, 'cgroup.controllers')?.trim().split(' '));
  const io = controllers.has('io');
  const memory = controllers.has('memory');
  // The files of limits are not in the top cgroup; a child, if there is one, tells whether swap is accounted.
  const swap = memory && statSync('/proc/swaps', { throwIfNoEntry: false }) !== undefined;
  return {
    memory: {
      ...{ limit: memory, swap, reservation: memory },
      ...{ swappiness: false, oomKillDisable: false, kernelTcp: false },
    },
    cpu: { shares: controllers.has('cpu'), quota: controllers.has('cpu'), realtime: false },
    cpuset: controllers.has('cpuset'),
    pids: controllers.has('pids'),
    blkio: { weight: io, weightDevice: io, readBps: io, writeBps: io, readIOps: io, writeIOps: io },
    hugetlb: controllers.has('hugetlb'),
    devices: true,
  };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
