import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { parseDevice, parseDeviceRule, parseUlimit } from './devices.ts';
import { splitFields } from './fields.ts';
import { parseFilters } from './filters.ts';
import { parseMount } from './mounts.ts';
import { parseNetwork } from './networks.ts';
import { parseExposed, parsePublication } from './ports.ts';
import { parseRestartPolicy } from './restart-policy.ts';
import { parseCpus, parseSize } from './sizes.ts';
import { poolsOf } from './subnets.ts';
import { parseDuration, parseMoment } from './times.ts';
import { parseVolume } from './volumes.ts';

test.each([
  ['512', 512],
  ['1k', 1024],
  ['1.5g', 1.5 * 2 ** 30],
  ['64MiB', 64 * 2 ** 20],
  ['2kb', 2048],
  ['0', 0],
])('size %s', (text, bytes) => expect(parseSize(text, '--memory')).toBe(bytes));

test.each(['', 'x', '1x', '-1', '1 2', '1e5', '99999999p'])('size %j is refused', (text) => {
  expect(() => parseSize(text, '--memory')).toThrow(/invalid size .* --memory/);
});

test.each([
  ['1', 1e9],
  ['.5', 5e8],
  ['1.500000000', 1.5e9],
  ['0.000000001', 1],
])('cpus %s', (text, nano) => expect(parseCpus(text)).toBe(nano));

test.each(['', '.', '-1', '1.0000000001', 'a'])('cpus %j is refused', (text) => {
  expect(() => parseCpus(text)).toThrow(/--cpus/);
});

test.each([
  ['1h30m', 5400e9],
  ['1.5s', 1.5e9],
  ['-10ms', -1e7],
  ['0', 0],
  ['1', undefined],
  ['s', undefined],
  ['1d', undefined],
])('duration %s', (text, nanoseconds) => expect(parseDuration(text)).toBe(nanoseconds));

test.each([
  ['1357133100', '1357133100'],
  ['1357133100.5', '1357133100.5'],
  ['10m', '999400.000000000'],
  ['2013-01-02T13:23:37Z', '1357133017.000000000'],
  ['2013-01-02T13:23:37.25+01:00', '1357129417.250000000'],
])('moment %s', (text, want) => expect(parseMoment(text, '--since', 1_000_000_000)).toBe(want));

test.each(['yesterday', '', '2013-13-01', '1.2.3'])('moment %j is refused', (text) => {
  expect(() => parseMoment(text, '--since')).toThrow(/--since/);
});

test.each([
  ['80', [['80/tcp', '', '']]],
  ['8080:80/UDP', [['80/udp', '', '8080']]],
  ['127.0.0.1::80', [['80/tcp', '127.0.0.1', '']]],
  ['[::1]:90:80', [['80/tcp', '::1', '90']]],
  ['8000-8005:80', [['80/tcp', '', '8000-8005']]],
  [
    '1-2:3-4',
    [
      ['3/tcp', '', '1'],
      ['4/tcp', '', '2'],
    ],
  ],
  ['target=80,published=8080,protocol=sctp', [['80/sctp', '', '8080']]],
])('publish %s', (text, want) => {
  expect(parsePublication(text).map((one) => [one.containerPort, one.hostIp, one.hostPort])).toEqual(want);
});

test.each([
  '',
  '0',
  '65536',
  '1:2:3:4',
  'a:80',
  '::1:80:80',
  '[x]:1:1',
  '5-3',
  '1-2:1-3',
  '80/x',
  '80/tcp/udp',
  'published=1',
  '300.0.0.1:1:1',
])('publish %j is refused', (text) => {
  expect(() => parsePublication(text)).toThrow(/invalid publish option/);
});

test('expose takes ranges', () => {
  expect(parseExposed('80-82/udp')).toEqual(['80/udp', '81/udp', '82/udp']);
  expect(() => parseExposed('http')).toThrow(/--expose/);
});

test('a mount in full', () => {
  expect(
    parseMount('type=volume,source=v,target=/t,ro,volume-label=a=b,"volume-opt=o=addr=1,rw",volume-driver=nfs'),
  ).toEqual({
    Type: 'volume',
    Source: 'v',
    Target: '/t',
    ReadOnly: true,
    VolumeOptions: { Labels: { a: 'b' }, DriverConfig: { Options: { o: 'addr=1,rw' }, Name: 'nfs' } },
  });
});

test.each([
  ['source=v', /target is required/],
  ['target', /must be a key=value pair/],
  ['type=bind,target=/a,volume-nocopy', /cannot mix 'volume-\*' options/],
  ['target=/a,nosuch=1', /unknown option 'nosuch'/],
  ['target=/a,readonly=maybe', /true or false/],
  ['type=tmpfs,target=/a,tmpfs-mode=9', /octal/],
  ['type=bind,target=/a,src=/b,bind-propagation=no', /one of private/],
  ['type=bind,target=/a,src=/b,bind-recursive=readonly', /requires 'readonly'/],
])('mount %s is refused', (text, message) => expect(() => parseMount(text)).toThrow(message));

