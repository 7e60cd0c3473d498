import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseMountTable } from './mount-table.ts';

/** Where this host's cgroup hierarchies are mounted. */
export interface CgroupLayout {
  /** `hybrid`: v1 controllers with a v2 tree beside them that has none. */
  mode: 'v1' | 'v2' | 'hybrid';
  /** v1 controller or `name=…` hierarchy → mount point. Controllers mounted together share one. */
  v1: Readonly<Record<string, string>>;
  /** Mount point of the v2 tree. */
  unified?: string;
  /** v1 controller → the path within its hierarchy that the mount shows as its top, `/` unless in a container. */
  roots: Readonly<Record<string, string>>;
}

/** Controllers known to cgroup v1; any other option of a v1 mount is not one. */
const v1Controllers = new Set([
  'blkio',
  'cpu',
  'cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'misc',
  'net_cls',
  'net_prio',
  'perf_event',
  'pids',
  'rdma',
]);

/**
 * Finds the hierarchies in a mountinfo table (proc_pid_mountinfo(5)). Of several mounts of one hierarchy the first
 * counts, as runtimes have it.
 */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const v1: Record<string, string> = {};
  const roots: Record<string, string> = {};
  let unified: string | undefined;
  for (const { type, root, path, superOptions } of parseMountTable(mountinfo)) {
    if (type === 'cgroup2') {
      unified ??= path;
      roots[''] ??= root;
    }
    if (type !== 'cgroup') continue;
    for (const option of superOptions) {
      if (!v1Controllers.has(option) && !option.startsWith('name=')) continue;
      v1[option] ??= path;
      roots[option] ??= root;
    }
  }
  const hasControllers = Object.keys(v1).some((name) => v1Controllers.has(name));
  const mode = hasControllers ? (unified === undefined ? 'v1' : 'hybrid') : 'v2';
  return { mode, v1, unified, roots };
}

let detected: CgroupLayout | undefined;

/** This host's layout as it is now: hierarchies may be mounted later than a process of ours starts. */
export function readCgroupLayout(): CgroupLayout {
  detected = parseCgroupLayout(readFileSync('/proc/self/mountinfo', 'utf8'));
  return detected;
}

/** This host's layout as last read. */
export function cgroupLayout(): CgroupLayout {
  return detected ?? readCgroupLayout();
}

/** Each hierarchy once: its mount point, and the controller to know it by (`''` for v2). */
export function hierarchies(layout: CgroupLayout): { controller: string; mountPoint: string }[] {
  const seen = new Set<string>();
  const result: { controller: string; mountPoint: string }[] = [];
  for (const [controller, mountPoint] of Object.entries(layout.v1)) {
    if (seen.has(mountPoint)) continue;
    seen.add(mountPoint);
    result.push({ controller, mountPoint });
  }
  if (layout.unified !== undefined) result.push({ controller: '', mountPoint: layout.unified });
  return result;
}

/**
 * The directory of a cgroup for one controller: the v1 hierarchy that has it, else the v2 tree.
 *
 * @param path absolute within the hierarchy, as in `cgroupsPath`: `/tare/ID`
 * @returns undefined: this host has no hierarchy for it
 */
export function cgroupDirectory(layout: CgroupLayout, controller: string, path: string): string | undefined {
  const mountPoint = layout.v1[controller] ?? layout.unified;
  return mountPoint === undefined ? undefined : join(mountPoint, path);
}

/**
 * Where a process is, in each hierarchy: /proc/PID/cgroup as controller → path; `''` is the v2 tree.
 * @returns undefined: there is no such process
 */
export function cgroupsOfProcess(pid: number | 'self'): Record<string, string> | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return undefined;
  }
  return parseProcessCgroups(text);
}

/** Reads the lines `ID:CONTROLLERS:PATH` of /proc/PID/cgroup (cgroups(7)). */
export function parseProcessCgroups(text: string): Record<string, string> {
  const result: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, controllers, ...rest] = line.split(':');
    if (controllers === undefined || rest.length === 0) continue;
    const path = rest.join(':');
    for (const controller of controllers.split(',')) result[controller] = path;
  }
  return result;
}

/** The directory of a process's cgroup for one controller. */
export function processCgroupDirectory(layout: CgroupLayout, pid: number, controller: string): string | undefined {
  const paths = cgroupsOfProcess(pid);
  if (paths === undefined) return undefined;
  const key = layout.v1[controller] === undefined ? '' : controller;
  const path = paths[key];
  if (path === undefined) return undefined;
  const root = layout.roots[key] ?? '/';
  const relative = root !== '/' && path.startsWith(`${root}/`) ? path.slice(root.length) : path;
  const directory = cgroupDirectory(layout, controller, relative);
  return directory !== undefined && existsSync(directory) ? directory : undefined;
}
