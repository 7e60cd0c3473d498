import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupExists, compileSeccompFilter, listPids, removeCgroup } from '../../src/linux/index.ts';
import {
  applyHostDefaults,
  buildExecProcess,
  buildSpec,
  type ContainerConfig,
  type HostConfig,
  mergeImageDefaults,
  readHostFacts,
  resolveDevices,
  resolveUserIn,
  SeccompCache,
  type SpecInput,
  toRuntimeResources,
  validateSettings,
} from '../../src/runtime/index.ts';
import { containerConfig, hostConfig } from '../support/settings.ts';

const facts = readHostFacts();
const root = mkdtempSync(join(tmpdir(), 'tare-bundle-'));
const rootfs = join(root, 'rootfs');
const cgroupParent = `/tare-spec-${randomBytes(4).toString('hex')}`;
const runtimes = [
  { name: 'crun', path: '/usr/bin/crun', args: ['--root', join(root, 'crun'), '--cgroup-manager=cgroupfs'] },
  { name: 'runc', path: '/usr/sbin/runc', args: ['--root', join(root, 'runc')] },
];

beforeAll(() => {
  for (const folder of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'srv']) {
    mkdirSync(join(rootfs, folder), { recursive: true });
  }
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
  for (const name of ['sh', 'cat', 'id', 'grep', 'mkdir', 'sleep', 'touch', 'pwd', 'env']) {
    symlinkSync('busybox', join(rootfs, 'bin', name));
  }
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nfoo:x:1000:1001::/home/foo:/bin/sh\n');
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nfoo:x:1001:\nbar:x:55:foo\nbaz:x:56:\n');
});

afterAll(() => {
  removeCgroup(cgroupParent);
  rmSync(root, { recursive: true });
});

interface Wishes {
  script: string;
  config?: Partial<ContainerConfig>;
  host?: Partial<HostConfig>;
  input?: Partial<SpecInput>;
}

let count = 0;

/** A bundle made the way the engine makes one, from settings alone. */
function makeBundle({ script, config = {}, host = {}, input = {} }: Wishes): {
  id: string;
  bundle: string;
  cgroup: string;
} {
  count += 1;
  const id = `tare-bundle-${process.pid}-${count}`;
  const settings = mergeImageDefaults(containerConfig({ cmd: ['/bin/sh', '-c', script], ...config }), {
    WorkingDir: '/srv',
  });
  const asked = hostConfig({ networkMode: 'none', ...host });
  validateSettings(settings, asked, input.facts ?? facts);
  const filled = applyHostDefaults(asked, facts);
  const cgroup = `${cgroupParent}/${id}`;
  const spec = buildSpec({
    ...{ id, config: settings, host: filled, rootfs, mounts: [], generatedFiles: {}, facts },
    user: resolveUserIn(rootfs, settings.user, filled.groupAdd),
    shm: { kind: 'private', sizeBytes: filled.shmSizeBytes },
    namespaces: { network: 'new', pid: 'new', ipc: 'new', uts: 'new', cgroup: 'host', user: 'host' },
    cgroupsPath: cgroup,
    runtimeKnowsRecursiveReadOnly: true,
    devices: resolveDevices(filled),
    ...input,
  });
  const bundle = join(root, id);
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return { id, bundle, cgroup };
}

