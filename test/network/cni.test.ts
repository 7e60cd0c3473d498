import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { NetworkService } from '../../src/network/index.ts';
import { CniLab } from '../support/cni-lab.ts';
import { type NetworkLab, Peer } from '../support/network-lab.ts';

const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

let cni: CniLab;
let lab: NetworkLab;
let service: NetworkService;
let confDir: string;
let binDir: string;
let outside: Peer;

beforeAll(async () => {
  cni = await CniLab.open();
  ({ lab, service, confDir, binDir } = cni);
  outside = new Peer(lab.outside);
  await outside.serve('tcp', 7000);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await cni[Symbol.asyncDispose]();
});
afterEach(() => cni.clear());

/** A plugin that writes down what it is told, and does as `body` says. */
function ownPlugin(name: string, body: string): string {
  const log = join(lab.root, `${name}.log`);
  rmSync(log, { force: true });
  const script = `#!/bin/sh
input=$(cat)
printf '%s %s\\n' "$CNI_COMMAND" "$input" >> ${log}
env | grep -v '^\\(PWD\\|OLDPWD\\|SHLVL\\|_\\)=' | sort > ${log}.env
${body}
`;
  writeFileSync(join(binDir, name), script);
  chmodSync(join(binDir, name), 0o755);
  return log;
}

const told = (log: string): { command: string; config: Record<string, unknown> }[] =>
  readFileSync(log, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => ({ command: line.split(' ', 1)[0]!, config: JSON.parse(line.slice(line.indexOf(' '))) }));

