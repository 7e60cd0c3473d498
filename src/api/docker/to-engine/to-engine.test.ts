import { expect, test } from 'vitest';
import { hostConfigOf } from '../from-engine/host-config.ts';
import { createBody, updateBody } from '../schema/container.ts';
import { decodeJson } from '../schema/decode.ts';
import { networkCreateBody } from '../schema/network.ts';
import { toContainerConfig } from './container-config.ts';
import { containerName } from './container-name.ts';
import { toHostConfig } from './host-config.ts';
import { toCreateNetwork } from './network.ts';
import { toNetworking } from './networking.ts';
import { toResourceChange } from './resources.ts';
import { optionalSeconds } from './seconds.ts';

const create = (body: object) => {
  const decoded = decodeJson(createBody, body);
  return {
    config: toContainerConfig(decoded),
    host: toHostConfig(decoded.HostConfig),
    networking: toNetworking(decoded),
  };
};

const given = {
  Hostname: 'h',
  User: '1000:1000',
  Tty: true,
  OpenStdin: true,
  Env: ['A=b', 'C'],
  Cmd: 'date',
  Entrypoint: [],
  Image: 'busybox',
  ExposedPorts: { '80': {}, '53/UDP': {} },
  Volumes: { '/data': {} },
  Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000_000 },
  StopTimeout: 0,
  Labels: { a: 'b' },
  HostConfig: {
    Binds: ['/a:/b:ro'],
    Memory: 1024,
    NanoCpus: 5e8,
    PidsLimit: 0,
    MemorySwappiness: -1,
    OomKillDisable: true,
    BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }],
    BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 10 }],
    Devices: [{ PathOnHost: '/dev/null', PathInContainer: '', CgroupPermissions: '' }],
    Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }],
    PortBindings: { '80/tcp': [{ HostPort: '8000-8010' }], '90': null },
    RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
    NetworkMode: 'default',
    Mounts: [
      { Type: 'bind', Source: '/s', Target: '/t', ReadOnly: true, BindOptions: { Propagation: 'rslave' } },
      { Type: 'volume', Source: 'v', Target: '/v', VolumeOptions: { NoCopy: true, DriverConfig: { Name: 'local' } } },
      { Type: 'tmpfs', Target: '/tmp', TmpfsOptions: { SizeBytes: 10, Mode: 0o1777 } },
      { Type: 'image', Source: 'busybox', Target: '/i', ImageOptions: { Subpath: 'bin' } },
    ],
    MaskedPaths: [],
    Init: false,
    ShmSize: 1000,
    LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
    ConsoleSize: [24, 80],
    Sysctls: { 'net.ipv4.ip_forward': '1' },
    Tmpfs: { '/run': 'size=1m' },
    Annotations: { x: 'y' },
    UTSMode: 'host',
    CapAdd: ['NET_ADMIN'],
  },
  NetworkingConfig: {
    EndpointsConfig: { default: { Aliases: ['web'] }, other: { IPAMConfig: { IPv4Address: '10.0.0.2' } } },
  },
};

test('a create request in the engine’s words', () => {
  const { config, host, networking } = create({ ...given, Hostname: '' });
  expect(config).toMatchObject({
    user: '1000:1000',
    tty: true,
    cmd: ['date'],
    entrypoint: [],
    shell: null,
    exposedPorts: ['80/tcp', '53/udp'],
    volumes: ['/data'],
    healthcheck: { test: ['CMD', 'true'], intervalNs: 1e9, timeoutNs: 0, retries: 0 },
    stopTimeoutSeconds: 0,
  });
  expect(host).toMatchObject({
    memoryBytes: 1024,
    memorySwappiness: null,
    pidsLimit: 0,
    devices: [{ pathOnHost: '/dev/null', pathInContainer: '/dev/null', cgroupPermissions: 'rwm' }],
    portBindings: { '80/tcp': [{ hostIp: '', hostPort: '8000-8010' }], '90/tcp': [] },
    networkMode: '',
    maskedPaths: [],
    readonlyPaths: null,
    init: false,
  });
  expect(networking.map(({ network }) => network)).toEqual(['bridge', 'other']);
  expect(networking[1]?.ipv4).toBe('10.0.0.2');
});

test('inspect echoes what was asked for', () => {
  const { host } = create({ ...given, Hostname: '' });
  const { PortBindings, Mounts, ...asked } = given.HostConfig;
  const { Devices: _devices, MemorySwappiness: _swappiness, ...same } = asked;
  expect(hostConfigOf(host)).toMatchObject({ ...same, NetworkMode: 'bridge', Devices: [{ CgroupPermissions: 'rwm' }] });
  expect(hostConfigOf(host).Mounts).toMatchObject(Mounts);
  expect(Object.keys(hostConfigOf(host).PortBindings)).toEqual(
    Object.keys(PortBindings).map((port) => (port === '90' ? '90/tcp' : port)),
  );
});

test('an image’s command counts unless one is given', () => {
  expect(create({ Image: 'x' }).config).toMatchObject({ cmd: null, entrypoint: null, healthcheck: null });
});

