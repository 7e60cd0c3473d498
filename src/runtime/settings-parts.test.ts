import { describe, expect, test } from 'vitest';
import {
  allCapabilities,
  capabilitiesOfMask,
  capabilitySets,
  containerCapabilities,
  defaultCapabilities,
} from './capabilities.ts';
import { deviceNumbers, parseDeviceRule, resolveDevices } from './devices.ts';
import { buildExecProcess } from './exec-process.ts';
import { type ImageDefaults, mergeImageDefaults, overrideEnv } from './merge-image-defaults.ts';
import { mergeTmpfsOptions } from './mounts.ts';
import type { OciProcess } from './oci-spec.ts';
import { parseCpuList } from './resource-checks.ts';
import type { ContainerConfig, HostConfig } from './settings.ts';

describe('mergeImageDefaults', () => {
  const merge = (own: Partial<ContainerConfig>, image: ImageDefaults) =>
    mergeImageDefaults(
      {
        env: [],
        volumes: [],
        exposedPorts: [],
        labels: {},
        cmd: null,
        entrypoint: null,
        healthcheck: null,
        ...own,
      } as ContainerConfig,
      image,
    );
  const image: ImageDefaults = { Entrypoint: ['/entry'], Cmd: ['serve'] };

  test.each([
    { own: {}, entrypoint: ['/entry'], cmd: ['serve'] },
    { own: { cmd: ['sh'] }, entrypoint: ['/entry'], cmd: ['sh'] },
    { own: { entrypoint: ['/mine'] }, entrypoint: ['/mine'], cmd: null },
    { own: { entrypoint: ['/mine'], cmd: ['x'] }, entrypoint: ['/mine'], cmd: ['x'] },
    { own: { entrypoint: [''] }, entrypoint: null, cmd: null },
    { own: { entrypoint: [''], cmd: ['sh'] }, entrypoint: null, cmd: ['sh'] },
    { own: { entrypoint: [], cmd: null }, entrypoint: [], cmd: ['serve'] },
    { own: { cmd: [] }, entrypoint: ['/entry'], cmd: ['serve'] },
  ])('$own', ({ own, entrypoint, cmd }) => expect(merge(own, image)).toMatchObject({ entrypoint, cmd }));

  test('variables by name, the user’s first', () => {
    expect(merge({ env: ['A=mine', 'B'] }, { Env: ['A=theirs', 'B=theirs', 'C=theirs'] }).env).toEqual([
      'A=mine',
      'B',
      'C=theirs',
    ]);
  });

  test('labels, ports, volumes, user, folder and signal', () => {
    const merged = merge(
      { labels: { a: 'mine' }, exposedPorts: ['80/tcp'], volumes: ['/v'], user: 'me' },
      {
        Labels: { a: 'theirs', b: 'theirs' },
        ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
        Volumes: { '/v': {}, '/w': {} },
        User: 'them',
        WorkingDir: '/srv',
        StopSignal: 'SIGINT',
        StopTimeout: 3,
      },
    );
    expect(merged).toMatchObject({
      labels: { a: 'mine', b: 'theirs' },
      exposedPorts: ['80/tcp', '443/tcp'],
      volumes: ['/v', '/w'],
      user: 'me',
      workingDir: '/srv',
      stopSignal: 'SIGINT',
      stopTimeoutSeconds: 3,
    });
  });

  test('a health check field by field', () => {
    const own = { test: [], intervalNs: 5, timeoutNs: 0, startPeriodNs: 0, startIntervalNs: 0, retries: 0 };
    const theirs = { Test: ['CMD', 'check'], Interval: 1, Timeout: 2, Retries: 4 };
    expect(merge({ healthcheck: own }, { Healthcheck: theirs }).healthcheck).toEqual({
      test: ['CMD', 'check'],
      intervalNs: 5,
      timeoutNs: 2,
      startPeriodNs: 0,
      startIntervalNs: 0,
      retries: 4,
    });
    expect(merge({ healthcheck: own }, {}).healthcheck).toBe(own);
    expect(merge({}, { Healthcheck: theirs }).healthcheck?.intervalNs).toBe(1);
  });

  test('overrideEnv replaces in place, appends, and removes what has no value', () => {
    expect(overrideEnv(['A=1', 'B=2', 'C=3'], ['B=x', 'A', 'D=4', 'D=5', '__proto__=1'])).toEqual([
      'B=x',
      'C=3',
      'D=5',
      '__proto__=1',
    ]);
  });
});