describe.each(runtimes)('$name accepts the spec', ({ path, args }) => {
  const runtime = (...more: string[]) => execFileSync(path, [...args, ...more], { encoding: 'utf8' });
  const run = (wishes: Wishes) => {
    const { id, bundle } = makeBundle(wishes);
    const result = spawnSync(path, [...args, 'run', '--bundle', bundle, id], { encoding: 'utf8' });
    return { output: `${result.stdout}${result.stderr}`, exitCode: result.status };
  };

  test('a container of which nothing is asked', () => {
    const { output, exitCode } = run({
      script:
        'grep -E "Cap(Inh|Eff|Amb)|Seccomp:|NoNewPrivs" /proc/self/status; pwd; echo $PATH $HOME $HOSTNAME; cat /proc/self/cgroup; exit 7',
    });
    expect(exitCode).toBe(7);
    expect(output).toMatch(/CapInh:\s+0{16}\n/);
    expect(output).toMatch(/CapEff:\s+00000000a80425fb\n/);
    expect(output).toMatch(/CapAmb:\s+0{16}\n/);
    expect(output).toMatch(/NoNewPrivs:\s+0\n/);
    expect(output).toMatch(/Seccomp:\s+2\n/);
    expect(output).toContain('\n/srv\n');
    expect(output).toContain('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root web');
    expect(output).toContain(`memory:${cgroupParent}/`);
  });

  test('limits', () => {
    const { output } = run({
      script:
        'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus; cat blkio/blkio.throttle.read_bps_device; grep -E "open files|core file" /proc/self/limits; cat /proc/self/oom_score_adj',
      host: {
        memoryBytes: 64 << 20,
        memorySwapBytes: 96 << 20,
        memoryReservationBytes: 32 << 20,
        nanoCpus: 5e8,
        cpuShares: 300,
        pidsLimit: 50,
        cpusetCpus: '0',
        ulimits: [
          { name: 'nofile', soft: 100, hard: 200 },
          { name: 'core', soft: -1, hard: -1 },
        ],
        oomScoreAdj: 77,
      },
    });
    expect(output.split('\n').slice(0, 7)).toEqual([
      String(64 << 20),
      String(96 << 20),
      String(32 << 20),
      '50000',
      '300',
      '50',
      '0',
    ]);
    expect(output).toMatch(/Max open files\s+100\s+200/);
    expect(output).toMatch(/Max core file size\s+unlimited\s+unlimited/);
    expect(output).toMatch(/^77$/m);
  });

  test('a user of the image, with groups', () => {
    const { output } = run({
      script: 'id; grep -E "CapEff|CapBnd" /proc/self/status; echo $HOME; touch /x || echo refused',
      config: { user: 'foo' },
      host: { groupAdd: ['baz', '77'] },
    });
    expect(output).toContain('uid=1000(foo) gid=1001(foo)');
    for (const group of ['55(bar)', '56(baz)', '77']) expect(output).toContain(group);
    expect(output).toMatch(/CapEff:\s+0{16}\n/);
    expect(output).toMatch(/CapBnd:\s+00000000a80425fb\n/);
    expect(output).toContain('\n/home/foo\n');
    expect(output).toContain('refused');
  });

  test('privileged', () => {
    const { output } = run({
      script:
        'grep -E "Seccomp:|CapEff" /proc/self/status; cat /proc/sys/kernel/hostname > /proc/sys/kernel/hostname && echo writable; grep " /sys " /proc/mounts; test -c /dev/kmsg && echo kmsg',
      host: { privileged: true },
    });
    expect(output).toMatch(/Seccomp:\s+0\n/);
    const own = /^CapBnd:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
    expect(output).toContain(own);
    expect(output).toContain('writable');
    expect(output).toMatch(/sysfs \/sys sysfs rw/);
    expect(output).toContain('kmsg');
  });

  test('capabilities added and dropped, no new privileges, sysctls, a domain name, masked paths', () => {
    const { output } = run({
      script:
        'grep -E "CapEff|NoNewPrivs" /proc/self/status; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/kernel/domainname; cat /proc/timer_list | grep -c .; echo x > /proc/sys/kernel/shmmax || echo read-only',
      config: { domainname: 'example.org' },
      host: {
        capAdd: ['NET_ADMIN'],
        capDrop: ['ALL'],
        securityOpt: ['no-new-privileges'],
        sysctls: { 'net.ipv4.ip_forward': '1', 'kernel.msgmax': '4096' },
      },
    });
    expect(output).toMatch(/CapEff:\s+0000000000001000\n/);
    expect(output).toMatch(/NoNewPrivs:\s+1\n/);
    expect(output).toContain('\n1\n4096\nexample.org\n0\n');
    expect(output).toContain('read-only');
  });

  test('a read-only root, binds and tmpfs', () => {
    const shared = join(root, `shared-${count}`);
    mkdirSync(join(shared, 'sub'), { recursive: true });
    const { output } = run({
      script:
        'for f in /x /ro/x /rw/x /scratch/x; do touch $f 2>/dev/null && echo wrote $f; done; grep -E " /(scratch|ro|dev/shm) " /proc/mounts',
      host: { readonlyRootfs: true, shmSizeBytes: 1 << 20 },
      input: {
        mounts: [
          { type: 'bind', source: shared, destination: '/ro', readOnly: true },
          { type: 'bind', source: shared, destination: '/rw', readOnly: false, propagation: 'rslave' },
          { type: 'tmpfs', source: '', destination: '/scratch', readOnly: false, options: ['size=1m', 'exec'] },
        ],
      },
    });
    expect(output.match(/wrote .*/g)).toEqual(['wrote /rw/x', 'wrote /scratch/x']);
    expect(output).toMatch(/ \/scratch tmpfs rw,nosuid,nodev,(?!noexec).*size=1024k/);
    expect(output).toMatch(/shm \/dev\/shm tmpfs rw,nosuid,nodev,noexec,.*size=1024k/);
    for (const left of ['ro', 'rw', 'scratch']) rmSync(join(rootfs, left), { recursive: true });
  });

  test('single files, and an init', () => {
    const file = join(root, 'hosts');
    writeFileSync(file, 'from the host\n');
    const initPath = join(root, 'init');
    writeFileSync(initPath, '#!/bin/sh\necho init $1\nshift\nexec "$@"\n', { mode: 0o755 });
    mkdirSync(join(rootfs, 'sbin'), { recursive: true });
    writeFileSync(join(rootfs, 'etc/hosts'), '');
    writeFileSync(join(rootfs, 'etc/own'), '');
    writeFileSync(join(rootfs, 'sbin/docker-init'), '');
    const { output } = run({
      script: 'cat /etc/hosts /etc/own; (echo x > /etc/own) 2>/dev/null || echo refused',
      host: { readonlyRootfs: true, init: true },
      input: {
        facts: { ...facts, initPath },
        generatedFiles: { hosts: file },
        mounts: [{ type: 'bind', source: file, destination: '/etc/own', readOnly: true, isFile: true }],
      },
    });
    expect(output).toBe('init --\nfrom the host\nfrom the host\nrefused\n');
  });

  test('a seccomp profile of the user', () => {
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat', 'no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 99 }],
    };
    const { output } = run({ script: 'mkdir /tmp/y', host: { securityOpt: [`seccomp=${JSON.stringify(profile)}`] } });
    // EADDRNOTAVAIL, which mkdir never says by itself.
    expect(output).toContain("can't create directory '/tmp/y': Cannot assign requested address");
  });

  test('a private cgroup namespace, and the host’s namespaces', () => {
    const own = run({
      script: 'cat /proc/self/cgroup',
      input: {
        namespaces: { network: 'new', pid: 'new', ipc: 'new', uts: 'new', cgroup: 'new', user: 'host' },
      },
    });
    expect(own.output).toContain('memory:/\n');
    const host = run({
      script: 'cat /proc/sys/kernel/hostname',
      input: {
        namespaces: { network: 'host', pid: 'host', ipc: 'host', uts: 'host', cgroup: 'host', user: 'host' },
        shm: { kind: 'bind', source: '/dev/shm' },
      },
      host: { networkMode: 'host' },
    });
    expect(host.output).toBe(readFileSync('/proc/sys/kernel/hostname', 'utf8'));
  });

  test('exec and update', () => {
    const { id, bundle, cgroup } = makeBundle({
      script: 'sleep 100',
      host: { memoryBytes: 64 << 20, ulimits: [{ name: 'core', soft: -1, hard: -1 }] },
    });
    spawnSync(path, [...args, 'run', '--detach', '--bundle', bundle, id], { stdio: 'ignore' });
    try {
      expect(listPids(cgroup).length).toBeGreaterThan(0);
      const { process: first } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
      const exec = buildExecProcess(
        first,
        {
          command: ['/bin/sh', '-c', 'id; env; pwd; grep core /proc/self/limits'],
          env: ['A=1'],
          workingDir: '/tmp',
          tty: false,
          privileged: false,
        },
        resolveUserIn(rootfs, 'foo'),
        facts.capabilities,
      );
      writeFileSync(join(bundle, 'process.json'), JSON.stringify(exec));
      const output = runtime('exec', '--process', join(bundle, 'process.json'), id);
      expect(output).toContain('uid=1000(foo) gid=1001(foo)');
      expect(output).toContain('HOME=/home/foo');
      expect(output).toMatch(/^A=1$/m);
      expect(output).toMatch(/^\/tmp$/m);
      expect(output).toMatch(/Max core file size\s+unlimited\s+unlimited/);

      const { resources } = toRuntimeResources(
        { memoryBytes: 256 << 20, memorySwapBytes: 512 << 20, pidsLimit: -1, nanoCpus: 2e8 },
        hostConfig({ memoryBytes: 64 << 20, memorySwapBytes: 128 << 20 }),
        facts,
      );
      writeFileSync(join(bundle, 'resources.json'), JSON.stringify(resources));
      runtime('update', '--resources', join(bundle, 'resources.json'), id);
      const memory = join('/sys/fs/cgroup/memory', cgroup, 'memory.limit_in_bytes');
      expect(Number(readFileSync(memory, 'utf8'))).toBe(256 << 20);
    } finally {
      runtime('delete', '--force', id);
    }
    expect(cgroupExists(cgroup)).toBe(false);
  });
});

