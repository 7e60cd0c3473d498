import { existsSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bindPort, RouteSocket } from '../../src/linux/index.ts';
import type { Endpoint, NetworkService, PortRequest } from '../../src/network/index.ts';
import { holdPublished } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const publish = (hostPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  ...{ hostIp: '', hostPort, hostPortEnd: hostPort, containerPort: 80, protocol: 'tcp' as const },
  ...more,
});

let lab: NetworkLab;
let service: NetworkService;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(() => service.reconcile(() => false));

async function connect(containerId: string, ports: PortRequest[] = [], networkId = 'bridge'): Promise<Endpoint> {
  const netns = service.createNamespace(containerId);
  return await service.connect({ containerId, networkId, netns, ports });
}

const hostLinks = (): string[] => {
  using route = new RouteSocket();
  return route.links().map(({ name }) => name);
};

/** What the kernel and the records still hold of containers. */
async function leftovers(): Promise<string[]> {
  // Links go with their namespace, which the kernel takes apart at its leisure.
  for (let wait = 0; wait < 100 && hostLinks().some((name) => name.startsWith('veth')); wait += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const netns = join(lab.execRoot, 'netns');
  const rules = await lab.sh('nft list maps');
  return [
    ...hostLinks().filter((name) => name.startsWith('veth')),
    ...(existsSync(netns) ? readdirSync(netns) : []),
    ...(await lab.sh('cat /proc/self/mounts')).split('\n').filter((line) => line.includes(netns)),
    ...rules.split('\n').filter((line) => line.includes('elements')),
    ...service.endpoints({}).map(({ id }) => id),
    ...lab.db.all<{ host_port: number }>('SELECT host_port FROM ports').map(({ host_port }) => `port ${host_port}`),
  ];
}

test('an address just released is not at once given to the next container', async () => {
  const first = await connect('a');
  await service.disconnect('a', service.get('bridge').id);
  service.deleteNamespace('a');
  const second = await connect('b');
  expect(second.ipv4).not.toBe(first.ipv4);
});

test('connecting again after a run that was cut short takes over its endpoint', async () => {
  await connect('a', [publish(8080)]);
  service.deleteNamespace('a');
  const again = await connect('a', [publish(8080)]);
  expect(service.endpoints({ containerId: 'a' })).toEqual([again]);
});

test.each([
  { what: 'the same port', held: publish(8080), wanted: publish(8080), address: '0.0.0.0:8080' },
  {
    what: 'all addresses after one',
    held: publish(8080, { hostIp: '127.0.0.1' }),
    wanted: publish(8080),
    address: '0.0.0.0:8080',
  },
  {
    what: 'one address after all',
    held: publish(8080),
    wanted: publish(8080, { hostIp: '127.0.0.1' }),
    address: '127.0.0.1:8080',
  },
  { what: 'IPv6', held: publish(8080), wanted: publish(8080, { hostIp: '::1' }), address: '[::1]:8080' },
])('a port of ours is refused, naming its holder: $what', async ({ held, wanted, address }) => {
  await connect('holder-of-it', [held]);
  const netns = service.createNamespace('late');
  await expect(service.connect({ containerId: 'late', networkId: 'bridge', netns, ports: [wanted] })).rejects.toThrow(
    `Bind for ${address} failed: port is already allocated (by container holder-of-it)`,
  );
  expect(service.endpoints({ containerId: 'late' })).toEqual([]);
});

test('different protocols, addresses and families do not stand in each other’s way', async () => {
  const { ports } = await connect('a', [
    publish(8080),
    publish(8080, { protocol: 'udp' }),
    publish(8081, { hostIp: '127.0.0.1' }),
    publish(8081, { hostIp: '127.0.0.2' }),
    publish(8082, { hostIp: '0.0.0.0' }),
    publish(8082, { hostIp: '::' }),
  ]);
  expect(ports).toHaveLength(8);
});

test.each(['0.0.0.0', '127.0.0.1', '::'])('a port that a program of the host listens on is refused: %s', async (on) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port: 8090, host: on, ipv6Only: true }, resolve));
  const netns = service.createNamespace('late');
  const failed = service.connect({ containerId: 'late', networkId: 'bridge', netns, ports: [publish(8090)] });
  await expect(failed).rejects.toThrow(
    /failed to bind host port for .*:8090:172\.17\.\d+\.\d+:80\/tcp: address already in use/,
  );
  await new Promise((resolve) => server.close(resolve));
});

test('an address that the host does not have is refused', async () => {
  const netns = service.createNamespace('a');
  const ports = [publish(8080, { hostIp: '203.0.113.9' })];
  await expect(service.connect({ containerId: 'a', networkId: 'bridge', netns, ports })).rejects.toThrow(
    /203\.0\.113\.9:8080.*cannot assign requested address/,
  );
});

test.each(['example.org', 'fe80::1%lo', '1.2.3.4 } ; flush ruleset', '300.1.1.1'])(
  'a host address that is none is refused: %j',
  async (hostIp) => {
    const netns = service.createNamespace('a');
    const refused = service.connect({
      containerId: 'a',
      networkId: 'bridge',
      netns,
      ports: [publish(8080, { hostIp })],
    });
    await expect(refused).rejects.toThrow(/invalid host address of a published port: .* is not an IP address/);
  },
);

