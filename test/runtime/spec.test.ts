import { describe, expect, test } from 'vitest';
import { buildSpec, type OciSpec, type SpecInput } from '../../src/runtime/index.ts';
import { cgroupSupports, containerConfig, hostConfig, hostFacts, specInput } from '../support/settings.ts';

/** Whole documents, one a file: read them to see what a container of that kind is. */
const golden: Record<string, Partial<SpecInput>> = {
  default: {},
  'limits-and-devices': {
    config: containerConfig({ tty: true, env: ['A=1', 'TERM=vt100', 'PATH'], workingDir: '/srv', user: 'foo' }),
    user: { uid: 1000, gid: 100, additionalGids: [100, 44], home: '/home/foo' },
    host: hostConfig({
      nanoCpus: 1.5e9,
      cpuShares: 512,
      cpusetCpus: '0',
      memoryBytes: 64e6,
      memoryReservationBytes: 32e6,
      memorySwappiness: 0,
      pidsLimit: 100,
      blkioWeight: 300,
      blkioDeviceReadBps: [{ path: '/dev/vda', rate: 1e6 }],
      hugetlbLimits: [{ pageSize: '2MB', limitBytes: 4194304 }],
      ulimits: [{ name: 'core', soft: 0, hard: -1 }],
      oomScoreAdj: 200,
      consoleSize: [24, 80],
      init: true,
      annotations: { 'com.example': 'yes' },
      capAdd: ['net_admin'],
      capDrop: ['MKNOD'],
      sysctls: { 'net.core.somaxconn': '1024' },
      securityOpt: ['no-new-privileges'],
    }),
    devices: {
      nodes: [{ type: 'c', path: '/dev/fuse', major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 }],
      rules: [{ allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' }],
      blockNumbers: { '/dev/vda': [254, 0] },
    },
  },
  'mounts-and-read-only-root': {
    host: hostConfig({ readonlyRootfs: true }),
    mounts: [
      { type: 'bind', source: '/host/b', destination: '/a/b', readOnly: false, propagation: 'rshared' },
      { type: 'bind', source: '/host/a', destination: '/a', readOnly: true },
      {
        type: 'bind',
        source: '/host/c',
        destination: '/c',
        readOnly: true,
        readOnlyNonRecursive: true,
        nonRecursive: true,
      },
      { type: 'tmpfs', source: '', destination: '/run', readOnly: false, options: ['size=64m', 'exec'] },
      { type: 'bind', source: '/host/hosts', destination: '/etc/hosts', readOnly: true },
    ],
  },
  privileged: {
    host: hostConfig({ privileged: true }),
    devices: {
      nodes: [{ type: 'b', path: '/dev/vda', major: 254, minor: 0, fileMode: 0o660, uid: 0, gid: 6 }],
      rules: [{ allow: true, access: 'rwm' }],
      blockNumbers: {},
    },
  },
  'host-namespaces': {
    config: containerConfig({ domainname: 'example.org' }),
    host: hostConfig({ networkMode: 'host', ipcMode: 'host', pidMode: 'host', utsMode: 'host', init: true }),
    namespaces: { network: 'host', pid: 'host', ipc: 'host', uts: 'host', cgroup: 'host', user: 'host' },
    shm: { kind: 'bind', source: '/dev/shm' },
  },
  'labelled-hosts': {
    config: containerConfig({ domainname: 'example.org' }),
    namespaces: {
      network: 'new',
      pid: { path: '/proc/7/ns/pid' },
      ipc: 'new',
      uts: 'new',
      cgroup: 'new',
      user: 'host',
    },
    shm: { kind: 'none' },
    host: hostConfig({
      securityOpt: ['label=type:spc_t', 'seccomp=unconfined'],
      maskedPaths: [],
      readonlyPaths: ['/proc/sys'],
    }),
    facts: hostFacts({
      apparmor: { defaultProfile: 'docker-default' },
      selinux: {
        processLabel: 'system_u:system_r:container_t:s0',
        mountLabel: 'system_u:object_r:container_file_t:s0',
      },
      canRaiseLimits: true,
      oomScoreAdj: -500,
      cgroups: cgroupSupports.none,
    }),
  },
};

test.each(Object.entries(golden))('golden: %s', async (name, changes) => {
  const text = `${JSON.stringify(buildSpec(specInput(changes)), null, 2)}\n`;
  await expect(text).toMatchFileSnapshot(`golden/${name}.json.golden`);
});

const specWith = (host: Parameters<typeof hostConfig>[0], more: Partial<SpecInput> = {}): OciSpec =>
  buildSpec(specInput({ host: hostConfig(host), ...more }));

describe('what a setting does to the spec', () => {
  test('the input is left alone', () => {
    const input = specInput({ host: hostConfig({ memoryBytes: 64e6, readonlyRootfs: true }) });
    const before = structuredClone(input);
    buildSpec(input);
    expect(input).toEqual(before);
  });

  test('an unlimited hard limit keeps all 64 bits as JSON', () => {
    expect(JSON.stringify(specWith({ ulimits: [{ name: 'core', soft: -1, hard: -1 }] }).process.rlimits)).toBe(
      '[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":18446744073709551615}]',
    );
  });

  test.each([
    { own: 0, asked: 0, want: 0 },
    { own: 300, asked: 0, want: 300 },
    { own: 300, asked: 400, want: 400 },
    { own: -500, asked: 0, want: 0 },
  ])('OOM score $asked where ours is $own', ({ own, asked, want }) => {
    const spec = specWith({ oomScoreAdj: asked }, { facts: hostFacts({ oomScoreAdj: own }) });
    expect(spec.process.oomScoreAdj).toBe(want);
  });

  test('swap is as much as memory again, or as asked, or left out where it is not counted', () => {
    expect(specWith({ memoryBytes: 1e8 }).linux.resources.memory?.swap).toBe(2e8);
    expect(specWith({ memoryBytes: 1e8, memorySwapBytes: -1 }).linux.resources.memory?.swap).toBe(-1);
    const { memory } = cgroupSupports.all;
    const facts = hostFacts({ cgroups: { ...cgroupSupports.all, memory: { ...memory, swap: false } } });
    expect(specWith({ memoryBytes: 1e8 }, { facts }).linux.resources.memory).toEqual({ limit: 1e8 });
  });

  test('limits that the host cannot set are left out', () => {
    const asked = { memoryBytes: 1e8, cpuShares: 5, pidsLimit: 5, cpusetCpus: '0', blkioWeight: 100 };
    const spec = specWith(asked, { facts: hostFacts({ cgroups: cgroupSupports.none }) });
    expect(Object.keys(spec.linux.resources)).toEqual(['devices']);
  });

  test.each([
    { nanoCpus: 1e7, quota: 1000 },
    { nanoCpus: 70_000_000, quota: 7000 },
    { nanoCpus: 2e9, quota: 200_000 },
  ])('$nanoCpus nano CPUs are $quota of 100000 µs', ({ nanoCpus, quota }) => {
    expect(specWith({ nanoCpus }).linux.resources.cpu).toEqual({ quota, period: 100_000 });
  });

  test('pids and CPU quota: -1 is no limit', () => {
    const { pids, cpu } = specWith({ pidsLimit: -1, cpuQuota: -1, cpuPeriod: 50_000 }).linux.resources;
    expect(pids).toBeUndefined();
    expect(cpu).toEqual({ period: 50_000 });
  });

  test('seccomp: a profile of the user counts in a privileged container too', () => {
    const own = 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}';
    expect(specWith({ privileged: true }).linux.seccomp).toBeUndefined();
    expect(specWith({ privileged: true, securityOpt: [own] }).linux.seccomp?.defaultAction).toBe('SCMP_ACT_ALLOW');
    expect(specWith({ securityOpt: ['seccomp=unconfined'] }).linux.seccomp).toBeUndefined();
    expect(specWith({ securityOpt: ['seccomp=builtin'] }).linux.seccomp?.defaultAction).toBe('SCMP_ACT_ERRNO');
  });

  test('seccomp follows the capabilities', () => {
    const mountRules = (spec: OciSpec) => spec.linux.seccomp?.syscalls?.filter(({ names }) => names.includes('mount'));
    expect(mountRules(specWith({}))).toEqual([{ names: ['mount'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }]);
    expect(mountRules(specWith({ capAdd: ['SYS_ADMIN'] }))).toEqual([{ names: ['mount'], action: 'SCMP_ACT_ALLOW' }]);
  });

  test('systempaths=unconfined shows all of /proc and /sys', () => {
    const { linux } = specWith({ securityOpt: ['systempaths=unconfined'] });
    expect([linux.maskedPaths, linux.readonlyPaths]).toEqual([undefined, undefined]);
  });

  test('thermal counters are masked where there are any', () => {
    const facts = hostFacts({ thermalPaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'] });
    expect(specWith({}, { facts }).linux.maskedPaths).toContain('/sys/devices/system/cpu/cpu0/thermal_throttle');
  });

  test('a volume of the user hides a default mount', () => {
    const spec = specWith({}, { mounts: [{ type: 'bind', source: '/s', destination: '/dev/shm', readOnly: false }] });
    const shm = spec.mounts.filter(({ destination }) => destination === '/dev/shm');
    expect(shm).toEqual([{ destination: '/dev/shm', type: 'bind', source: '/s', options: ['rbind', 'rprivate'] }]);
  });

  test.each([
    { kernel: [5, 11], knows: true, want: 'ro' },
    { kernel: [5, 12], knows: true, want: 'rro' },
    { kernel: [6, 1], knows: false, want: 'ro' },
  ] as const)('read-only bind on kernel $kernel, runtime knows rro: $knows', ({ kernel, knows, want }) => {
    const spec = specWith(
      {},
      {
        mounts: [{ type: 'bind', source: '/s', destination: '/d', readOnly: true }],
        facts: hostFacts({ kernel }),
        runtimeKnowsRecursiveReadOnly: knows,
      },
    );
    expect(spec.mounts.find(({ destination }) => destination === '/d')?.options).toEqual(['rbind', want, 'rprivate']);
  });

  test.each([
    { asked: ['shared', 'rslave'], want: 'shared' },
    { asked: ['rslave', 'private'], want: 'rslave' },
    { asked: ['private', ''], want: undefined },
  ])('propagation of the root under $asked', ({ asked, want }) => {
    const mounts = asked.map((propagation, index) => ({
      ...{ type: 'bind' as const, source: '/s', destination: `/d${index}`, readOnly: false, propagation },
    }));
    expect(specWith({}, { mounts }).linux.rootfsPropagation).toBe(want);
  });

  test('no init without one on the host', () => {
    const spec = specWith({ init: true }, { facts: hostFacts({ initPath: undefined }) });
    expect(spec.process.args).toEqual(['/bin/true']);
  });

  test('AppArmor and SELinux leave a privileged container alone', () => {
    const facts = hostFacts({
      apparmor: { defaultProfile: 'docker-default' },
      selinux: { processLabel: 'u:r:t:s0', mountLabel: 'u:o:f:s0' },
    });
    const free = specWith({ privileged: true }, { facts });
    expect([free.process.apparmorProfile, free.process.selinuxLabel, free.linux.mountLabel]).toEqual([
      'unconfined',
      undefined,
      undefined,
    ]);
    const confined = specWith({ securityOpt: ['apparmor=mine', 'label=level:s0:c1,c2'] }, { facts });
    expect([confined.process.apparmorProfile, confined.process.selinuxLabel, confined.linux.mountLabel]).toEqual([
      'mine',
      'u:r:t:s0:c1,c2',
      'u:o:f:s0:c1,c2',
    ]);
  });

  test('each container has two SELinux categories of its own', () => {
    const facts = hostFacts({ selinux: { processLabel: 'u:r:t:s0', mountLabel: 'u:o:f:s0' } });
    const labels = Array.from(
      { length: 50 },
      (_, n) => buildSpec(specInput({ id: `id${n}`, facts })).process.selinuxLabel,
    );
    for (const label of labels) expect(label).toMatch(/^u:r:t:s0:c\d+,c\d+$/);
    expect(new Set(labels).size).toBeGreaterThan(45);
  });
});
