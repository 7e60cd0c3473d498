import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  cgroupDirectory,
  cgroupsOfProcess,
  hierarchies,
  parseCgroupLayout,
  parseProcessCgroups,
  processCgroupDirectory,
  readCgroupLayout,
} from './cgroup-layout.ts';
import { expectCgroupMove } from './cgroup-move.ts';
import { keyed, openCgroupUsage, v1BlockIO, v2BlockIO } from './cgroup-stats.ts';
import {
  cgroupExists,
  cgroupSupport,
  endCgroup,
  isFrozen,
  listCgroups,
  listPids,
  oomKills,
  removeCgroup,
  setFrozen,
} from './cgroups.ts';

const line = (root: string, at: string, type: string, options: string) =>
  `31 23 0:28 ${root} ${at} rw,relatime shared:9 - ${type} ${type} ${options}`;

describe('parseCgroupLayout', () => {
  test('v2', () => {
    const layout = parseCgroupLayout(line('/', '/sys/fs/cgroup', 'cgroup2', 'rw,nsdelegate'));
    expect(layout).toEqual({ mode: 'v2', v1: {}, unified: '/sys/fs/cgroup', roots: { '': '/' } });
    expect(cgroupDirectory(layout, 'memory', '/tare/x')).toBe('/sys/fs/cgroup/tare/x');
  });
  test('hybrid, with controllers mounted together and a named hierarchy', () => {
    const layout = parseCgroupLayout(
      [
        line('/', '/sys/fs/cgroup', 'tmpfs', 'rw'),
        line('/', '/sys/fs/cgroup/unified', 'cgroup2', 'rw'),
        line('/', '/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'rw,cpu,cpuacct'),
        line('/', '/sys/fs/cgroup/systemd', 'cgroup', 'rw,xattr,name=systemd'),
        line('/', '/elsewhere', 'cgroup', 'rw,cpu,cpuacct'),
        line('/', '/with\\040blank', 'cgroup', 'rw,pids'),
      ].join('\n'),
    );
    expect(layout.mode).toBe('hybrid');
    expect(layout.v1).toEqual({
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
      'name=systemd': '/sys/fs/cgroup/systemd',
      pids: '/with blank',
    });
    expect(hierarchies(layout).map(({ mountPoint }) => mountPoint)).toEqual([
      '/sys/fs/cgroup/cpu,cpuacct',
      '/sys/fs/cgroup/systemd',
      '/with blank',
      '/sys/fs/cgroup/unified',
    ]);
  });
  test('v1', () => {
    const layout = parseCgroupLayout(line('/', '/sys/fs/cgroup/memory', 'cgroup', 'rw,memory'));
    expect(layout.mode).toBe('v1');
    expect(cgroupDirectory(layout, 'pids', '/x')).toBeUndefined();
  });
  test('systemd’s own hierarchy beside v2 has no controllers', () => {
    const mounts = [line('/', '/sys/fs/cgroup', 'cgroup2', 'rw'), line('/', '/s', 'cgroup', 'rw,name=systemd')];
    expect(parseCgroupLayout(mounts.join('\n')).mode).toBe('v2');
  });
});

test('parseProcessCgroups reads every hierarchy, also paths with colons', () => {
  expect(parseProcessCgroups('4:cpu,cpuacct:/a\n3:name=systemd:/b:c\n0::/d\n')).toEqual({
    cpu: '/a',
    cpuacct: '/a',
    'name=systemd': '/b:c',
    '': '/d',
  });
});

describe('figures', () => {
  test('v1 block I/O is joined by device and operation', () => {
    const bytes = '254:0 Read 4096\n254:0 Write 0\n254:0 Total 4096\nTotal 4096\n';
    expect(v1BlockIO(bytes, '254:0 Read 1\n254:0 Sync 3\n')).toEqual([
      { device: [254, 0], op: 'read', bytes: 4096, operations: 1 },
      { device: [254, 0], op: 'write', bytes: 0, operations: 0 },
      { device: [254, 0], op: 'total', bytes: 4096, operations: 0 },
      { device: [254, 0], op: 'sync', bytes: 0, operations: 3 },
    ]);
  });
  test('v2 block I/O', () => {
    expect(v2BlockIO('254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:1 \n')).toEqual([
      { device: [254, 0], op: 'read', bytes: 10, operations: 1 },
      { device: [254, 0], op: 'write', bytes: 20, operations: 2 },
      { device: [254, 0], op: 'discard', bytes: 0, operations: 0 },
    ]);
  });
  test('flat keys', () => expect(keyed('cache 5\nrss 6\n\n')).toEqual({ cache: 5, rss: 6 }));
});

// The rest works on cgroups of its own, on whatever layout this host has.
describe('on this host', () => {
  const layout = readCgroupLayout();
  let path = '';
  const directories = (below = path) => hierarchies(layout).map(({ mountPoint }) => join(mountPoint, below));
  const child = async () => {
    const process = spawn('sleep', ['100'], { stdio: 'ignore' });
    await once(process, 'spawn');
    for (const directory of directories()) writeFileSync(join(directory, 'cgroup.procs'), String(process.pid));
    return {
      pid: process.pid!,
      async [Symbol.asyncDispose]() {
        process.kill('SIGKILL');
        if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
      },
    };
  };

  beforeEach(() => {
    path = `/tare-cgroups-${randomBytes(4).toString('hex')}`;
    for (const directory of directories()) mkdirSync(directory);
    // A v1 cpuset takes processes only once it has CPUs and memory nodes.
    const cpuset = layout.v1['cpuset'];
    if (cpuset !== undefined) {
      writeFileSync(join(cpuset, path, 'cpuset.cpus'), '0');
      writeFileSync(join(cpuset, path, 'cpuset.mems'), '0');
    }
  });
  afterEach(() => {
    removeCgroup(path);
  });

  test('pids, also of cgroups below, and where a process is', async () => {
    expect(listPids(path)).toEqual([]);
    await using process = await child();
    expect(listPids(path)).toEqual([process.pid]);
    expect(processCgroupDirectory(layout, process.pid, 'memory')).toBe(cgroupDirectory(layout, 'memory', path));
    expect(Object.values(cgroupsOfProcess(process.pid)!)).toContain(path);
    for (const directory of directories(`${path}/sub`)) mkdirSync(directory);
    const pids = cgroupDirectory(layout, 'pids', `${path}/sub`)!;
    writeFileSync(join(pids, 'cgroup.procs'), String(process.pid));
    expect(listPids(path)).toEqual([process.pid]);
  });

  test('freezing stops, and thawing lets go on', async () => {
    await using _process = await child();
    expect(isFrozen(path)).toBe(false);
    setFrozen(path, true);
    while (!isFrozen(path)) await delay(5);
    setFrozen(path, false);
    while (isFrozen(path)) await delay(5);
    expect(isFrozen(path)).toBe(false);
  });

  test('usage', async () => {
    await using process = await child();
    using reader = openCgroupUsage(path, layout);
    const usage = reader.read()!;
    expect(usage.pids.current).toBe(1);
    expect(usage.pids.limit).toBe(Number.POSITIVE_INFINITY);
    expect(usage.memory.limitBytes).toBe(Number.POSITIVE_INFINITY);
    expect(Object.keys(usage.memory.stats).length).toBeGreaterThan(10);
    expect(oomKills(path)).toBe(0);
    await process[Symbol.asyncDispose]();
    removeCgroup(path);
    expect(reader.read()).toBeUndefined();
    expect(oomKills(path)).toBeUndefined();
  });

  test('a memory limit shows', () => {
    const memory = layout.v1['memory'];
    const directory = cgroupDirectory(layout, 'memory', path)!;
    const file = memory === undefined ? 'memory.max' : 'memory.limit_in_bytes';
    writeFileSync(join(directory, file), String(64 << 20));
    using reader = openCgroupUsage(path, layout);
    expect(reader.read()?.memory.limitBytes).toBe(64 << 20);
  });

  test('processes killed for want of memory are counted', async () => {
    const memory = cgroupDirectory(layout, 'memory', path)!;
    const [limit, swap] =
      layout.v1['memory'] === undefined
        ? ['memory.max', 'memory.swap.max']
        : ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'];
    writeFileSync(join(memory, limit), String(8 << 20));
    if (existsSync(join(memory, swap))) writeFileSync(join(memory, swap), layout.v1['memory'] ? String(8 << 20) : '0');
    // tail keeps what has no line end.
    const script = `echo $$ > ${memory}/cgroup.procs; head -c 64M /dev/zero | tail >/dev/null`;
    await once(spawn('sh', ['-c', script], { stdio: 'ignore' }), 'exit');
    expect(oomKills(path)).toBe(1);
  });

  test('removal takes what lies below, spares what is in use, and may be repeated', async () => {
    for (const directory of directories(`${path}/a`)) mkdirSync(join(directory, 'b'), { recursive: true });
    expect(listCgroups(path)).toEqual(['a']);
    {
      await using _process = await child();
      expect(removeCgroup(path)).toBe(false);
      expect(cgroupExists(path)).toBe(true);
    }
    expect(removeCgroup(path)).toBe(true);
    expect(cgroupExists(path)).toBe(false);
    expect(listCgroups(path)).toEqual([]);
    expect(removeCgroup(path)).toBe(true);
  });

  test('ending one kills what is in it, and may be repeated', async () => {
    await using _one = await child();
    await using _other = await child();
    await endCgroup(path);
    expect(cgroupExists(path)).toBe(false);
    await endCgroup(path);
  });

  test('one left in a single hierarchy is found and removed', () => {
    const [kept, ...gone] = directories();
    for (const directory of gone) rmdirSync(directory);
    expect(listCgroups('/')).toContain(path.slice(1));
    expect(removeCgroup(path)).toBe(true);
    expect(existsSync(kept!)).toBe(false);
  });

  test.each(['/', '', 'relative', '/a/../b', '//'])('the path %j is no cgroup to remove', (bad) => {
    expect(() => removeCgroup(bad)).toThrow(RangeError);
  });
});

// Hosts with v2 only are not at hand; the files are the kernel's own format.
describe('on a v2 host', () => {
  const root = mkdtempSync(join(tmpdir(), 'tare-v2-'));
  const layout = parseCgroupLayout(line('/', root, 'cgroup2', 'rw'));
  const write = (name: string, text: string) => writeFileSync(join(root, 'c', name), text);
  beforeAll(() => {
    mkdirSync(join(root, 'c', 'below'), { recursive: true });
    writeFileSync(join(root, 'cgroup.controllers'), 'cpuset cpu io memory pids\n');
    write('cpu.stat', 'usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n');
    write('memory.current', '4096\n');
    write('memory.max', 'max\n');
    write('memory.events', 'low 0\nhigh 0\nmax 9\noom 8\noom_kill 7\n');
    write('memory.stat', 'anon 1\nfile 2\n');
    write('pids.current', '5\n');
    write('pids.max', '100\n');
    write('io.stat', '');
    write('cgroup.events', 'populated 1\nfrozen 1\n');
    write('cgroup.procs', '12\n3\n');
    writeFileSync(join(root, 'c', 'below', 'cgroup.procs'), '4\n');
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test('support comes from the list of controllers', () => {
    const support = cgroupSupport(layout);
    expect(support.memory).toMatchObject({ limit: true, reservation: true, swappiness: false, oomKillDisable: false });
    expect(support.cpu).toEqual({ shares: true, quota: true, realtime: false });
    expect([support.cpuset, support.pids, support.blkio.weight, support.hugetlb]).toEqual([true, true, true, false]);
  });
  test('usage', () => {
    using reader = openCgroupUsage('/c', layout);
    expect(reader.read()).toEqual({
      cpu: {
        usageNs: 10e3,
        userNs: 6e3,
        systemNs: 4e3,
        perCpuNs: [],
        periods: 3,
        throttledPeriods: 2,
        throttledNs: 1e3,
      },
      memory: {
        usageBytes: 4096,
        maxUsageBytes: 0,
        limitBytes: Number.POSITIVE_INFINITY,
        failures: 9,
        stats: { anon: 1, file: 2 },
      },
      pids: { current: 5, limit: 100 },
      blockIO: [],
    });
    using gone = openCgroupUsage('/nope', layout);
    expect(gone.read()).toBeUndefined();
  });
  test('kills, freezing and pids', () => {
    expect(oomKills('/c', layout)).toBe(7);
    expect(oomKills('/nope', layout)).toBeUndefined();
    expect(isFrozen('/c', layout)).toBe(true);
    expect(listPids('/c', layout)).toEqual([3, 4, 12]);
  });
});

test('to expect a move leaves this process where it is', async () => {
  const before = cgroupsOfProcess('self');
  expectCgroupMove();
  // It is done in a thread, which says nothing when it is done.
  await delay(200);
  expect(cgroupsOfProcess('self')).toEqual(before);
});