const host = (HostConfig: object, more: object = {}) => ({ HostConfig, ...more });
test.each<[object, string | RegExp]>([
  [{ Env: ['=x'] }, 'invalid environment variable: =x'],
  [{ WorkingDir: 'a' }, "the working directory 'a' is invalid, it needs to be an absolute path"],
  [{ ExposedPorts: { '80/icmp': {} } }, 'invalid port specification: "80/icmp"'],
  [{ ExposedPorts: { '90-80': {} } }, 'invalid port specification: "90-80"'],
  [{ Healthcheck: { Interval: 5 } }, 'Interval in Healthcheck cannot be less than 1ms'],
  [{ Healthcheck: { Retries: -1 } }, 'Retries in Healthcheck cannot be negative'],
  [{ Healthcheck: { Test: ['sh'] } }, /begins with "sh"/],
  [host({ PortBindings: { '80/tcp': [{ HostPort: 'x' }] } }), 'invalid port specification: "x"'],
  [host({ PortBindings: { '80/tcp': [{ HostPort: '70000' }] } }), 'invalid port specification: "70000"'],
  [host({ PortBindings: { '0x50': [] } }), 'invalid port specification: "0x50"'],
  [
    host({ RestartPolicy: { Name: 'never' } }),
    "invalid restart policy: unknown policy 'never'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  ],
  [host({ RestartPolicy: { Name: 'always', MaximumRetryCount: 1 } }), /can only be used with 'on-failure'$/],
  [host({ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: -1 } }), /cannot be negative$/],
  [
    host({ Mounts: [{ Type: 'bind', Target: '/t' }] }),
    'invalid mount config for type "bind": field Source must not be empty',
  ],
  [host({ Mounts: [{ Type: 'bind', Source: 's', Target: '/t' }] }), /'s' mount path must be absolute/],
  [host({ Mounts: [{ Type: 'tmpfs', Target: 't' }] }), /'t' mount path must be absolute/],
  [host({ Mounts: [{ Type: 'tmpfs', Target: '/./' }] }), /destination can't be '\/'/],
  [
    host({ Mounts: [{ Type: 'tmpfs', Target: '/t', BindOptions: {} }] }),
    'invalid mount config for type "tmpfs": field BindOptions must not be specified',
  ],
  [host({ NetworkMode: 'container:x' }, { Hostname: 'h' }), 'conflicting options: hostname and the network mode'],
  [
    host({ NetworkMode: 'host', Links: ['a:b'] }),
    /^conflicting options: host type networking can't be used with links/,
  ],
  [
    host({ NetworkMode: 'container:x', PublishAllPorts: true }),
    'conflicting options: port publishing and the container type network mode',
  ],
  [host({ NetworkMode: 'container:x' }, { MacAddress: '02:00:00:00:00:01' }), /mac-address and the network mode/],
  [{ NetworkingConfig: { EndpointsConfig: { a: { MacAddress: 'x' } } } }, /invalid MAC address: x/],
])('%j is refused', (body, message) => expect(() => create(body)).toThrow(message));

test('the container’s MAC address goes to its main network', () => {
  expect(create({ MacAddress: '02-00-00-00-00-AB' }).networking).toMatchObject([
    { network: 'bridge', macAddress: '02:00:00:00:00:ab' },
  ]);
});

test('an update holds only what it names', () => {
  const change = toResourceChange(
    decodeJson(updateBody, { Memory: 1024, PidsLimit: 0, RestartPolicy: { Name: 'no' } }),
  );
  expect(change).toEqual({
    memoryBytes: 1024,
    pidsLimit: 0,
    restartPolicy: { name: 'no', maximumRetryCount: 0 },
  });
  expect(toResourceChange(decodeJson(updateBody, {}))).toEqual({});
  const fixed = {
    Devices: [{ PathOnHost: '/dev/sda' }],
    DeviceCgroupRules: ['a *:* rwm'],
    Ulimits: [{ Name: 'nofile' }],
  };
  expect(toResourceChange(decodeJson(updateBody, fixed))).toEqual({});
});

test.each([
  ['/web', 'web'],
  ['a1', 'a1'],
  ['A_b.c-d', 'A_b.c-d'],
])('name %s', (text, want) => expect(containerName(text)).toBe(want));
test.each(['', 'a', '/', '-a', 'a b', 'a/b', 'ä1', 'a\n'])('name %j is refused', (text) => {
  expect(() => containerName(text)).toThrow(/^Invalid container name \(.*\), only/s);
});

test.each([
  ['', undefined],
  ['0', undefined],
  ['1700000000', 1700000000],
  ['1700000000.25', 1700000000.25],
  ['2023-11-14T22:13:20Z', 1700000000],
])('moment %j', (text, want) => expect(optionalSeconds('since', text)).toBe(want));
test.each(['x', '10m', '1e5', '2023-99-99'])('moment %s is refused', (text) => {
  expect(() => optionalSeconds('since', text)).toThrow(/invalid value for "since"/);
});

test('a network', () => {
  const body = decodeJson(networkCreateBody, { Name: 'n', IPAM: { Config: [{ Subnet: '10.1.0.0/16' }] } });
  expect(toCreateNetwork(body, 51)).toMatchObject({
    driver: 'bridge',
    enableIPv4: true,
    enableIPv6: false,
    ipam: [{ subnet: '10.1.0.0/16', gateway: '', ipRange: '' }],
  });
});
test.each<[object, RegExp]>([
  [{}, /name must not be empty/],
  [{ Name: 'n', Scope: 'swarm' }, /scope "swarm"/],
  [{ Name: 'n', IPAM: { Driver: 'x' } }, /IPAM driver "x"/],
])('network %j is refused', (body, message) => {
  expect(() => toCreateNetwork(decodeJson(networkCreateBody, body), 51)).toThrow(message);
});