describe('compiled seccomp filters', () => {
  const crun = runtimes[0]!;

  test('are what crun makes of the same rules, byte by byte', () => {
    const { id, bundle } = makeBundle({ script: 'true' });
    const spec = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
    spawnSync(crun.path, [...crun.args, 'create', '--bundle', bundle, id], { stdio: 'ignore' });
    try {
      const theirs = readFileSync(join(root, 'crun', id, 'seccomp.bpf'));
      expect(theirs.length).toBeGreaterThan(1000);
      expect(compileSeccompFilter(spec.linux.seccomp)?.equals(theirs)).toBe(true);
    } finally {
      execFileSync(crun.path, [...crun.args, 'delete', '--force', id]);
    }
  });

  test('are applied from the annotation alone', () => {
    const { id, bundle } = makeBundle({ script: 'mkdir /tmp/z; grep Seccomp: /proc/self/status' });
    const spec = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
    const rules = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 99 }],
    };
    spec.linux.seccomp = rules;
    new SeccompCache(join(root, 'filters')).embed(spec, crun);
    // What is in linux.seccomp now would let mkdir pass.
    spec.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW' };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
    const { stdout, stderr } = spawnSync(crun.path, [...crun.args, 'run', '--bundle', bundle, id], {
      encoding: 'utf8',
    });
    expect(stderr).toContain('Cannot assign requested address');
    expect(stdout).toMatch(/Seccomp:\s+2/);
  });
});
