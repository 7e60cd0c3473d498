import { describe, expect, test } from 'vitest';
import { kindOf } from '../../src/errors/index.ts';
import {
  applyHostDefaults,
  type ContainerConfig,
  type HostConfig,
  type HostFacts,
  type Resources,
  toRuntimeResources,
  validateSettings,
} from '../../src/runtime/index.ts';
import { cgroupSupports, containerConfig, hostConfig, hostFacts } from '../support/settings.ts';

const refusedHost: [Partial<HostConfig>, string][] = [
  [{ memoryBytes: 1 }, 'Minimum memory limit allowed is 6MB'],
  [{ memoryBytes: -5 }, 'Minimum memory limit allowed is 6MB'],
  [{ memorySwapBytes: 1e8 }, 'You should always set the Memory limit when using Memoryswap limit, see usage'],
  [
    { memoryBytes: 1e8, memorySwapBytes: 5e7 },
    'Minimum memoryswap limit should be larger than memory limit, see usage',
  ],
  [{ memorySwapBytes: -2 }, 'Invalid memoryswap limit -2'],
  [{ memorySwappiness: 101 }, 'Invalid value: 101, valid memory swappiness range is 0-100'],
  [{ memoryReservationBytes: 1000 }, 'Minimum memory reservation allowed is 6MB'],
  [
    { memoryBytes: 1e7, memoryReservationBytes: 1e8 },
    'Minimum memory limit can not be less than memory reservation limit, see usage',
  ],
  [{ nanoCpus: 3e9 }, 'Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
  [{ nanoCpus: -1 }, 'Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
  [{ nanoCpus: 1000 }, 'Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
  [{ nanoCpus: 1e9, cpuPeriod: 1000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
  [{ nanoCpus: 1e9, cpuQuota: 1000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
  [{ cpuPeriod: 10 }, 'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)'],
  [{ cpuQuota: 10 }, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
  [{ cpuShares: -1 }, 'Invalid CPU shares (-1)'],
  [{ cpuRealtimeRuntime: 5 }, 'Your kernel does not support CPU real-time scheduler'],
  [{ cpusetCpus: '0-7' }, 'Requested CPUs are not available - requested 0-7, available: 0-1'],
  [{ cpusetCpus: 'a' }, 'Invalid value a for cpuset cpus'],
  [{ cpusetCpus: '0-99999999' }, 'Invalid value 0-99999999 for cpuset cpus'],
  [{ cpusetMems: '1' }, 'Requested memory nodes are not available - requested 1, available: 0'],
  [{ blkioWeight: 5 }, 'Range of blkio weight is from 10 to 1000'],
  [{ blkioWeightDevice: [{ path: '/dev/vda', weight: 2000 }] }, 'Range of blkio weight is from 10 to 1000'],
  [{ blkioDeviceReadBps: [{ path: 'vda', rate: 1 }] }, 'bad format for device path: vda'],
  [{ blkioDeviceReadBps: [{ path: '/dev/vda', rate: -1 }] }, 'invalid rate for device: /dev/vda'],
  [{ hugetlbLimits: [{ pageSize: '3MB', limitBytes: 1 }] }, 'invalid huge page size "3MB": this host has 2MB'],
  [{ ulimits: [{ name: 'files', soft: 1, hard: 1 }] }, 'invalid ulimit type: files'],
  [{ ulimits: [{ name: 'nofile', soft: 10, hard: 5 }] }, 'ulimit soft limit must be less than or equal to hard limit'],
  [{ ulimits: [{ name: 'nofile', soft: -1, hard: 5 }] }, 'ulimit soft limit must be less than or equal to hard limit'],
  [{ ulimits: [{ name: 'nofile', soft: 10, hard: 30000 }] }, "is above this host's 20000, which cannot be raised"],
  [{ ulimits: [{ name: 'nofile', soft: 10, hard: -1 }] }, "is above this host's 20000, which cannot be raised"],
  [{ oomScoreAdj: 1001 }, 'Invalid value 1001, range for oom score adj is [-1000, 1000]'],
  [{ oomScoreAdj: -1 }, 'this host lets no process go below 0 without CAP_SYS_RESOURCE'],
  [{ capAdd: ['SYS_FLY'] }, 'invalid CapAdd: unknown capability: "CAP_SYS_FLY"'],
  [{ capDrop: ['x'] }, 'invalid CapDrop: unknown capability: "CAP_X"'],
  [{ capAdd: ['SYS_RESOURCE'] }, 'not available in the current environment: "CAP_SYS_RESOURCE"'],
  [{ sysctls: { 'kernel.panic': '1' } }, "sysctl 'kernel.panic' is not allowed"],
  [{ sysctls: { 'net.ipv4.ip_forward': '1' }, networkMode: 'host' }, 'not allowed in host network namespace'],
  [{ sysctls: { 'net/ipv4/ip_forward': '1' }, networkMode: 'host' }, 'not allowed in host network namespace'],
  [{ sysctls: { 'kernel.shmmax': '1' }, ipcMode: 'host' }, 'not allowed in host ipc namespace'],
  [{ sysctls: { 'net.../../kernel.panic': '1' } }, 'is not allowed'],
  [{ sysctls: { 'net.core.somaxconn': '1\n2' } }, 'more than one line'],
  [{ deviceCgroupRules: ['c 1:2'] }, "invalid device cgroup rule format: 'c 1:2'"],
  [{ tmpfs: { '/': '' } }, "destination can't be '/'"],
  [{ tmpfs: { '/run/..': '', relative: '' } }, 'mount path must be absolute'],
  [{ tmpfs: { '/run': 'size=big' } }, 'invalid tmpfs option "size=big"'],
  [{ tmpfs: { '/run': 'remount' } }, 'invalid tmpfs option "remount"'],
  [{ cgroupParent: '/tare/../other' }, 'invalid cgroup parent "/tare/../other"'],
  [{ cgroupParent: '/' }, 'invalid cgroup parent "/"'],
  [{ annotations: { '': 'x' } }, 'the empty string is not permitted as an annotation key'],
  [{ shmSizeBytes: -1 }, 'SHM size can not be less than 0'],
  [{ ipcMode: 'public' }, 'invalid IPC mode: public'],
  [{ pidMode: 'container:' }, 'invalid PID mode: container:'],
  [{ utsMode: 'container:x' }, 'invalid UTS mode: container:x'],
  [{ usernsMode: 'keep-id' }, 'invalid userns mode: keep-id'],
  [{ cgroupnsMode: 'mine' }, 'invalid cgroup namespace mode: mine'],
  [{ isolation: 'hyperv' }, "invalid isolation 'hyperv' on linux"],
  [{ networkMode: 'container:' }, 'invalid container format container:<name|id>'],
  [{ networkMode: 'container:x', dns: ['1.1.1.1'] }, 'conflicting options: dns and the network mode'],
  [
    { networkMode: 'container:x', portBindings: { '80/tcp': [] } },
    'conflicting options: port publishing and the container type network mode',
  ],
  [{ networkMode: 'host', links: ['a'] }, "conflicting options: host type networking can't be used with links"],
  [{ securityOpt: ['nonsense'] }, 'invalid --security-opt 1: "nonsense"'],
  [{ securityOpt: ['a=b'] }, 'invalid --security-opt 2: "a=b"'],
  [{ securityOpt: ['no-new-privileges=maybe'] }, 'invalid --security-opt 2: "no-new-privileges=maybe"'],
  [{ securityOpt: ['systempaths=open'] }, 'invalid --security-opt 2'],
  [{ securityOpt: ['label=colour:red'] }, 'bad label option'],
  [{ securityOpt: ['seccomp=/etc/profile.json'] }, 'Decoding seccomp profile failed'],
  [{ securityOpt: ['seccomp={"defaultAction":"SCMP_ACT_FLY"}'] }, 'unknown defaultAction "SCMP_ACT_FLY"'],
];

const refusedConfig: [Partial<ContainerConfig>, string][] = [
  [{ cmd: null }, 'no command specified'],
  [{ workingDir: 'srv' }, "the working directory 'srv' is invalid, it needs to be an absolute path"],
  [{ env: ['=x'] }, 'invalid environment variable: =x'],
  [{ env: [''] }, 'invalid environment variable: '],
  [{ cmd: ['a\0b'] }, 'cannot contain a NUL character'],
  [{ hostname: 'x'.repeat(65) }, 'Linux allows at most 64 characters'],
];

describe('validateSettings refuses', () => {
  test.each(refusedHost)('%j', (changes, message) => {
    let thrown: unknown;
    try {
      validateSettings(containerConfig(), hostConfig(changes), hostFacts());
    } catch (error) {
      thrown = error;
    }
    expect(String(thrown)).toContain(message);
    expect(kindOf(thrown)).toBe('InvalidArgument');
  });

  test.each(refusedConfig)('%j', (changes, message) => {
    expect(() => validateSettings(containerConfig(changes), hostConfig(), hostFacts())).toThrow(message);
  });

  test.each([
    ['intervalNs', 'Interval'],
    ['timeoutNs', 'Timeout'],
    ['startPeriodNs', 'StartPeriod'],
    ['startIntervalNs', 'StartInterval'],
  ])('a health check with %s below a millisecond', (key, name) => {
    const healthcheck = {
      test: ['CMD', 'true'],
      intervalNs: 0,
      timeoutNs: 0,
      startPeriodNs: 0,
      startIntervalNs: 0,
      retries: 0,
    };
    const config = containerConfig({ healthcheck: { ...healthcheck, [key]: 5 } });
    expect(() => validateSettings(config, hostConfig(), hostFacts())).toThrow(`${name} in Healthcheck cannot be less`);
  });

  test('quotas, which no storage driver of ours has', () => {
    const host = hostConfig({ storageOpt: { size: '10G' } });
    expect(() => validateSettings(containerConfig(), host, hostFacts())).toThrow(
      "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    );
  });

  test('--init on a host without an init program', () => {
    const facts = hostFacts({ initPath: undefined });
    expect(() => validateSettings(containerConfig(), hostConfig({ init: true }), facts)).toThrow('install tini');
  });
});

describe('validateSettings accepts', () => {
  const accepted: Partial<HostConfig>[] = [
    {},
    { nanoCpus: 2e9, memoryBytes: 6291456, memorySwapBytes: -1, pidsLimit: -1 },
    { nanoCpus: 1e7 },
    { cpuQuota: -1 },
    { cpusetCpus: '0,1', cpusetMems: '0' },
    { memorySwappiness: -1 },
    { memorySwappiness: 0 },
    {
      ulimits: [
        { name: 'nofile', soft: 20000, hard: 20000 },
        { name: 'core', soft: -1, hard: -1 },
      ],
    },
    { oomScoreAdj: 1000 },
    { capAdd: ['ALL'], capDrop: ['cap_chown'] },
    {
      sysctls: {
        'net.ipv4.conf.all.forwarding': '1',
        'fs.mqueue.msg_max': '5',
        'net/ipv4/conf/eth0.1/forwarding': '1',
      },
    },
    { tmpfs: { '/run': 'size=50%,mode=1777,exec,nr_inodes=1k', '/tmp': '' } },
    { securityOpt: ['no-new-privileges:true', 'label=disable', 'apparmor=unconfined', 'seccomp=unconfined'] },
    { ipcMode: 'container:x', pidMode: 'container:x', networkMode: 'container:x' },
    { hugetlbLimits: [{ pageSize: '2MB', limitBytes: 0 }] },
  ];
  test.each(accepted)('%j', (changes) => {
    expect(validateSettings(containerConfig(), hostConfig(changes), hostFacts())).toEqual([]);
  });

  test('limits above ours where we can raise them', () => {
    const host = hostConfig({ ulimits: [{ name: 'nofile', soft: 1, hard: 1e6 }], oomScoreAdj: -900 });
    expect(validateSettings(containerConfig(), host, hostFacts({ canRaiseLimits: true }))).toEqual([]);
  });
});

describe('what the host cannot do is warned of and left out', () => {
  const { memory } = cgroupSupports.all;
  const without = (cgroups: HostFacts['cgroups']) => hostFacts({ cgroups });
  const cases: [Partial<HostConfig>, HostFacts, string[], Partial<HostConfig>][] = [
    [
      { memoryBytes: 1e8 },
      without({ ...cgroupSupports.all, memory: { ...memory, swap: false } }),
      [
        'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
      ],
      { memoryBytes: 1e8, memorySwapBytes: -1 },
    ],
    [
      { memoryBytes: 1e8, cpuShares: 10, cpuQuota: 5000, cpusetCpus: '0', pidsLimit: 5, memorySwappiness: 0 },
      without(cgroupSupports.none),
      [
        'Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.',
        'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
        'Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.',
        'Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.',
        'Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. CPU period and quota discarded.',
        'Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.',
      ],
      {
        memoryBytes: 0,
        memorySwapBytes: 0,
        cpuShares: 0,
        cpuQuota: 0,
        cpusetCpus: '',
        pidsLimit: 0,
        memorySwappiness: null,
      },
    ],
    [
      { blkioWeight: 100, blkioDeviceWriteIOps: [{ path: '/dev/vda', rate: 5 }] },
      without(cgroupSupports.none),
      [
        'Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.',
        'Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.',
      ],
      { blkioWeight: 0, blkioDeviceWriteIOps: [] },
    ],
    [
      { kernelMemoryTcpBytes: 1e7 },
      without(cgroupSupports.none),
      [
        'Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.',
      ],
      { kernelMemoryTcpBytes: 0 },
    ],
    [
      { oomKillDisable: true },
      hostFacts(),
      [
        'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
      ],
      { oomKillDisable: true },
    ],
    [
      { networkMode: 'host', portBindings: { '80/tcp': [] } },
      hostFacts(),
      ['Published ports are discarded when using host network mode'],
      {},
    ],
    [{ securityOpt: ['apparmor=mine'] }, hostFacts(), ['This host has no AppArmor. Profile mine is not applied.'], {}],
    [{ securityOpt: ['label=type:t'] }, hostFacts(), ['This host has no SELinux. Labels are not applied.'], {}],
  ];
  test.each(cases)('%j', (changes, facts, warnings, kept) => {
    const host = hostConfig(changes);
    expect(validateSettings(containerConfig(), host, facts)).toEqual(warnings);
    expect(applyHostDefaults(host, facts)).toMatchObject(kept);
  });
});

test('applyHostDefaults fills in what inspect shows', () => {
  expect(applyHostDefaults(hostConfig({ memoryBytes: 1e8 }), hostFacts())).toMatchObject({
    memorySwapBytes: 2e8,
    shmSizeBytes: 67108864,
    ipcMode: 'private',
    cgroupnsMode: 'host',
  });
  const v2 = hostFacts({ cgroupLayout: { mode: 'v2', v1: {}, unified: '/sys/fs/cgroup', roots: {} } });
  expect(applyHostDefaults(hostConfig(), v2).cgroupnsMode).toBe('private');
});

describe('toRuntimeResources', () => {
  const update = (change: Partial<Resources>, current: Partial<HostConfig> = {}) =>
    toRuntimeResources(change, hostConfig(current), hostFacts());

  test.each<[Partial<Resources>, Partial<HostConfig>, unknown]>([
    [{ cpuShares: 100 }, {}, { cpu: { shares: 100 } }],
    [{ nanoCpus: 5e8 }, {}, { cpu: { quota: 50000, period: 100000 } }],
    [{ memoryBytes: 5e7 }, { memoryBytes: 1e8, memorySwapBytes: 2e8 }, { memory: { limit: 5e7, swap: 2e8 } }],
    [{ memoryBytes: 3e8, memorySwapBytes: -1 }, { memorySwapBytes: 2e8 }, { memory: { limit: 3e8, swap: -1 } }],
    [{ memorySwapBytes: 5e8 }, { memoryBytes: 1e8 }, { memory: { swap: 5e8 } }],
    [{ pidsLimit: -1 }, { pidsLimit: 5 }, { pids: { limit: 4194304 } }],
    [{ cpuShares: 0, cpusetCpus: '', pidsLimit: null }, {}, {}],
  ])('%j over %j', (change, current, resources) => {
    expect(update(change, current).resources).toEqual(resources);
  });

  test('the record gets what was asked and keeps the rest', () => {
    const { limits } = update({ cpuShares: 100, memoryBytes: 0 }, { memoryBytes: 1e8, pidsLimit: 7 });
    expect(limits).toMatchObject({ cpuShares: 100, memoryBytes: 1e8, pidsLimit: 7 });
    expect(limits).not.toHaveProperty('binds');
  });

  test.each<[Partial<Resources>, Partial<HostConfig>, string]>([
    [{ nanoCpus: 1e9 }, { cpuPeriod: 5000 }, 'Nano CPUs cannot be updated as CPU Period has already been set'],
    [{ nanoCpus: 1e9 }, { cpuQuota: 5000 }, 'Nano CPUs cannot be updated as CPU Quota has already been set'],
    [{ cpuPeriod: 5000 }, { nanoCpus: 1e9 }, 'CPU Period cannot be updated as NanoCPUs has already been set'],
    [{ cpuQuota: 5000 }, { nanoCpus: 1e9 }, 'CPU Quota cannot be updated as NanoCPUs has already been set'],
    [
      { memoryBytes: 3e8 },
      { memorySwapBytes: 2e8 },
      'Memory limit should be smaller than already set memoryswap limit',
    ],
  ])('refuses %j over %j', (change, current, message) => {
    let thrown: unknown;
    try {
      update(change, current);
    } catch (error) {
      thrown = error;
    }
    expect(String(thrown)).toContain(message);
    expect(kindOf(thrown)).toBe('Conflict');
  });

  test('refuses what create would refuse', () => {
    expect(() => update({ nanoCpus: 9e9 })).toThrow('Range of CPUs');
    expect(() => update({ memoryBytes: 5 })).toThrow('6MB');
  });
});
