import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { ConnectRequest, CreateNetwork, Endpoint, NetworkService } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const IFNAME = 'com.docker.network.endpoint.ifname';
const SYSCTLS = 'com.docker.network.endpoint.sysctls';

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
  outside = new Peer(lab.outside);
  await outside.serve('tcp', 7000);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  await service.reconcile(() => false);
  for (const { name, driver } of service.list()) {
    if (driver === 'bridge' && name !== 'bridge') await service.remove(name);
  }
});

const subnet = (text: string) => ({ subnet: text, gateway: '', ipRange: '' });

async function network(name: string, number: number, more: Partial<CreateNetwork> = {}): Promise<void> {
  const families = [
    ...(more.enableIPv4 === false ? [] : [subnet(`10.80.${number}.0/24`)]),
    ...(more.enableIPv6 === true ? [subnet(`fd00:80:${number}::/64`)] : []),
  ];
  await service.create({
    ...{ name, driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: false },
    ...{ ipam: families, options: {}, labels: {}, ...more },
  });
}

const connect = (networkId: string, more: Partial<ConnectRequest> = {}): Promise<Endpoint> =>
  service.connect({ containerId: 'box', networkId, netns: service.namespacePath('box'), ports: [], ...more });
const disconnect = (name: string): Promise<void> =>
  service.disconnect('box', service.get(name).id, { netns: service.namespacePath('box') });
const inside = (command: string): Promise<string> => lab.sh(command, service.namespacePath('box'));
/** Gateways of the default routes, IPv4 and IPv6. */
const ways = async (): Promise<string[]> =>
  [await inside('ip -4 route show default'), await inside('ip -6 route show default')].map(
    (text) => /via (\S+)/.exec(text)?.[1] ?? '',
  );

test('each family goes by the best network that leads outside in it', async () => {
  await network('both', 1, { enableIPv6: true });
  await network('four', 2);
  await network('six', 3, { enableIPv4: false, enableIPv6: true });
  await network('inner', 4, { internal: true, enableIPv6: true });
  service.createNamespace('box');
  await using peer = new Peer(service.namespacePath('box'));
  const reaches = async () => [
    await peer.ask('tcp', lab.outsideAddress, 7000),
    await peer.ask('tcp', lab.outsideAddress6, 7000),
  ];
  const out = [lab.hostAddress, lab.hostAddress6];

  await connect('inner', { gatewayPriority: 100 });
  expect(await ways()).toEqual(['', '']);
  await connect('both');
  expect(await ways()).toEqual(['10.80.1.1', 'fd00:80:1::1']);
  expect(await reaches()).toEqual(out);
  await connect('four', { gatewayPriority: 2 });
  expect(await ways()).toEqual(['10.80.2.1', 'fd00:80:1::1']);
  expect(await reaches()).toEqual(out);
  await connect('six', { gatewayPriority: 1 });
  expect(await ways()).toEqual(['10.80.2.1', 'fd00:80:3::1']);
  expect(await reaches()).toEqual(out);
  expect((await inside('ip -6 route show default')).trim().split('\n')).toHaveLength(1);
  await disconnect('six');
  await disconnect('four');
  expect(await ways()).toEqual(['10.80.1.1', 'fd00:80:1::1']);
  expect(await reaches()).toEqual(out);
  await disconnect('both');
  expect(await ways()).toEqual(['', '']);
});

test('of equal ones the first leads; a route that somebody else made stays', async () => {
  await network('one', 1);
  await network('two', 2);
  await network('three', 3);
  service.createNamespace('box');
  await connect('two');
  await connect('one');
  expect((await ways())[0]).toBe('10.80.2.1');
  await inside('ip route replace default via 10.80.1.77 dev eth1');
  await connect('three', { gatewayPriority: 9 });
  expect((await ways())[0]).toBe('10.80.1.77');
  await disconnect('two');
  expect((await ways())[0]).toBe('10.80.1.77');
  // With the link that it went by, the route is gone.
  await disconnect('one');
  expect((await ways())[0]).toBe('10.80.3.1');
});

test("what was asked of a link comes back with it, and so does the better network's way", async () => {
  await network('one', 1);
  await network('two', 2);
  service.createNamespace('box');
  const asked: Partial<ConnectRequest> = {
    driverOptions: {
      [IFNAME]: 'front0',
      [SYSCTLS]: 'net.ipv4.conf.ifname.proxy_arp=1,net.ipv4.neigh.IFNAME.retrans_time_ms=500',
    },
    linkLocalIps: ['169.254.3.3', 'fe80::3:3'],
    gatewayPriority: 3,
  };
  await connect('one');
  const endpoint = await connect('two', asked);
  expect(endpoint).toMatchObject({ interfaceName: 'front0', linkLocal: ['169.254.3.3/16', 'fe80::3:3/64'] });
  const look = async () => {
    const addresses = await inside('ip -o address show front0');
    const settings = 'cat /proc/sys/net/ipv4/conf/front0/proxy_arp /proc/sys/net/ipv4/neigh/front0/retrans_time_ms';
    return [
      ...['10.80.2.2/24', '169.254.3.3/16', 'fe80::3:3/64'].map((text) => addresses.includes(` ${text} `)),
      await inside(settings),
      ...(await ways()),
    ];
  };
  const want = [true, true, true, '1\n500\n', '10.80.2.1', ''];
  expect(await look()).toEqual(want);
  await lab.sh(`ip link delete ${endpoint.hostInterface}`);
  await inside('ip route add default via 10.80.1.1');
  await service.reconcile((id) => id === 'box');
  expect(await look()).toEqual(want);
});

test('names of links are given once', async () => {
  await network('one', 1);
  await network('two', 2);
  await network('three', 3);
  service.createNamespace('box');
  expect(await connect('one', { driverOptions: { [IFNAME]: 'eth0' } })).toMatchObject({ interfaceName: 'eth0' });
  await expect(connect('two', { driverOptions: { [IFNAME]: 'eth0' } })).rejects.toThrow('interface name eth0 is taken');
  expect(service.endpoints({ networkId: service.get('two').id })).toEqual([]);
  expect(await connect('three')).toMatchObject({ interfaceName: 'eth1' });
  await network('lan', 4, { options: { 'com.docker.network.container_iface_prefix': 'lan' } });
  expect(await connect('lan')).toMatchObject({ interfaceName: 'lan0' });
});

test('a value that the kernel refuses undoes the connection', async () => {
  await network('one', 1);
  service.createNamespace('box');
  const bad = connect('one', { driverOptions: { [SYSCTLS]: 'net.ipv4.conf.IFNAME.rp_filter=much' } });
  await expect(bad).rejects.toThrow(
    'failed to set sysctl net.ipv4.conf.eth0.rp_filter=much: the kernel does not take it',
  );
  expect(service.endpoints({ containerId: 'box' })).toEqual([]);
  expect(await inside('ip -br link')).not.toContain('eth0');
});

test('a network of settings alone is no place for a container', async () => {
  await network('settings', 1, { configOnly: true });
  await network('other', 1);
  expect(service.get('settings')).toMatchObject({ configOnly: true, bridge: '' });
  service.createNamespace('box');
  await expect(connect('settings')).rejects.toThrow('no container can be on it');
  await expect(service.create({ ...service.get('other'), name: 'third', configFrom: 'other' })).rejects.toThrow(
    'is not a configuration network',
  );
});
