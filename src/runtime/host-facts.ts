import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { TareError } from '../errors/index.ts';
import { type CgroupLayout, type CgroupSupport, cgroupLayout, cgroupSupport } from '../linux/index.ts';
import { capabilitiesOfMask } from './capabilities.ts';
import { lastMappedId, mapsEveryId } from './mapped-ids.ts';
import { parseSeccompProfile, type SeccompProfile } from './seccomp.ts';

/**
 * What decides, besides a user's wishes, how a container can run on this host. Plain to look at: tests write one by hand.
 */
export interface HostFacts {
  /** Go's name: amd64, arm64, … */
  architecture: string;
  kernel: readonly [major: number, minor: number];
  /** CPUs that this process may use. */
  cpus: number;
  /** Lists as the kernel writes them: `0-3,7`. */
  onlineCpus: string;
  onlineMemoryNodes: string;
  memoryBytes: number;
  cgroupLayout: CgroupLayout;
  cgroups: CgroupSupport;
  /** Huge page sizes as cgroup files spell them: `2MB`, `1GB`. */
  hugePageSizes: readonly string[];
  /** Those in our own bounding set. */
  capabilities: readonly string[];
  /** undefined: the kernel has no seccomp filters. */
  seccomp: { defaultProfile: SeccompProfile } | undefined;
  apparmor: { defaultProfile: string | undefined } | undefined;
  selinux: { processLabel: string; mountLabel: string } | undefined;
  /** Our own hard limits by docker's ulimit name (`nofile`); Infinity: unlimited. */
  hardLimits: Readonly<Record<string, number>>;
  /** Whether hard limits can be raised and the OOM score lowered (CAP_SYS_RESOURCE). */
  canRaiseLimits: boolean;
  oomScoreAdj: number;
  ipv4Forwarding: boolean;
  /** Sysctls under /proc/sys that a network namespace of this kernel has, of those that the engine presets. */
  presetSysctls: Readonly<Record<string, string>>;
  /** /sys paths of thermal counters, which tell other tenants' load. */
  thermalPaths: readonly string[];
  /** Program for `--init`; undefined: none is installed. */
  initPath: string | undefined;
}

const goArchitecture: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  riscv64: 'riscv64',
  s390x: 's390x',
  ppc64: 'ppc64le',
};

/** Row of /proc/self/limits → ulimit name. */
const limitRows: Record<string, string> = {
  'Max cpu time': 'cpu',
  'Max file size': 'fsize',
  'Max data size': 'data',
  'Max stack size': 'stack',
  'Max core file size': 'core',
  'Max resident set': 'rss',
  'Max processes': 'nproc',
  'Max open files': 'nofile',
  'Max locked memory': 'memlock',
  'Max file locks': 'locks',
  'Max pending signals': 'sigpending',
  'Max msgqueue size': 'msgqueue',
  'Max nice priority': 'nice',
  'Max realtime priority': 'rtprio',
  'Max realtime timeout': 'rttime',
};

const initNames = ['docker-init', 'tini', 'tini-static', 'catatonit'];
const programFolders = [
  '/usr/libexec/docker',
  '/usr/libexec/podman',
  '/usr/local/bin',
  '/usr/bin',
  '/usr/sbin',
  '/bin',
];

const seccompProfilePaths = ['/etc/containers/seccomp.json', '/usr/share/containers/seccomp.json'];

let facts: HostFacts | undefined;

/**
 * This host's facts, gathered once a process and only as they are asked for: the object's members are read lazily, so a
 * start that needs no AppArmor profile list never reads it.
 */
export function readHostFacts(): HostFacts {
  facts ??= lazily({
    architecture: () => goArchitecture[process.arch] ?? process.arch,
    kernel: kernelVersion,
    cpus: availableParallelism,
    onlineCpus: () => text('/sys/devices/system/cpu/online') ?? `0-${availableParallelism() - 1}`,
    onlineMemoryNodes: () => text('/sys/devices/system/node/online') ?? '0',
    memoryBytes: totalmem,
    cgroupLayout,
    cgroups: () => cgroupSupport(),
    hugePageSizes,
    capabilities: () => capabilitiesOfMask(statusField('CapBnd') ?? '0'),
    seccomp: readSeccomp,
    apparmor: readAppArmor,
    selinux: readSELinux,
    hardLimits,
    // The kernel asks for the capability in the machine's first user namespace.
    canRaiseLimits: () =>
      capabilitiesOfMask(statusField('CapEff') ?? '0').includes('CAP_SYS_RESOURCE') &&
      mapsEveryId(text('/proc/self/uid_map') ?? ''),
    oomScoreAdj: () => Number(text('/proc/self/oom_score_adj') ?? 0),
    ipv4Forwarding: () => text('/proc/sys/net/ipv4/ip_forward') === '1',
    presetSysctls,
    thermalPaths,
    initPath: () => programFolders.flatMap((folder) => initNames.map((name) => `${folder}/${name}`)).find(existsSync),
  });
  return facts;
}

