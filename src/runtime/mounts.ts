import { TareError } from '../errors/index.ts';
import type { MountEntry } from '../linux/index.ts';
import type { OciMount } from './oci-spec.ts';

/** A mount of the user's, resolved: its source exists on the host, its destination is a clean absolute path. */
export interface SpecMount {
  type: 'bind' | 'tmpfs';
  /** Host path of a bind; for a tmpfs anything. */
  source: string;
  destination: string;
  readOnly: boolean;
  /** '' is `rprivate`. */
  propagation?: string;
  /** Bind: what the mount below the source forbids (`ro`, `nosuid` …), which crun 1.8 would take away in the container. */
  restrictions?: readonly string[];
  /** Bind: the source is no folder, so nothing can be mounted below it. */
  isFile?: boolean;
  /** Bind: leave out what is mounted below the source. */
  nonRecursive?: boolean;
  /** Read-only bind: what is mounted below the source stays writable. */
  readOnlyNonRecursive?: boolean;
  /** Read-only bind: refuse rather than leave anything below the source writable. */
  readOnlyForceRecursive?: boolean;
  /** tmpfs: options as given (`size=64m`, `exec`). */
  options?: readonly string[];
}

/** Whether a runtime knows the mount option `rro`, by its program's name; others are not asked to try. */
export const knowsRecursiveReadOnly = (runtimePath: string): boolean => /(^|\/)(crun|runc)$/.test(runtimePath);

/** What /dev/shm is. */
export type SharedMemory =
  | { kind: 'private'; sizeBytes: number }
  /** The host's, or that of the container whose IPC namespace is joined. */
  | { kind: 'bind'; source: string }
  | { kind: 'none' };

