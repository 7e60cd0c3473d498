import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RouteSocket } from '../../src/linux/index.ts';
import type { ConnectRequest, Endpoint, NetworkService } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

let lab: NetworkLab;
let service: NetworkService;
let confDir: string;
let binDir: string;
let outside: Peer;

beforeAll(async () => {
  lab = await NetworkLab.open();
  confDir = join(lab.root, 'net.d');
  binDir = join(lab.root, 'bin');
  for (const folder of [confDir, binDir]) mkdirSync(folder);
  service = await lab.openService({ cni: { confDir, binDirs: [binDir, '/usr/lib/cni'] } });
  await lab.sh('ip link add lan0 type veth peer name lan1; ip link set lan0 up; ip link set lan1 up');
  outside = new Peer(lab.outside);
  await outside.serve('tcp', 7000);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  await service.reconcile(() => false);
  for (const folder of [confDir, binDir]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
  }
});

const hostLocal = (subnet: string, more = {}) => ({
  ...{ type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }], dataDir: join(lab.root, 'ipam') },
  ...more,
});

function conflist(name: string, plugins: object[], more: object = {}): void {
  writeFileSync(join(confDir, `${name}.conflist`), JSON.stringify({ cniVersion: '1.0.0', name, plugins, ...more }));
}

async function connect(containerId: string, networkId: string, more: Partial<ConnectRequest> = {}): Promise<Endpoint> {
  const netns = service.createNamespace(containerId);
  return await service.connect({ containerId, networkId, netns, ports: [], ...more });
}

async function end(containerId: string, networkId: string): Promise<void> {
  await service.deleteNamespace(containerId);
  await service.disconnect(containerId, service.get(networkId).id);
}

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

/** What plugins leave on the host: links, addresses given out, rules. */
async function traces(): Promise<string[]> {
  using route = new RouteSocket();
  const folder = join(lab.root, 'ipam');
  const given = existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];
  return [
    ...route.links().map(({ name }) => name),
    ...given.filter((name) => /\/[0-9a-f][0-9a-f.:]*$/.test(name)),
    ...(await lab.sh('iptables-save; ip6tables-save')).split('\n').filter((line) => /CNI-DN|10\.8\d\./.test(line)),
  ].sort();
}

describe('the plugins of the CNI project', () => {
  const examples = () => [
    {
      name: 'bridged',
      plugins: [
        {
          type: 'bridge',
          bridge: 'cni0',
          isDefaultGateway: true,
          ipMasq: true,
          hairpinMode: true,
          ipam: hostLocal('10.81.0.0/24', { routes: [] }),
        },
        { type: 'portmap', capabilities: { portMappings: true }, snat: true },
        { type: 'firewall', backend: 'iptables' },
        {
          type: 'bandwidth',
          ingressRate: 80_000_000,
          ingressBurst: 80_000_000,
          egressRate: 80_000_000,
          egressBurst: 80_000_000,
        },
        { type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } },
      ],
    },
    { name: 'direct', plugins: [{ type: 'ptp', ipMasq: true, ipam: hostLocal('10.82.0.0/24') }] },
    {
      name: 'wire',
      plugins: [{ type: 'macvlan', master: 'lan0', ipam: hostLocal('10.83.0.0/24', { routes: [] }) }],
    },
    { name: 'alone', plugins: [{ type: 'loopback' }] },
  ];

  test.each(['bridged', 'direct', 'wire', 'alone'])('ADD, CHECK and DEL of %s', async (name) => {
    const { plugins } = examples().find((example) => example.name === name)!;
    conflist(name, plugins);
    expect(service.list()).toContainEqual(expect.objectContaining({ name, driver: 'cni' }));
    const before = (await traces()).filter((trace) => trace !== 'cni0');
    const endpoint = await connect('a', name);
    if (name !== 'alone') {
      expect(endpoint.ipv4).toMatch(/^10\.8\d\.0\.2\/24$/);
      expect(endpoint.macAddress).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      expect(await lab.sh('ip -o -4 address show eth0', service.namespacePath('a'))).toContain(endpoint.ipv4);
    }
    await service.reconcile(() => true);
    await end('a', name);
    // The bridge is the plugin's, and stays.
    expect((await traces()).filter((trace) => trace !== 'cni0')).toEqual(before);
    expect(service.endpoints({})).toEqual([]);
  });
});

test('packets on a bridge of a plugin, with a port published by another', async () => {
  conflist('bridged', [
    {
      type: 'bridge',
      bridge: 'cni1',
      isDefaultGateway: true,
      ipMasq: true,
      ipam: hostLocal('10.84.0.0/24', { routes: [] }),
    },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    { type: 'bandwidth', capabilities: { bandwidth: true } },
  ]);
  const port = { hostIp: '', hostPort: 8084, hostPortEnd: 8084, containerPort: 80, protocol: 'tcp' as const };
  const a = await connect('a', 'bridged', {
    ports: [port],
    driverOptions: { 'bandwidth.ingressRate': '50000000', 'bandwidth.egressRate': '50000000' },
  });
  const b = await connect('b', 'bridged');
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
  await end('a', 'bridged');
  await end('b', 'bridged');
  expect((await traces()).filter((trace) => trace.includes('10.84.'))).toEqual([]);
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
  conflist(
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
  const a = await connect('a', 'own', {
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
  await end('a', 'own');
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
  conflist('own', [{ type: 'first' }], { cniVersion: '1.1.0' });
  await connect('a', 'own');
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
  conflist('own', [{ type: 'before' }, { type: 'first' }]);
  await expect(connect('a', 'own')).rejects.toThrow(
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
  conflist('own', [{ type: 'first' }]);
  await connect('a', 'own');
  await expect(service.reconcile(() => true)).rejects.toThrow('CNI plugin first CHECK: eth0 is gone (CNI error 120)');
  conflist('other', [{ type: 'absent' }]);
  await expect(connect('b', 'other')).rejects.toThrow('CNI plugin absent not found in');
  expect(service.endpoints({ containerId: 'b' })).toEqual([]);
});

test('an attachment outlives its conflist, and a plugin that fails while the namespace is there', async () => {
  const log = ownPlugin(
    'first',
    `[ "$CNI_COMMAND" = ADD ] && echo '{}'; [ "$CNI_COMMAND" = DEL ] && [ -n "$CNI_NETNS" ] && exit 1; exit 0`,
  );
  conflist('own', [{ type: 'first', key: 'kept' }]);
  await connect('a', 'own');
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
  conflist('good', [{ type: 'loopback' }]);
  expect(
    service
      .list()
      .filter(({ driver }) => driver === 'cni')
      .map(({ name }) => name),
  ).toEqual(['good']);
  expect(() => service.get('x')).toThrow(why);
});

test('conflists are neither made nor removed by us, and give their names to nobody', async () => {
  conflist('own', [{ type: 'loopback' }]);
  const wanted = { internal: false, enableIPv4: true, enableIPv6: false, ipam: [], options: {}, labels: {} };
  await expect(service.remove('own')).rejects.toThrow('own.conflist: remove that');
  await expect(service.create({ name: 'mine', driver: 'cni', ...wanted })).rejects.toThrow('are the conflists in');
  await expect(service.create({ name: 'own', driver: 'bridge', ...wanted })).rejects.toThrow('already exists');
});