describe('containerCapabilities', () => {
  const of = (add: string[], drop: string[], privileged = false) =>
    containerCapabilities({ add, drop, privileged }, allCapabilities);
  test('docker’s default set', () => {
    expect(of([], [])).toEqual(defaultCapabilities);
    expect(defaultCapabilities).toHaveLength(14);
  });
  test.each([
    [['all'], [], 41],
    [['ALL'], ['chown', 'CAP_KILL'], 39],
    [['ALL'], ['ALL'], 0],
    [['SYS_TIME'], ['ALL'], 1],
    [['SYS_TIME', 'cap_sys_time'], [], 15],
    [['CHOWN'], ['MKNOD'], 13],
  ])('add %j, drop %j: %d', (add, drop, count) => expect(of(add, drop)).toHaveLength(count));
  test('added after dropped', () => expect(of(['MKNOD'], ['MKNOD'])).toContain('CAP_MKNOD'));
  test('privileged has what the host has', () => {
    expect(containerCapabilities({ add: [], drop: ['ALL'], privileged: true }, ['CAP_KILL'])).toEqual(['CAP_KILL']);
  });
  test('masks as /proc shows them', () => {
    expect(capabilitiesOfMask('0000000000000001')).toEqual(['CAP_CHOWN']);
    expect(capabilitiesOfMask('000001fffeffffff')).not.toContain('CAP_SYS_RESOURCE');
    expect(capabilitiesOfMask('000001ffffffffff')).toEqual(allCapabilities);
  });
  test('only root has effective ones', () => {
    expect(capabilitySets(['CAP_KILL'], false)).toEqual({ bounding: ['CAP_KILL'], effective: [], permitted: [] });
    expect(capabilitySets(['CAP_KILL'], true).effective).toEqual(['CAP_KILL']);
  });
});

describe('devices', () => {
  const host = (changes: Partial<HostConfig>) => ({
    privileged: false,
    devices: [],
    deviceCgroupRules: [],
    blkioWeightDevice: [],
    blkioDeviceReadBps: [],
    blkioDeviceWriteBps: [],
    blkioDeviceReadIOps: [],
    blkioDeviceWriteIOps: [],
    ...changes,
  });
  const device = (pathOnHost: string, pathInContainer = '', cgroupPermissions = '') => ({
    pathOnHost,
    pathInContainer,
    cgroupPermissions,
  });

  test('a device under another name, with its rule', () => {
    const { nodes, rules } = resolveDevices(host({ devices: [device('/dev/null', '/dev/void', 'r')] }));
    expect(nodes).toEqual([{ type: 'c', path: '/dev/void', major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 }]);
    expect(rules).toEqual([{ allow: true, type: 'c', major: 1, minor: 3, access: 'r' }]);
  });
  test.each([
    [device('/dev/nope'), 'error gathering device information while adding custom device "/dev/nope": no such file'],
    [device('/etc/passwd'), 'not a device node'],
    [device('/proc/self/attr'), 'no devices in this folder'],
    [device('/dev/null', '', 'x'), 'bad mode specified: x'],
    [device('/dev/null', '', 'rr'), 'bad mode specified: rr'],
  ])('%j is refused', (request, message) => {
    expect(() => resolveDevices(host({ devices: [request] }))).toThrow(message);
  });
  test('limits need block devices', () => {
    const of = (path: string) => () => resolveDevices(host({ blkioDeviceReadBps: [{ path, rate: 1 }] }));
    expect(of('/dev/nope')).toThrow('stat /dev/nope: no such file or directory');
    expect(of('/dev/null')).toThrow('/dev/null is not a block device');
  });
  test('a privileged container has the host’s devices but those of its own making', () => {
    const { nodes, rules } = resolveDevices(host({ privileged: true, devices: [device('/dev/null', '/dev/void')] }));
    const paths = nodes.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['/dev/null', '/dev/kmsg', '/dev/void']));
    for (const own of ['/dev/ptmx', '/dev/console']) expect(paths).not.toContain(own);
    expect(paths.filter((path) => path.startsWith('/dev/pts/'))).toEqual([]);
    expect(rules).toEqual([{ allow: true, access: 'rwm' }]);
  });
  test.each([
    ['c 42:7 rwm', { allow: true, type: 'c', major: 42, minor: 7, access: 'rwm' }],
    ['b 8:* r', { allow: true, type: 'b', major: 8, access: 'r' }],
    ['a *:* rwm', { allow: true, type: 'a', access: 'rwm' }],
  ])('rule %s', (rule, want) => expect(parseDeviceRule(rule)).toEqual(want));
  test.each(['', 'c', 'c 1:2:3 r', 'd 1:1 r', 'c 1:1 z', 'c -1:1 r', ' c 1:1 r'])('rule %j is refused', (rule) => {
    expect(() => parseDeviceRule(rule)).toThrow('invalid device cgroup rule format');
  });
  test.each([
    [0x0103, [1, 3]],
    [0xfe00, [254, 0]],
    [0x12_0034_56, [0x34, 0x12056]],
  ])('numbers of %d', (rdev, numbers) => expect(deviceNumbers(rdev)).toEqual(numbers));
});

