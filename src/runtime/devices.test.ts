import { describe, expect, test } from 'vitest';
import { deviceNumbers, parseDeviceRule, resolveDevices } from './devices.ts';
import type { HostConfig } from './settings.ts';

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
