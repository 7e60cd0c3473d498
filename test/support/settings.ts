import {
  type ContainerConfig,
  type HostConfig,
  type HostFacts,
  plainContainer,
  plainHost,
  type SpecInput,
} from '../../src/runtime/index.ts';

/** A container's configuration when nothing is asked for but a command. */
export const containerConfig = (changes: Partial<ContainerConfig> = {}): ContainerConfig => ({
  ...plainContainer,
  hostname: 'web',
  cmd: ['/bin/true'],
  image: 'busybox',
  ...changes,
});

/** What a user asks of the host when nothing is asked for. */
export const hostConfig = (changes: Partial<HostConfig> = {}): HostConfig => ({
  ...plainHost,
  networkMode: 'bridge',
  ...changes,
});

const allOfCgroups: HostFacts['cgroups'] = {
  memory: { limit: true, swap: true, reservation: true, swappiness: true, oomKillDisable: true, kernelTcp: true },
  cpu: { shares: true, quota: true, realtime: false },
  cpuset: true,
  pids: true,
  blkio: { weight: true, weightDevice: true, readBps: true, writeBps: true, readIOps: true, writeIOps: true },
  hugetlb: true,
  devices: true,
};

const noneOfCgroups: HostFacts['cgroups'] = {
  memory: {
    limit: false,
    swap: false,
    reservation: false,
    swappiness: false,
    oomKillDisable: false,
    kernelTcp: false,
  },
  cpu: { shares: false, quota: false, realtime: false },
  cpuset: false,
  pids: false,
  blkio: {
    weight: false,
    weightDevice: false,
    readBps: false,
    writeBps: false,
    readIOps: false,
    writeIOps: false,
  },
  hugetlb: false,
  devices: false,
};

export const cgroupSupports = { all: allOfCgroups, none: noneOfCgroups };

/** A host of two CPUs with v1 cgroups, no AppArmor and no SELinux, that cannot raise limits. */
export const hostFacts = (changes: Partial<HostFacts> = {}): HostFacts => ({
  architecture: 'amd64',
  kernel: [6, 1],
  cpus: 2,
  onlineCpus: '0-1',
  onlineMemoryNodes: '0',
  memoryBytes: 4e9,
  cgroupLayout: {
    mode: 'hybrid',
    v1: { memory: '/sys/fs/cgroup/memory' },
    unified: '/sys/fs/cgroup/unified',
    roots: {},
  },
  cgroups: allOfCgroups,
  hugePageSizes: ['2MB'],
  capabilities: [
    'CAP_CHOWN',
    'CAP_DAC_OVERRIDE',
    'CAP_FOWNER',
    'CAP_FSETID',
    'CAP_KILL',
    'CAP_SETGID',
    'CAP_SETUID',
    'CAP_SETPCAP',
    'CAP_NET_BIND_SERVICE',
    'CAP_NET_ADMIN',
    'CAP_NET_RAW',
    'CAP_SYS_CHROOT',
    'CAP_SYS_ADMIN',
    'CAP_MKNOD',
    'CAP_AUDIT_WRITE',
    'CAP_SETFCAP',
  ],
  seccomp: {
    defaultProfile: {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }],
      syscalls: [
        { names: ['read', 'write', 'exit_group'], action: 'SCMP_ACT_ALLOW', args: [], includes: {}, excludes: {} },
        { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['mount'], action: 'SCMP_ACT_ERRNO', errnoRet: 1, excludes: { caps: ['CAP_SYS_ADMIN'] } },
      ],
    },
  },
  apparmor: undefined,
  selinux: undefined,
  hardLimits: { nofile: 20000, core: Number.POSITIVE_INFINITY },
  canRaiseLimits: false,
  oomScoreAdj: 0,
  ipv4Forwarding: true,
  presetSysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
  thermalPaths: [],
  initPath: '/usr/bin/tini',
  ...changes,
});

/** Everything `buildSpec` needs, for a container of which nothing is asked. */
export const specInput = (changes: Partial<SpecInput> = {}): SpecInput => ({
  id: 'c0ffee',
  config: containerConfig(),
  host: hostConfig(),
  user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
  rootfs: '/rootfs',
  mounts: [],
  shm: { kind: 'private', sizeBytes: 67108864 },
  generatedFiles: { hostname: '/gen/hostname', hosts: '/gen/hosts', resolvConf: '/gen/resolv.conf' },
  namespaces: { network: { path: '/netns/c0ffee' }, pid: 'new', ipc: 'new', uts: 'new', cgroup: 'host', user: 'host' },
  cgroupsPath: '/tare/c0ffee',
  runtimeKnowsRecursiveReadOnly: true,
  devices: { nodes: [], rules: [], blockNumbers: {} },
  facts: hostFacts(),
  ...changes,
});