test('a free port is the same for both families, and of a range the first free one is taken', async () => {
  const { ports } = await connect('a', [publish(0, { hostPortEnd: 0 }), publish(9000, { hostPortEnd: 9002 })]);
  const [v4, v6, first] = ports;
  expect([v4?.hostIp, v6?.hostIp]).toEqual(['0.0.0.0', '::']);
  expect(v4?.hostPort).toBe(v6?.hostPort);
  expect(v4?.hostPort).toBeGreaterThan(49_152);
  expect(first?.hostPort).toBe(9000);
  const second = await connect('b', [publish(9000, { hostPortEnd: 9001 })]);
  expect(second.ports[0]?.hostPort).toBe(9001);
  const netns = service.createNamespace('c');
  const full = service.connect({
    containerId: 'c',
    networkId: 'bridge',
    netns,
    ports: [publish(9000, { hostPortEnd: 9001 })],
  });
  await expect(full).rejects.toThrow(/all ports are allocated in tcp range 9000-9001/);
});

test('a reservation keeps others out and lets the next container in', async () => {
  await connect('a', [publish(8080)]);
  const held = service.publishedPorts().map(holdPublished);
  expect(bindPort({ protocol: 'tcp', address: '0.0.0.0', port: 8080 })).toBeUndefined();
  expect(bindPort({ protocol: 'tcp', address: '::', port: 8080 })).toBeUndefined();
  await service.disconnect('a', service.get('bridge').id);
  // The keeper has not heard yet: its sockets are still there.
  const next = await connect('b', [publish(8080)]);
  expect(next.ports).toHaveLength(2);
  for (const each of held) each[Symbol.dispose]();
});

test('the proxy serves [::1] for a container without IPv6', async () => {
  const { gatewayIpv4 } = await connect('a', [publish(8080)]);
  await using peer = new Peer(service.namespacePath('a'));
  await using here = new Peer();
  await peer.serve('tcp', 80);
  const held = service.publishedPorts().map(holdPublished);
  expect(await here.ask('tcp', '::1', 8080)).toBe(gatewayIpv4);
  expect(await here.ask('tcp', lab.hostAddress6, 8080)).toBe(gatewayIpv4);
  for (const each of held) each[Symbol.dispose]();
  expect(await here.ask('tcp', '::1', 8080)).toBe('ECONNREFUSED');
});

test('an IPv4 container has no IPv6 address and hears no router', async () => {
  await connect('a');
  expect(await lab.sh('ip -6 address show dev eth0', service.namespacePath('a'))).toBe('');
});

test('a UDP client that sends all along is led to the container once its port is published', async () => {
  const { createSocket } = await import('node:dgram');
  const client = createSocket('udp4');
  const answered = new Promise<string>((resolve) => client.on('message', (message) => resolve(message.toString())));
  const timer = setInterval(() => client.send('q', 8085, '127.0.0.1'), 20);
  client.on('error', () => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { gatewayIpv4 } = await connect('a', [publish(8085, { protocol: 'udp' })]);
  await using peer = new Peer(service.namespacePath('a'));
  await peer.serve('udp', 80);
  expect(await answered).toBe(gatewayIpv4);
  clearInterval(timer);
  client.close();
});

test('reconcile removes everything of containers that are not live, wherever their creation stopped', async () => {
  service.createNamespace('only-a-namespace');
  await connect('complete', [publish(8080)]);
  await connect('without-namespace', [publish(8081)]);
  service.deleteNamespace('without-namespace');
  await connect('without-link', [publish(8082)]);
  await lab.sh('ip link delete eth0', service.namespacePath('without-link'));
  await connect('without-rules', [publish(8083)]);
  await lab.sh('nft delete element inet tare-1ab00000 any4 { tcp . 8083 }');
  await service.reconcile(() => false);
  expect(await leftovers()).toEqual([]);
});

test('reconcile removes a link that no record knows', async () => {
  await connect('a');
  await lab.db.write((tx) => tx.run('DELETE FROM endpoints'));
  await service.reconcile((id) => id === 'a');
  expect(hostLinks().filter((name) => name.startsWith('veth'))).toEqual([]);
});

test('reconcile puts back what somebody flushed or removed, for the containers that live', async () => {
  const endpoint = await connect('live', [publish(8080)]);
  await using peer = new Peer(service.namespacePath('live'));
  await using outside = new Peer(lab.outside);
  await peer.serve('tcp', 80);
  await lab.sh('nft flush ruleset; ip link delete tare-1ab00000');
  await service.reconcile((id) => id === 'live');
  expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
  await lab.sh(`ip link delete ${endpoint.hostInterface}`);
  await service.reconcile((id) => id === 'live');
  expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
});

test('a flushed table comes back with the next container', async () => {
  await connect('a');
  await lab.sh('nft flush ruleset');
  await connect('b');
  expect(await lab.sh('nft list tables')).toContain('inet tare-1ab00000');
});

test('a thousand published ports cost no more each than the first', async () => {
  await connect('warm', [publish(10_000)]);
  const times: number[] = [];
  for (let index = 0; index < 10; index += 1) {
    const ports = Array.from({ length: 100 }, (_, port) => publish(11_000 + index * 100 + port, { hostIp: '0.0.0.0' }));
    const started = performance.now();
    await connect(`c${index}`, ports);
    times.push(performance.now() - started);
  }
  const chains = await lab.sh('nft list chain inet tare-1ab00000 publish');
  expect(chains.match(/dnat/g)).toHaveLength(4);
  // Generous: other work shares the machine. A cost that grew with the ports would be tenfold.
  expect(Math.min(...times.slice(-4))).toBeLessThan(4 * Math.min(...times.slice(0, 4)));
}, 30_000);

test('teardown leaves nothing, and only when nobody is connected', async () => {
  await connect('a', [publish(8080)]);
  await service.teardown();
  expect(hostLinks()).toContain('tare-1ab00000');
  await service.disconnect('a', service.get('bridge').id);
  service.deleteNamespace('a');
  await service.teardown();
  expect(hostLinks()).not.toContain('tare-1ab00000');
  expect(await lab.sh('nft list ruleset')).not.toContain('tare');
});
