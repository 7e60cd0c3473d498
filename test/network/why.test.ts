import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { CreateNetwork, Endpoint, NetworkService, PortReach, PortRequest } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const TABLE = 'tare-1ab00000';
const wish = (hostPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  ...{ hostIp: '', hostPort, hostPortEnd: hostPort, containerPort: 80, protocol: 'tcp' as const },
  ...more,
});
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;
const isAnswer = (text: string): boolean => !/ECONN|EHOST|timeout/.test(text);

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;
let host: Peer;
const peers: Peer[] = [];

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService({ defaultNetwork: { enableIPv6: true } });
  outside = new Peer(lab.outside);
  host = new Peer();
});
afterAll(async () => {
  for (const peer of [outside, host]) await peer[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  for (const peer of peers.splice(0)) await peer[Symbol.asyncDispose]();
  await service.reconcile(() => false);
  for (const { name, driver } of service.list()) {
    if (driver === 'bridge' && name !== 'bridge') await service.remove(name);
  }
});

const create = (name: string, more: Partial<CreateNetwork> = {}) =>
  service.create({
    ...{ name, driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: false },
    ...{ ipam: [], options: {}, labels: {} },
    ...more,
  });

async function start(containerId: string, networkId = 'bridge', ports: PortRequest[] = []): Promise<[Endpoint, Peer]> {
  const netns = service.createNamespace(containerId);
  const endpoint = await service.connect({ containerId, networkId, netns, ports });
  const peer = new Peer(netns);
  peers.push(peer);
  await peer.serve('tcp', 80);
  return [endpoint, peer];
}

const why = (id: string, port = 80): PortReach[] => service.reach(id, port, 'tcp');
const told = (reach: PortReach[], who: string, by: string): PortReach => {
  const entry = reach.find((one) => one.who.startsWith(who) && one.by.some((address) => address.includes(by)));
  if (entry === undefined) throw new Error(`nothing said of ${who} by ${by}: ${JSON.stringify(reach, undefined, 1)}`);
  return entry;
};

test('a published port: each way is told, with its rule, and is as told', async () => {
  const [a] = await start('a', 'bridge', [wish(8080)]);
  const [, sibling] = await start('b');
  const reach = why('a');
  const direct = `${ip(a.ipv4)}:80`;
  await lab.sh(`ip route replace ${ip(a.ipv4)} via ${lab.hostAddress}`, lab.outside);

  const siblings = told(reach, 'other containers on network bridge', direct);
  expect(siblings).toMatchObject({ isReachable: true, rule: expect.stringContaining('@within accept') });
  expect(isAnswer(await sibling.ask('tcp', ip(a.ipv4), 80))).toBe(true);

  expect(told(reach, 'this host', direct)).toMatchObject({ isReachable: true });
  expect(isAnswer(await host.ask('tcp', ip(a.ipv4), 80))).toBe(true);

  const element = `element tcp . 8080 : ${ip(a.ipv4)} . 80`;
  expect(told(reach, 'this host, by localhost', '127.0.0.1:8080')).toMatchObject({
    isReachable: true,
    rule: expect.stringContaining(`table inet ${TABLE}, chain publish: dnat by map @any4, ${element}`),
  });
  expect(isAnswer(await host.ask('tcp', '127.0.0.1', 8080))).toBe(true);
  expect(told(reach, 'this host, by localhost', '[::1]:8080').rule).toContain('the keeper listens on [::1]:8080');

  for (const [family, address] of [
    ['IPv4', lab.hostAddress],
    ['IPv6', lab.hostAddress6],
  ] as const) {
    const others = told(
      reach,
      'this host, other hosts, and containers',
      `any ${family} address of this host, port 8080`,
    );
    expect(others.isReachable).toBe(true);
    expect(isAnswer(await outside.ask('tcp', address, 8080))).toBe(true);
  }

  const routed = told(reach, 'other hosts and other networks, by routing', direct);
  expect(routed).toMatchObject({ isReachable: false, rule: expect.stringContaining('chain bridged: drop') });
  expect(await outside.ask('tcp', ip(a.ipv4), 80, 400)).toBe('timeout');
});

test('every rule and element that it names is in the kernel', async () => {
  await start('a', 'bridge', [wish(8080), wish(8081, { hostIp: lab.hostAddress })]);
  const listed = (await lab.sh(`nft list table inet ${TABLE}`)).replace(/\s+/g, ' ');
  for (const { rule } of why('a')) {
    for (const [, chain = ''] of rule.matchAll(/chain (\w+)/g)) expect(listed).toContain(`chain ${chain} {`);
    for (const [, element = ''] of rule.matchAll(/element ([^;]+)/g)) expect(listed).toContain(element.trim());
  }
});

test('a port on localhost is for this host alone', async () => {
  await start('a', 'bridge', [wish(8080, { hostIp: '127.0.0.1' })]);
  const reach = why('a');
  expect(told(reach, 'this host, by localhost', '127.0.0.1:8080').isReachable).toBe(true);
  expect(told(reach, 'other hosts and containers', '127.0.0.1:8080')).toMatchObject({
    isReachable: false,
    rule: expect.stringContaining('chain guard: ip daddr 127.0.0.0/8 drop'),
  });
});

test('a port that is not published', async () => {
  await start('a', 'bridge', [wish(8080)]);
  expect(
    why('a', 81)
      .filter(({ isReachable }) => isReachable)
      .map(({ who }) => who),
  ).toEqual(['other containers on network bridge', 'this host', 'this host']);
});

test('an internal network, one without communication, one that is unprotected', async () => {
  await create('inner', { internal: true });
  await start('a', 'inner');
  expect(told(why('a'), 'other hosts and other networks', ':80')).toMatchObject({
    isReachable: false,
    rule: expect.stringContaining('oifname @internal drop'),
  });
  await create('mute', { options: { 'com.docker.network.bridge.enable_icc': 'false' } });
  const [b] = await start('b', 'mute');
  const [, c] = await start('c', 'mute');
  expect(told(why('b'), 'other containers on network mute', ':80')).toMatchObject({
    isReachable: false,
    rule: expect.stringContaining('enable_icc=false'),
  });
  expect(isAnswer(await c.ask('tcp', ip(b.ipv4), 80, 400))).toBe(false);
  await create('open', { options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected' } });
  await start('d', 'open');
  expect(told(why('d'), 'other hosts, by routing', ':80')).toMatchObject({
    isReachable: true,
    rule: expect.stringContaining('@unprotected4 accept'),
  });
});

test('a routed network: published ports by their own address, no others', async () => {
  await create('direct', { options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' } });
  const [a] = await start('a', 'direct', [wish(8080, { hostIp: '0.0.0.0' })]);
  expect(told(why('a'), 'other hosts and other networks, by routing', `${ip(a.ipv4)}:80`)).toMatchObject({
    isReachable: true,
    rule: expect.stringContaining(`@routed4 accept, element ${ip(a.ipv4)} . tcp . 80`),
  });
  expect(told(why('a', 81), 'other hosts and other networks, by routing', ':81').isReachable).toBe(false);
});

test('an element that somebody took out of the kernel is told as missing', async () => {
  await start('a', 'bridge', [wish(8080)]);
  await lab.sh(`nft flush map inet ${TABLE} any4`);
  expect(told(why('a'), 'this host, by localhost', '127.0.0.1')).toMatchObject({
    isReachable: false,
    rule: expect.stringContaining('the kernel does not have it now'),
  });
});

test.each([
  { networkId: 'host', who: 'whoever reaches this host', isReachable: true },
  { networkId: 'none', who: 'nobody', isReachable: false },
])('on network $networkId', async ({ networkId, who, isReachable }) => {
  const netns = service.createNamespace('a');
  await service.connect({ containerId: 'a', networkId, netns, ports: [] });
  expect(why('a')).toMatchObject([{ who, isReachable }]);
});

test('a container that does not run', () => {
  expect(why('nothing')).toMatchObject([{ who: 'nobody', isReachable: false }]);
});
