import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CgroupLayout, parseProcessCgroups, readCgroupLayout } from './cgroup-layout.ts';
import { SyscallError } from './ffi.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, mount } from './mount.ts';

/** Where crun looks for a hybrid host's v2 tree; elsewhere it does not see one. */
const UNIFIED = '/sys/fs/cgroup/unified';

/** v1 names of v2 controllers, where they differ. */
const v1Names: Readonly<Record<string, string[]>> = { io: ['blkio'], cpu: ['cpu', 'cpuacct'] };

/**
 * The v1 hierarchies that a hybrid host lacks: the controllers that no v1 mount has taken, so that the v2 tree holds them,
 * and those whose v1 hierarchy is mounted elsewhere alone, in another mount namespace. A runtime that is told of these by
 * /proc would take our empty folder for the hierarchy.
 *
 * @param controllers text of the v2 tree's `cgroup.controllers`
 * @param processCgroups text of /proc/self/cgroup
 * @returns v1 controllers, to be mounted each on a folder of its own
 */
export function missingHierarchies(layout: CgroupLayout, controllers: string, processCgroups: string): string[] {
  if (layout.mode !== 'hybrid' || layout.unified !== UNIFIED) return [];
  const unclaimed = controllers
    .trim()
    .split(/\s+/)
    .flatMap((name) => v1Names[name] ?? [name]);
  const elsewhere = Object.keys(parseProcessCgroups(processCgroups)).filter((name) => !name.startsWith('name='));
  return [...new Set([...unclaimed, ...elsewhere])].filter((name) => name !== '' && layout.v1[name] === undefined);
}

/**
 * Mounts them beside the others, as cgroupfs-mount(8) does at boot: crun refuses a hybrid host whose v2 tree has a
 * controller ("cgroups in hybrid mode not supported"). A controller that is in use in the v2 tree, or a /sys that we may not
 * change, is left alone; the runtime then says why it can't work. Repeating is safe.
 */
export function completeHybridCgroups(): void {
  const layout = readCgroupLayout();
  if (layout.mode !== 'hybrid' || layout.unified !== UNIFIED) return;
  const missing = missingHierarchies(
    layout,
    readFileSync(join(UNIFIED, 'cgroup.controllers'), 'latin1'),
    readFileSync('/proc/self/cgroup', 'latin1'),
  );
  for (const controller of missing) mountHierarchy(join(dirname(UNIFIED), controller), controller);
  if (missing.length > 0) readCgroupLayout();
}

function mountHierarchy(path: string, controller: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
  } catch {
    return; // read-only
  }
  try {
    mount('cgroup', path, 'cgroup', MS_NOSUID | MS_NODEV | MS_NOEXEC, controller);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    rmdirSync(path);
  }
}