test.each([
  ['/a', { volume: '/a' }],
  ['/a:/b', { bind: '/a:/b' }],
  ['v:/b:ro,z', { bind: 'v:/b:ro,z' }],
])('volume %s', (text, want) => expect(parseVolume(text)).toEqual(want));

test.each(['', ':', '/a:', ':/b', 'a:b:c:d'])('volume %j is refused', (text) => {
  expect(() => parseVolume(text)).toThrow(/--volume/);
});

test('networks by name and in the long form', () => {
  expect(parseNetwork('host').name).toBe('host');
  expect(parseNetwork('name=n,alias=a,alias=b,ip=10.0.0.3,gw-priority=-5')).toMatchObject({
    name: 'n',
    aliases: ['a', 'b'],
    ipv4: '10.0.0.3',
    gatewayPriority: -5,
  });
  expect(() => parseNetwork('alias=a')).toThrow(/name=NETWORK is missing/);
  expect(() => parseNetwork('name=n,foo=bar')).toThrow(/unknown field "foo"/);
});

test('devices, rules and ulimits', () => {
  expect(parseDevice('/dev/a:rw')).toEqual({
    PathOnHost: '/dev/a',
    PathInContainer: '/dev/a',
    CgroupPermissions: 'rw',
  });
  expect(parseDevice('/dev/a:/dev/b:m').PathInContainer).toBe('/dev/b');
  for (const bad of ['dev', '/dev/a:rr', '/dev/a:/b:x', '/a:/b:r:w'])
    expect(() => parseDevice(bad)).toThrow(/--device/);
  expect(parseDeviceRule('c *:3 rwm')).toBe('c *:3 rwm');
  expect(() => parseDeviceRule('d 1:1 r')).toThrow(/--device-cgroup-rule/);
  expect(parseUlimit('nofile=10:20')).toEqual({ Name: 'nofile', Soft: 10, Hard: 20 });
  expect(parseUlimit('core=-1')).toEqual({ Name: 'core', Soft: -1, Hard: -1 });
  for (const bad of ['nofile=20:10', 'nofile=-1:5', 'x=1', 'core']) expect(() => parseUlimit(bad)).toThrow(/--ulimit/);
});

test('restart policies', () => {
  expect(parseRestartPolicy('on-failure:3', '--restart')).toEqual({ Name: 'on-failure', MaximumRetryCount: 3 });
  for (const bad of ['sometimes', 'always:3', ':3'])
    expect(() => parseRestartPolicy(bad, '--restart')).toThrow(/restart policy/);
});

test('filters of one key are alternatives', () => {
  expect(parseFilters(['a=1', 'A=2', 'label=x=y'])).toBe('{"a":["1","2"],"label":["x=y"]}');
  expect(parseFilters([])).toBeUndefined();
  expect(() => parseFilters(['a'])).toThrow(/KEY=VALUE/);
});

test('addresses find their subnet', () => {
  const none = { gateways: [], ranges: [], auxiliary: {} };
  expect(
    poolsOf({
      subnets: ['10.1.0.0/24', 'fd00::/64'],
      gateways: ['fd00::1', '10.1.0.1'],
      ranges: ['10.1.0.128/25'],
      auxiliary: { a: '10.1.0.5' },
    }),
  ).toEqual([
    { Subnet: '10.1.0.0/24', Gateway: '10.1.0.1', IPRange: '10.1.0.128/25', AuxiliaryAddresses: { a: '10.1.0.5' } },
    { Subnet: 'fd00::/64', Gateway: 'fd00::1' },
  ]);
  expect(() => poolsOf({ ...none, subnets: ['10.1.0.0/24'], gateways: ['10.2.0.1'] })).toThrow(/no matching subnet/);
  expect(() => poolsOf({ ...none, subnets: ['10.1.0.0/16', '10.1.2.0/24'] })).toThrow(/overlap/);
  expect(() => poolsOf({ ...none, subnets: ['10.1.0.0'] })).toThrow(/CIDR/);
});

test('fields are split as CSV', () => {
  expect(splitFields('a,"b,""c""",')).toEqual(['a', 'b,"c"', '']);
  expect(() => splitFields('"a')).toThrow(/not closed/);
  expect(() => splitFields('a"b')).toThrow(/inside a field/);
});

test.each([
  ['publication', parsePublication],
  ['mount', parseMount],
  ['volume', parseVolume],
  ['network', parseNetwork],
  ['device', parseDevice],
  ['ulimit', parseUlimit],
  ['moment', (text: string) => parseMoment(text, '--since')],
] as [string, (text: string) => unknown][])('any text is a %s or refused', (_, parse) => {
  const word = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9=:,./[\]"-]{0,40}$/));
  fc.assert(
    fc.property(word, (text) => {
      try {
        parse(text);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
  );
});