test('packets on a bridge of a plugin, with a port published by another', async () => {
  cni.conflist('bridged', [
    {
      type: 'bridge',
      bridge: 'cni1',
      isDefaultGateway: true,
      ipMasq: true,
      ipam: cni.hostLocal('10.84.0.0/24', { routes: [] }),
    },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    { type: 'bandwidth', capabilities: { bandwidth: true } },
  ]);
  const port = { hostIp: '', hostPort: 8084, hostPortEnd: 8084, containerPort: 80, protocol: 'tcp' as const };
  const a = await cni.connect('a', 'bridged', {
    ports: [port],
    driverOptions: { 'bandwidth.ingressRate': '50000000', 'bandwidth.egressRate': '50000000' },
  });
  const b = await cni.connect('b', 'bridged');
  await using peerA = new Peer(service.namespacePath('a'));
  await using peerB = new Peer(service.namespacePath('b'));
  await peerA.serve('tcp', 80);
  expect(a.ports.map(({ hostPort }) => hostPort)).toContain(8084);
  expect(await peerB.ask('tcp', ip(a.ipv4), 80)).toBe(ip(b.ipv4));
  expect(await peerB.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  expect(await outside.ask('tcp', lab.hostAddress, 8084)).toBe(lab.outsideAddress);
  expect(await lab.sh('tc qdisc show')).toContain('rate 50Mbit');
  // Ours publishes nothing for it: the plugin does.
  expect(await lab.sh('nft list tables')).not.toContain('tare-1ab00000');
  await cni.end('a', 'bridged');
  await cni.end('b', 'bridged');
  expect((await cni.traces()).filter((trace) => trace.includes('10.84.'))).toEqual([]);
  await lab.sh('ip link delete cni1');
});

test('what the specification says is what a plugin is told', async () => {
  const first = ownPlugin(
    'first',
    `[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/ns","mac":"02:00:00:00:00:07"}],"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1","interface":0},{"address":"2001:db8::7/64"}]}'; exit 0`,
  );
  const second = ownPlugin(
    'second',
    `[ "$CNI_COMMAND" = ADD ] && printf '%s' "$input" | sed 's/.*"prevResult"://; s/}$//'; exit 0`,
  );
  const capabilities = { ips: true, mac: true, aliases: true, dns: true };
  cni.conflist(
    'own',
    [
      { type: 'first', key: 1 },
      { type: 'second', capabilities },
    ],
    {
      cniVersion: '1.0.0',
      cniVersions: ['1.0.0', '1.1.0', '9.0.0'],
    },
  );
  const a = await cni.connect('a', 'own', {
    ...{ ipv4: '192.0.2.7', macAddress: '02:00:00:00:00:07', aliases: ['db'] },
    dns: { servers: ['192.0.2.53'], searches: ['example.org'], options: ['ndots:1'] },
  });
  expect(a).toMatchObject({
    ...{ ipv4: '192.0.2.7/24', gatewayIpv4: '192.0.2.1', ipv6: '2001:db8::7/64', gatewayIpv6: '' },
    ...{ macAddress: '02:00:00:00:00:07', interfaceName: 'eth0' },
  });
  expect(readFileSync(`${first}.env`, 'utf8').trimEnd().split('\n')).toEqual([
    'CNI_ARGS=IgnoreUnknown=1;IP=192.0.2.7;MAC=02:00:00:00:00:07',
    'CNI_COMMAND=ADD',
    'CNI_CONTAINERID=a',
    'CNI_IFNAME=eth0',
    `CNI_NETNS=${service.namespacePath('a')}`,
    `CNI_PATH=${binDir}:/usr/lib/cni`,
    `PATH=${process.env['PATH']}`,
  ]);
  await service.reconcile(() => true);
  await cni.end('a', 'own');
  const result = expect.objectContaining({ interfaces: expect.anything() });
  const runtimeConfig = {
    ...{ ips: ['192.0.2.7'], mac: '02:00:00:00:00:07', aliases: { own: ['db'] } },
    dns: { servers: ['192.0.2.53'], searches: ['example.org'], options: ['ndots:1'] },
  };
  expect(told(first)).toEqual([
    { command: 'STATUS', config: { type: 'first', key: 1, name: 'own', cniVersion: '1.1.0' } },
    { command: 'ADD', config: { type: 'first', key: 1, name: 'own', cniVersion: '1.1.0' } },
    { command: 'CHECK', config: expect.objectContaining({ prevResult: result }) },
    { command: 'DEL', config: expect.objectContaining({ prevResult: result }) },
  ]);
  expect(told(second).map(({ command }) => command)).toEqual(['STATUS', 'ADD', 'CHECK', 'DEL']);
  expect(told(second)[1]!.config).toEqual({
    ...{ type: 'second', name: 'own', cniVersion: '1.1.0', runtimeConfig, prevResult: result },
  });
});

test('garbage is collected only where the conflists are ours alone', async () => {
  const log = ownPlugin('first', `[ "$CNI_COMMAND" = ADD ] && echo '{}'; exit 0`);
  cni.conflist('own', [{ type: 'first' }], { cniVersion: '1.1.0' });
  await cni.connect('a', 'own');
  await service.reconcile(() => true);
  expect(told(log).map(({ command }) => command)).not.toContain('GC');
  const owner = await lab.openService({ cni: { confDir, binDirs: [binDir] }, ownsCni: true });
  await owner.reconcile(() => true);
  expect(told(log).at(-1)).toEqual({
    command: 'GC',
    config: expect.objectContaining({ 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }] }),
  });
});

test.each([
  {
    what: 'its own words',
    body: `echo '{"code":7,"msg":"bad subnet","details":"10.0.0.0/99"}'; exit 1`,
    text: 'CNI plugin first ADD: bad subnet: 10.0.0.0/99 (CNI error 7)',
    kind: 'InvalidArgument',
  },
  {
    what: 'nothing but noise',
    body: `printf 'a\\033[31m b\\n' >&2; exit 3`,
    text: 'CNI plugin first ADD: a [31m b',
    kind: 'Unavailable',
  },
  { what: 'no JSON', body: 'echo hello', text: 'CNI plugin first ADD: its answer is not JSON', kind: 'Unavailable' },
  { what: 'without end', body: 'cat /dev/zero', text: 'it printed more than 1048576 bytes', kind: 'Unavailable' },
])('a plugin that fails with $what; everything is taken back', async ({ body, text, kind }) => {
  const before = ownPlugin('before', `[ "$CNI_COMMAND" = ADD ] && echo '{}'; exit 0`);
  const log = ownPlugin('first', `[ "$CNI_COMMAND" = ADD ] || exit 0; ${body}`);
  cni.conflist('own', [{ type: 'before' }, { type: 'first' }]);
  await expect(cni.connect('a', 'own')).rejects.toThrow(
    expect.objectContaining({ message: expect.stringContaining(text), kind }),
  );
  expect(told(log).map(({ command }) => command)).toEqual(['ADD', 'DEL']);
  expect(told(before).map(({ command }) => command)).toEqual(['ADD', 'DEL']);
  expect(service.endpoints({})).toEqual([]);
});

