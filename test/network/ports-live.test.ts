import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { CreateNetwork, Endpoint, NetworkService, PortRequest } from '../../src/network/index.ts';
import { holdPublished } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const wish = (hostPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  ...{ hostIp: '', hostPort, hostPortEnd: hostPort, containerPort: 80, protocol: 'tcp' as const },
  ...more,
});
const pick = (hostPort: number, containerPort = 80, hostIp = '') => ({
  ...{ hostIp, hostPort, containerPort, protocol: 'tcp' as const },
});

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;
let host: Peer;
let inside: Peer;
let bridge: string;

const create = (name: string, more: Partial<CreateNetwork> = {}) =>
  service.create({
    ...{ name, driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: true },
    ...{ ipam: [], options: {}, labels: {} },
    ...more,
  });
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService({ defaultNetwork: { enableIPv6: true }, containerName: (id) => `box-${id}` });
  bridge = service.get('bridge').id;
  outside = new Peer(lab.outside);
  host = new Peer();
});
afterAll(async () => {
  for (const peer of [outside, host]) await peer[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  await inside?.[Symbol.asyncDispose]();
  await service.reconcile(() => false);
  for (const { name, driver } of service.list())
    if (driver === 'bridge' && name !== 'bridge') await service.remove(name);
});

async function start(containerId: string, networkId = 'bridge', ports: PortRequest[] = []): Promise<Endpoint> {
  const netns = service.createNamespace(containerId);
  const endpoint = await service.connect({ containerId, networkId, netns, ports });
  inside = new Peer(netns);
  await Promise.all([inside.serve('tcp', 80), inside.serve('udp', 80), inside.serve('tcp', 81)]);
  return endpoint;
}

test('a port comes to a running container and goes, in both families, while the others stay', async () => {
  await start('a', 'bridge', [wish(8080)]);
  expect(await outside.ask('tcp', lab.hostAddress, 8090)).toBe('ECONNREFUSED');
  const [added] = await service.publish('a', bridge, [wish(8090)]);
  expect(added).toEqual([
    { hostIp: '0.0.0.0', hostPort: 8090, containerPort: 80, protocol: 'tcp' },
    { hostIp: '::', hostPort: 8090, containerPort: 80, protocol: 'tcp' },
  ]);
  expect(await outside.ask('tcp', lab.hostAddress, 8090)).toBe(lab.outsideAddress);
  expect(await outside.ask('tcp', lab.hostAddress6, 8090)).toBe(lab.outsideAddress6);
  expect(await host.ask('tcp', '127.0.0.1', 8090)).not.toBe('ECONNREFUSED');
  // The container asks itself by the host's address: its bridge port turns frames around.
  expect(await inside.ask('tcp', lab.hostAddress, 8090)).not.toMatch(/ECONN|timeout/);
  await service.unpublish('a', [pick(8090)]);
  expect(await outside.ask('tcp', lab.hostAddress, 8090)).toBe('ECONNREFUSED');
  expect(await outside.ask('tcp', lab.hostAddress6, 8090)).toBe('ECONNREFUSED');
  expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
  expect(service.publishedPorts().map(({ hostPort }) => hostPort)).toEqual([8080, 8080]);
});

test('UDP: a client that never paused is led anew when its port comes and goes', async () => {
  await start('a');
  await service.publish('a', bridge, [wish(8091, { protocol: 'udp' })]);
  expect(await outside.ask('udp', lab.hostAddress, 8091)).toBe(lab.outsideAddress);
  await service.unpublish('a', [{ ...pick(8091), protocol: 'udp' }]);
  expect(await outside.ask('udp', lab.hostAddress, 8091, 400)).toBe('timeout');
});

test('one address of a mapping may go alone', async () => {
  await start('a', 'bridge', [wish(8080)]);
  await service.unpublish('a', [pick(8080, 80, '::')]);
  expect(await outside.ask('tcp', lab.hostAddress6, 8080)).toBe('ECONNREFUSED');
  expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
});

test('all or none: a request with one port that is taken changes nothing, and names who has it', async () => {
  await start('a', 'bridge', [wish(8080)]);
  await inside[Symbol.asyncDispose]();
  await start('b');
  await expect(service.publish('b', bridge, [wish(8092), wish(8080)])).rejects.toThrow(
    'Bind for 0.0.0.0:8080 failed: port is already allocated (by container box-a)',
  );
  expect(await outside.ask('tcp', lab.hostAddress, 8092)).toBe('ECONNREFUSED');
  await expect(service.unpublish('a', [pick(8080), pick(8093)])).rejects.toThrow('port 8093:80/tcp is not published');
  expect(service.publishedPorts().map(({ hostPort }) => hostPort)).toEqual([8080, 8080]);
});

test('a port that a program holds is refused, with its name and number', async () => {
  await start('a');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(8094, '0.0.0.0', resolve));
  try {
    await expect(service.publish('a', bridge, [wish(8094)])).rejects.toThrow(
      new RegExp(`8094.*address already in use \\(by .+, process ${process.pid}\\)`),
    );
  } finally {
    server.close();
  }
});

