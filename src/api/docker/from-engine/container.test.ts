import { expect, test } from 'vitest';
import type { ContainerState } from '../../../engine/index.ts';
import { config, host, ID, view } from '../fake-engine.ts';
import { containerInspectOf, containerSummaryOf } from './container.ts';
import { statusText } from './container-state.ts';
import { goFileMode, pathStatHeader } from './path-stat.ts';

const running = view().state;
const now = running.startedMs + 5 * 60_000;
const request = (network: string) => ({
  ...{ network, aliases: [], links: [], ipv4: '', ipv6: '', linkLocalIps: [], macAddress: '' },
  ...{ gatewayPriority: 0, driverOptions: {} },
});
const health = (status: 'starting' | 'healthy' | 'none') => ({ status, failingStreak: 0, log: [] });

test.each<[Partial<ContainerState>, string]>([
  [{ status: 'created' }, 'Created'],
  [{}, 'Up 5 minutes'],
  [{ health: health('healthy') }, 'Up 5 minutes (healthy)'],
  [{ health: health('starting') }, 'Up 5 minutes (health: starting)'],
  [{ health: health('none') }, 'Up 5 minutes'],
  [{ status: 'paused' }, 'Up 5 minutes (Paused)'],
  [{ status: 'exited', exitCode: 137, finishedMs: now - 3000 }, 'Exited (137) 3 seconds ago'],
  [{ status: 'restarting', exitCode: 1, finishedMs: now - 500 }, 'Restarting (1) Less than a second ago'],
  [{ status: 'removing' }, 'Removal In Progress'],
  [{ status: 'dead' }, 'Dead'],
])('status text of %j', (change, want) => expect(statusText({ ...running, ...change }, now)).toBe(want));

const published = view({
  config: { ...config, image: 'busybox', exposedPorts: ['53/udp', '80/tcp'] },
  endpoints: [
    {
      ...view().endpoints[0]!,
      ports: [
        { hostIp: '0.0.0.0', hostPort: 8080, containerPort: 80, protocol: 'tcp' },
        { hostIp: '::', hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      ],
    },
  ],
});

test('ps: ports, command, names, image', () => {
  const summary = containerSummaryOf(published, 'busybox', now, 51);
  expect(summary).toMatchObject({
    Names: ['/web'],
    Image: 'busybox',
    Command: "/bin/sh -c 'echo hello world'",
    Created: 1_700_000_000,
    State: 'running',
    Ports: [
      { PrivatePort: 53, Type: 'udp' },
      { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
      { IP: '::', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
    ],
    HostConfig: { NetworkMode: 'bridge' },
  });
  expect(summary).not.toHaveProperty('SizeRw');
});

test('inspect: the network as docker shows it', () => {
  const { NetworkSettings: network, State } = containerInspectOf(published, 51);
  expect(network).toMatchObject({
    IPAddress: '172.20.0.2',
    IPPrefixLen: 16,
    Gateway: '172.20.0.1',
    Ports: {
      '53/udp': null,
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '::', HostPort: '8080' },
      ],
    },
    Networks: { bridge: { IPAddress: '172.20.0.2', NetworkID: 'd'.repeat(64), DNSNames: null } },
  });
  expect(State).toMatchObject({ Status: 'running', Running: true, Paused: false, FinishedAt: '0001-01-01T00:00:00Z' });
});

test('inspect: a stopped container keeps its networks without addresses', () => {
  const stopped = view({
    state: { ...running, status: 'exited', pid: 0 },
    networking: [request('bridge')],
    endpoints: [],
  });
  expect(containerInspectOf(stopped, 51).NetworkSettings).toMatchObject({
    Ports: {},
    SandboxKey: '',
    Networks: { bridge: { IPAddress: '', EndpointID: '' } },
  });
});

test('inspect: a container that was taken off all its networks has none', () => {
  const stopped = view({ state: { ...running, status: 'exited', pid: 0 }, networking: [], endpoints: [] });
  expect(containerInspectOf(stopped, 51).NetworkSettings.Networks).toEqual({});
});

test.each([
  [43, ['db', 'a'.repeat(12), 'box'], undefined, undefined],
  [44, ['db', 'a'.repeat(12), 'box'], expect.arrayContaining(['db']), undefined],
  [45, ['db'], expect.arrayContaining(['db']), undefined],
  [48, ['db'], expect.arrayContaining(['db']), 7],
])('inspect at 1.%d: names and priority of a network', (version, aliases, dnsNames, priority) => {
  const networking = [{ ...request('back'), aliases: ['db'], gatewayPriority: 7 }];
  const stopped = view({ id: 'a'.repeat(64), networking, endpoints: [] });
  stopped.config = { ...stopped.config, hostname: 'box' };
  const { back } = containerInspectOf(stopped, version).NetworkSettings.Networks;
  expect(back?.Aliases).toEqual(aliases);
  expect(back?.DNSNames).toEqual(dnsNames);
  expect(back?.GwPriority).toEqual(priority);
});

test('inspect: a container in another one’s network has none', () => {
  const joined = view({ host: { ...host, networkMode: `container:${ID}` }, endpoints: [] });
  expect(containerInspectOf(joined, 51).NetworkSettings.Networks).toEqual({});
});

test.each([
  [43, false],
  [48, true],
])('inspect at 1.%d', (version, hasDescriptor) => {
  const descriptor = { mediaType: 'm', digest: 'sha256:0' as never, size: 1 };
  const document = containerInspectOf(view({ imageManifest: descriptor, networking: [] }), version);
  expect('ImageManifestDescriptor' in document).toBe(hasDescriptor);
  expect(document.Config).not.toHaveProperty('MacAddress');
});

test('inspect: the address that was asked for on the main network', () => {
  const asked = { ...request('back'), macAddress: '02:00:00:00:00:01' };
  const document = containerInspectOf(view({ host: { ...host, networkMode: 'back' }, networking: [asked] }), 43);
  expect(document.Config).toMatchObject({ MacAddress: '02:00:00:00:00:01' });
});

test.each([
  { what: 'a file', mode: 0o100644, want: 0o644 },
  { what: 'a directory with the sticky bit', mode: 0o041777, want: 2147483648 + 1048576 + 0o777 },
  { what: 'a setuid file', mode: 0o104755, want: 8388608 + 0o755 },
  { what: 'a link', mode: 0o120777, want: 134217728 + 0o777 },
  { what: 'a character device', mode: 0o020666, want: 67108864 + 2097152 + 0o666 },
  { what: 'a socket', mode: 0o140755, want: 16777216 + 0o755 },
])('Go’s file mode of $what', ({ mode, want }) => expect(goFileMode(mode)).toBe(want));

test('the path stat header', () => {
  const stat = { name: 'etc', sizeBytes: 4096, mode: 0o040755, modifiedMs: 1_700_000_000_000, linkTarget: '' };
  expect(JSON.parse(Buffer.from(pathStatHeader(stat), 'base64').toString())).toEqual({
    name: 'etc',
    size: 4096,
    mode: 2147484141,
    mtime: '2023-11-14T22:13:20Z',
    linkTarget: '',
  });
});