/** The file systems every Linux container has (runtime-spec, config-linux.md, "Default Filesystems"). */
export function defaultMounts(shm: SharedMemory): OciMount[] {
  const mounts = [
    mount('/proc', 'proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
    mount('/sys', 'sysfs', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
    mount('/sys/fs/cgroup', 'cgroup', 'cgroup', ['ro', 'nosuid', 'noexec', 'nodev']),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
  ];
  if (shm.kind === 'private') {
    const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shm.sizeBytes}`];
    mounts.push(mount('/dev/shm', 'tmpfs', 'shm', options));
  }
  return mounts;
}

const mount = (destination: string, type: string, source: string, options: string[]): OciMount => ({
  destination,
  type,
  source,
  options,
});

/**
 * A user's mount as the runtime wants it.
 *
 * @param recursiveReadOnly whether runtime and kernel can make a whole tree read-only (`rro`)
 * @throws {TareError} InvalidArgument: options contradict each other; Unsupported: recursion was insisted on
 */
export function userMount(request: SpecMount, recursiveReadOnly: boolean): OciMount {
  if (request.type === 'tmpfs') {
    const options = ['noexec', 'nosuid', 'nodev', 'rprivate', ...(request.options ?? [])];
    if (request.readOnly) options.push('ro');
    return mount(request.destination, 'tmpfs', 'tmpfs', mergeTmpfsOptions(options));
  }
  const options = [request.nonRecursive ? 'bind' : 'rbind'];
  if (request.readOnly) options.push(readOnlyOption(request, recursiveReadOnly));
  for (const option of request.restrictions ?? []) {
    if (!(option === 'ro' && request.readOnly)) options.push(option);
  }
  const propagation = request.propagation || 'rprivate';
  // To crun 1.8 a recursive propagation makes the bind recursive; of a single mount both forms mean the same.
  options.push(request.nonRecursive ? propagation.replace(/^r/, '') : propagation);
  return mount(request.destination, 'bind', request.source, options);
}

function readOnlyOption(request: SpecMount, recursiveReadOnly: boolean): 'ro' | 'rro' {
  // crun 1.8 fails to open a file as the folder it expects for rro.
  if (request.isFile) return 'ro';
  if (request.readOnlyNonRecursive && request.readOnlyForceRecursive) {
    throw new TareError(
      'InvalidArgument',
      `mount ${request.destination}: mount options conflict: readonly-non-recursive && readonly-force-recursive`,
    );
  }
  if (request.readOnlyForceRecursive && !recursiveReadOnly) {
    throw new TareError(
      'Unsupported',
      `mount ${request.destination}: recursive read-only needs kernel 5.12 or later and a runtime that knows rro`,
    );
  }
  return recursiveReadOnly && !request.readOnlyNonRecursive ? 'rro' : 'ro';
}

/** Flags that exclude each other, one group a row; of each group the last one given counts. */
const flagGroups: readonly (readonly string[])[] = [
  ['ro', 'rw'],
  ['suid', 'nosuid'],
  ['dev', 'nodev'],
  ['exec', 'noexec'],
  ['sync', 'async'],
  ['dirsync'],
  ['mand', 'nomand'],
  ['atime', 'noatime'],
  ['diratime', 'nodiratime'],
  ['relatime', 'norelatime'],
  ['strictatime', 'nostrictatime'],
  ['defaults'],
  ['noswap'],
  ['shared', 'rshared', 'slave', 'rslave', 'private', 'rprivate', 'unbindable', 'runbindable'],
];

const flagGroupOf = new Map(flagGroups.flatMap((group) => group.map((flag) => [flag, group[0]!])));

/** Values of tmpfs(5) and the shape each must have. */
const tmpfsValues: Record<string, RegExp> = {
  size: /^\d+[kKmMgGtT%]?$/,
  nr_blocks: /^\d+[kKmMgG]?$/,
  nr_inodes: /^\d+[kKmMgG]?$/,
  mode: /^[0-7]{1,5}$/,
  uid: /^\d+$/,
  gid: /^\d+$/,
  mpol: /^[a-z0-9=:,-]+$/,
  huge: /^(always|never|within_size|advise)$/,
};

/**
 * The options of a tmpfs with contradictions settled: the later one counts.
 * @throws {TareError} InvalidArgument: tmpfs has no such option, or not with this value
 */
export function mergeTmpfsOptions(options: readonly string[]): string[] {
  const merged = new Map<string, string>();
  for (const option of options) {
    const at = option.indexOf('=');
    const name = at < 0 ? option : option.slice(0, at);
    const group = flagGroupOf.get(option);
    if (group === undefined && !(at >= 0 && tmpfsValues[name]?.test(option.slice(at + 1)))) {
      throw new TareError('InvalidArgument', `invalid tmpfs option ${JSON.stringify(option)}`);
    }
    const key = group ?? name;
    // At its last place, as mount(8) would see it.
    merged.delete(key);
    merged.set(key, option);
  }
  merged.delete('defaults');
  return [...merged.values()];
}

/** The propagation the root needs, so that shared and slave binds below it work; undefined: the runtime's default. */
export function rootfsPropagation(mounts: readonly SpecMount[]): string | undefined {
  const asked = new Set(mounts.map(({ propagation }) => propagation));
  if (asked.has('shared') || asked.has('rshared')) return 'shared';
  return asked.has('slave') || asked.has('rslave') ? 'rslave' : undefined;
}

/**
 * Checks that mounts which are to be shared with the host, or to follow it, lie on a mount that the host shares.
 *
 * @param readTable the host's mounts; asked for only when some mount propagates
 * @throws {TareError} InvalidArgument: nothing would ever propagate
 */
export function checkPropagation(mounts: readonly SpecMount[], readTable: () => readonly MountEntry[]): void {
  let table: readonly MountEntry[] | undefined;
  for (const { source, propagation = '' } of mounts) {
    const kind = propagation.replace(/^r/, '');
    if (kind !== 'shared' && kind !== 'slave') continue;
    table ??= readTable();
    const below = mountOf(source, table);
    const flags = below?.propagation ?? [];
    if (flags.some((flag) => flag.startsWith('shared:'))) continue;
    if (kind === 'slave' && flags.some((flag) => flag.startsWith('master:'))) continue;
    const want = kind === 'shared' ? 'a shared mount' : 'a shared or slave mount';
    throw new TareError(
      'InvalidArgument',
      `path ${source} is mounted on ${below?.path ?? '/'} but it is not ${want}: run mount --make-rshared ${below?.path ?? '/'} first`,
    );
  }
}

/** The mount that a path lies on: the deepest, and of several at one place the last. */
function mountOf(path: string, table: readonly MountEntry[]): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const entry of table) {
    const isAbove = entry.path === '/' || path === entry.path || path.startsWith(`${entry.path}/`);
    if (isAbove && entry.path.length >= (found?.path.length ?? 0)) found = entry;
  }
  return found;
}

/** Own kinds of mounts that a read-only root leaves writable. */
const writableUnderReadOnlyRoot = new Set(['/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue']);

/** Default mounts with what the user mounts left out, and adjusted to a privileged container or a read-only root. */
export function adjustDefaults(
  mounts: readonly OciMount[],
  userDestinations: ReadonlySet<string>,
  how: { privileged: boolean; writableCgroups: boolean; readOnlyRoot: boolean },
): OciMount[] {
  return mounts
    .filter(({ destination }) => !userDestinations.has(destination))
    .map((entry) => {
      let { options } = entry;
      if ((how.privileged && entry.type === 'sysfs') || (how.writableCgroups && entry.type === 'cgroup')) {
        options = options.filter((option) => option !== 'ro');
      }
      if (how.readOnlyRoot && !writableUnderReadOnlyRoot.has(entry.destination) && !options.includes('ro')) {
        options = [...options, 'ro'];
      }
      return { ...entry, options };
    });
}