test('a range gives its first free port, no number a random one', async () => {
  await start('a', 'bridge', [wish(8080)]);
  const [ranged, random] = await service.publish('a', bridge, [
    wish(8080, { hostPortEnd: 8082, containerPort: 81, hostIp: '0.0.0.0' }),
    wish(0, { containerPort: 81, hostIp: '0.0.0.0' }),
  ]);
  expect(ranged).toMatchObject([{ hostPort: 8081 }]);
  expect(await outside.ask('tcp', lab.hostAddress, 8081)).toBe(lab.outsideAddress);
  expect(await outside.ask('tcp', lab.hostAddress, random![0]!.hostPort)).toBe(lab.outsideAddress);
});

test('what was added is withdrawn with the container', async () => {
  await start('a');
  await service.publish('a', bridge, [wish(8090)]);
  await service.disconnect('a', bridge);
  expect(await outside.ask('tcp', lab.hostAddress, 8090)).toBe('ECONNREFUSED');
  expect(lab.db.all('SELECT * FROM ports')).toEqual([]);
});

test('where nothing can be published it is said', async () => {
  await create('inner', { internal: true });
  await start('a', 'inner');
  await expect(service.publish('a', 'inner', [wish(8090)])).rejects.toThrow('network inner is internal');
  await expect(service.publish('nobody', bridge, [wish(8090)])).rejects.toThrow('has no address on network bridge');
});

test('the default address of published ports, and who overrules it', async () => {
  const bound = await lab.openService({ defaultBinding: '127.0.0.1' });
  await start('a');
  expect(await bound.publish('a', bridge, [wish(8095), wish(8096, { hostIp: '0.0.0.0' })])).toMatchObject([
    [{ hostIp: '127.0.0.1', hostPort: 8095 }],
    [{ hostIp: '0.0.0.0', hostPort: 8096 }],
  ]);
  expect(await outside.ask('tcp', lab.hostAddress, 8095)).toBe('ECONNREFUSED');
  expect(await host.ask('tcp', '127.0.0.1', 8095)).not.toBe('ECONNREFUSED');
  await create('own', { options: { 'com.docker.network.bridge.host_binding_ipv4': lab.hostAddress } });
  await bound.connect({ containerId: 'a', networkId: 'own', netns: service.namespacePath('a'), ports: [] });
  expect(await bound.publish('a', 'own', [wish(8097)])).toMatchObject([[{ hostIp: lab.hostAddress }]]);
});

test.each(['::', '::1'])('UDP on [%s] of a container without IPv6 goes through the proxy', async (hostIp) => {
  await create('four', { enableIPv6: false });
  const { gatewayIpv4 } = await start('a', 'four');
  const [mappings] = await service.publish('a', 'four', [wish(8098, { hostIp, protocol: 'udp' })]);
  expect(mappings).toMatchObject([{ hostIp, hostPort: 8098 }]);
  const port = service.publishedPorts().find(({ hostPort }) => hostPort === 8098)!;
  using _held = holdPublished(port);
  expect(await host.ask('udp', '::1', 8098)).toBe(gatewayIpv4);
  expect(await outside.ask('udp', lab.hostAddress6, 8098, 400)).toBe(hostIp === '::' ? gatewayIpv4 : 'timeout');
});

test('routed: published by its own address, without a port of the host', async () => {
  await create('open', {
    options: {
      'com.docker.network.bridge.gateway_mode_ipv4': 'routed',
      'com.docker.network.bridge.gateway_mode_ipv6': 'routed',
    },
  });
  const a = await start('a', 'open', [wish(8080)]);
  for (const [cidr, via] of [
    [a.ipv4, lab.hostAddress],
    [a.ipv6, lab.hostAddress6],
  ]) {
    await lab.sh(`ip route replace ${ip(cidr!)} via ${via}`, lab.outside);
    const seen = via!.includes(':') ? lab.outsideAddress6 : lab.outsideAddress;
    expect(await outside.ask('tcp', ip(cidr!), 80)).toBe(seen);
    expect(await outside.ask('tcp', ip(cidr!), 81, 400)).toBe('timeout');
  }
  expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe('ECONNREFUSED');
  expect(service.publishedPorts()).toEqual([]);
  await service.publish('a', 'open', [wish(0, { containerPort: 81 })]);
  expect(await outside.ask('tcp', ip(a.ipv4), 81)).toBe(lab.outsideAddress);
  await service.unpublish('a', [pick(0, 81)]);
  expect(await outside.ask('tcp', ip(a.ipv4), 81, 400)).toBe('timeout');
  // Its packets keep their own address.
  await outside.serve('tcp', 7000);
  expect(await inside.ask('tcp', lab.outsideAddress, 7000)).toBe(ip(a.ipv4));
});