test('a failed CHECK and a missing plugin say so', async () => {
  ownPlugin(
    'first',
    `[ "$CNI_COMMAND" = ADD ] && echo '{}'; [ "$CNI_COMMAND" = CHECK ] && { echo '{"code":120,"msg":"eth0 is gone"}'; exit 1; }; exit 0`,
  );
  cni.conflist('own', [{ type: 'first' }]);
  await cni.connect('a', 'own');
  await expect(service.reconcile(() => true)).rejects.toThrow('CNI plugin first CHECK: eth0 is gone (CNI error 120)');
  cni.conflist('other', [{ type: 'absent' }]);
  await expect(cni.connect('b', 'other')).rejects.toThrow('CNI plugin absent not found in');
  expect(service.endpoints({ containerId: 'b' })).toEqual([]);
});

test('an attachment outlives its conflist, and a plugin that fails while the namespace is there', async () => {
  const log = ownPlugin(
    'first',
    `[ "$CNI_COMMAND" = ADD ] && echo '{}'; [ "$CNI_COMMAND" = DEL ] && [ -n "$CNI_NETNS" ] && exit 1; exit 0`,
  );
  cni.conflist('own', [{ type: 'first', key: 'kept' }]);
  await cni.connect('a', 'own');
  rmSync(join(confDir, 'own.conflist'));
  expect(service.get('own').driver).toBe('cni');
  // As after a crash: nobody but reconcile knows of it.
  await service.reconcile(() => false);
  expect(told(log).map(({ command, config }) => [command, config['key']])).toEqual([
    ['ADD', 'kept'],
    ['DEL', 'kept'],
    ['DEL', 'kept'],
  ]);
  expect(service.endpoints({})).toEqual([]);
  expect(() => service.get('own')).toThrow('network own not found');
});

test.each([
  { what: 'no JSON', text: '{', why: 'not JSON' },
  {
    what: 'a path for a type',
    text: '{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"../../bin/sh"}]}',
    why: 'invalid type',
  },
  {
    what: 'an unknown version',
    text: '{"name":"x","cniVersion":"7.0.0","plugins":[{"type":"bridge"}]}',
    why: 'want one of 0.3.0',
  },
  { what: 'no plugins', text: '{"name":"x","cniVersion":"1.0.0","plugins":[]}', why: 'want 1 to 64' },
  {
    what: 'a strange name',
    text: '{"name":"../x","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}',
    why: 'invalid name',
  },
])('a conflist with $what hides no other', ({ text, why }) => {
  writeFileSync(join(confDir, '00-bad.conflist'), text);
  cni.conflist('good', [{ type: 'loopback' }]);
  expect(
    service
      .list()
      .filter(({ driver }) => driver === 'cni')
      .map(({ name }) => name),
  ).toEqual(['good']);
  expect(() => service.get('x')).toThrow(why);
});

test('conflists are neither made nor removed by us, and give their names to nobody', async () => {
  cni.conflist('own', [{ type: 'loopback' }]);
  const wanted = { internal: false, enableIPv4: true, enableIPv6: false, ipam: [], options: {}, labels: {} };
  await expect(service.remove('own')).rejects.toThrow('own.conflist: remove that');
  await expect(service.create({ name: 'mine', driver: 'cni', ...wanted })).rejects.toThrow('are the conflists in');
  await expect(service.create({ name: 'own', driver: 'bridge', ...wanted })).rejects.toThrow('already exists');
});