/** An object whose members are computed at first use and then stay. */
function lazily<T extends object>(members: { [Key in keyof T]: () => T[Key] }): T {
  const target = {} as T;
  for (const key of Object.keys(members) as (keyof T)[]) {
    Object.defineProperty(target, key, {
      enumerable: true,
      configurable: true,
      get() {
        const value = members[key]();
        Object.defineProperty(target, key, { enumerable: true, value });
        return value;
      },
    });
  }
  return target;
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function statusField(name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(text('/proc/self/status') ?? '')?.[1];
}

function kernelVersion(): [number, number] {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release()) ?? [];
  return [Number(major), Number(minor)];
}

function hugePageSizes(): string[] {
  let names: string[];
  try {
    names = readdirSync('/sys/kernel/mm/hugepages');
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kib === 0) return [];
    if (kib >= 1024 * 1024) return [`${kib / 1024 / 1024}GB`];
    return [kib >= 1024 ? `${kib / 1024}MB` : `${kib}KB`];
  });
}

function readSeccomp(): HostFacts['seccomp'] {
  // "Seccomp:" in /proc/PID/status is there whenever the kernel was built with filters.
  if (statusField('Seccomp') === undefined) return undefined;
  const path = seccompProfilePaths.find(existsSync);
  if (path === undefined) {
    throw new TareError(
      'Unavailable',
      `no default seccomp profile in ${seccompProfilePaths.join(' or ')}: install golang-github-containers-common, or run with --security-opt seccomp=unconfined`,
    );
  }
  return { defaultProfile: parseSeccompProfile(readFileSync(path, 'utf8')) };
}

/** Profiles that are made for containers, by whom they may have been loaded. */
const containerProfile = /^((?:docker|containers|tare)-default\S*) \(/m;

function readAppArmor(): HostFacts['apparmor'] {
  if (!text('/sys/module/apparmor/parameters/enabled')?.startsWith('Y')) return undefined;
  const loaded = text('/sys/kernel/security/apparmor/profiles') ?? '';
  return { defaultProfile: containerProfile.exec(loaded)?.[1] };
}

function readSELinux(): HostFacts['selinux'] {
  if (!existsSync('/sys/fs/selinux/enforce')) return undefined;
  const policy = /^SELINUXTYPE=(\S+)/m.exec(text('/etc/selinux/config') ?? '')?.[1] ?? 'targeted';
  const contexts = text(`/etc/selinux/${policy}/contexts/lxc_contexts`);
  const value = (key: string) => new RegExp(`^${key}\\s*=\\s*"([^"]+)"`, 'm').exec(contexts ?? '')?.[1];
  return {
    processLabel: value('process') ?? 'system_u:system_r:container_t:s0',
    mountLabel: value('file') ?? 'system_u:object_r:container_file_t:s0',
  };
}

function hardLimits(): Record<string, number> {
  const result: Record<string, number> = {};
  for (const line of (text('/proc/self/limits') ?? '').split('\n')) {
    const match = /^(Max [a-z ]+?)\s{2,}(\S+)\s+(\S+)/.exec(line);
    const name = limitRows[match?.[1] ?? ''];
    if (name !== undefined) result[name] = match![3] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(match![3]);
  }
  return result;
}

function presetSysctls(): Record<string, string> {
  // Only groups that the user namespace has can be let ping, and only those that the kernel takes for a gid_t (ping.c: GID_T_MAX).
  const lastGroup = Math.min(lastMappedId(text('/proc/self/gid_map') ?? '0 0 4294967295'), 2 ** 31 - 1);
  const wanted: Record<string, string> = {
    // So that ping works, and ports below 1024 can be bound, without capabilities. Only the container's own network
    // namespace is touched.
    'net.ipv4.ping_group_range': `0 ${lastGroup}`,
    'net.ipv4.ip_unprivileged_port_start': '0',
  };
  return Object.fromEntries(
    Object.entries(wanted).filter(([name]) => existsSync(`/proc/sys/${name.replaceAll('.', '/')}`)),
  );
}

function thermalPaths(): string[] {
  try {
    return readdirSync('/sys/devices/system/cpu')
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => `/sys/devices/system/cpu/${name}/thermal_throttle`)
      .filter((path) => existsSync(path));
  } catch {
    return [];
  }
}