test.each([
  [['noexec', 'exec'], ['exec']],
  [
    ['nosuid', 'size=1m', 'size=2m'],
    ['nosuid', 'size=2m'],
  ],
  [
    ['defaults', 'rw', 'mode=1777'],
    ['rw', 'mode=1777'],
  ],
  [['rprivate', 'shared'], ['shared']],
])('mergeTmpfsOptions %j', (options, merged) => expect(mergeTmpfsOptions(options)).toEqual(merged));

test.each(['bind', 'size', 'size=', 'mode=9', 'uid=root', 'context=x', '', 'SIZE=1m'])(
  'tmpfs option %j is refused',
  (option) => {
    expect(() => mergeTmpfsOptions([option])).toThrow('invalid tmpfs option');
  },
);

test.each([
  ['0-2,7', [0, 1, 2, 7]],
  ['3', [3]],
  ['0, 1', [0, 1]],
])('parseCpuList %s', (list, numbers) => expect([...parseCpuList(list)!]).toEqual(numbers));
test.each(['', '2-1', 'x', '0-', '0-99999', '1,,2', '-1'])('parseCpuList refuses %j', (list) => {
  expect(parseCpuList(list)).toBeUndefined();
});

describe('buildExecProcess', () => {
  const container: OciProcess = {
    terminal: true,
    consoleSize: { height: 1, width: 1 },
    user: { uid: 0, gid: 0, additionalGids: [0] },
    args: ['/bin/server'],
    env: ['PATH=/bin', 'HOME=/root', 'A=1'],
    cwd: '/srv',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
    noNewPrivileges: true,
    apparmorProfile: 'docker-default',
    oomScoreAdj: 5,
  };
  const exec = { command: ['ps'], env: [], workingDir: '', tty: false, privileged: false };

  test('inherits what is not said', () => {
    expect(buildExecProcess(container, exec, undefined, ['CAP_KILL', 'CAP_SYS_ADMIN'])).toEqual({
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [0] },
      args: ['ps'],
      env: ['PATH=/bin', 'HOME=/root', 'A=1'],
      cwd: '/srv',
      capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
      noNewPrivileges: true,
      apparmorProfile: 'docker-default',
      oomScoreAdj: 5,
    });
  });
  test('another user has a home and no capabilities of its own', () => {
    const user = { uid: 7, gid: 8, additionalGids: [8, 9], home: '/home/u' };
    const process = buildExecProcess(container, { ...exec, env: ['A=2'] }, user, []);
    expect(process.user).toEqual({ uid: 7, gid: 8, additionalGids: [8, 9] });
    expect(process.env).toEqual(['PATH=/bin', 'HOME=/home/u', 'A=2']);
    expect(process.capabilities.effective).toEqual([]);
  });
  test('privileged has all capabilities and no profile', () => {
    const process = buildExecProcess(container, { ...exec, privileged: true }, undefined, [
      'CAP_KILL',
      'CAP_SYS_ADMIN',
    ]);
    expect(process.capabilities.effective).toEqual(['CAP_KILL', 'CAP_SYS_ADMIN']);
    expect(process.apparmorProfile).toBe('unconfined');
  });
  test('a terminal has a size and a type', () => {
    const process = buildExecProcess(container, { ...exec, tty: true, consoleSize: [24, 80] }, undefined, []);
    expect(process).toMatchObject({ terminal: true, consoleSize: { height: 24, width: 80 } });
    expect(process.env).toContain('TERM=xterm');
  });
  test('refuses no command and a relative folder', () => {
    expect(() => buildExecProcess(container, { ...exec, command: [] }, undefined, [])).toThrow(
      'No exec command specified',
    );
    expect(() => buildExecProcess(container, { ...exec, workingDir: 'x' }, undefined, [])).toThrow("'x' is invalid");
  });
});
