import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RouteSocket } from '../../src/linux/index.ts';
import type { CreateNetwork, Endpoint, NetworkService, Passage, PortRequest } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const kills = Number(process.env['TARE_NETWORK_KILLS'] ?? 12);

const wanted = (name: string, more: Partial<CreateNetwork> = {}): CreateNetwork => ({
  ...{
    name,
    driver: 'bridge',
    internal: false,
    enableIPv4: true,
    enableIPv6: false,
    ipam: [],
    options: {},
    labels: {},
  },
  ...more,
});
const publish = (hostPort: number): PortRequest => ({
  ...{ hostIp: '', hostPort, hostPortEnd: hostPort, containerPort: 80, protocol: 'tcp' },
});
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;
let host: Peer;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
  outside = new Peer(lab.outside);
  host = new Peer();
  await outside.serve('tcp', 7000);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  await service.reconcile(() => false);
  for (const { name, driver } of service.list()) {
    if (driver === 'bridge' && name !== 'bridge') await service.remove(name);
  }
});

async function start(
  containerId: string,
  networkId = 'bridge',
  ports: PortRequest[] = [],
  by = service,
): Promise<[Endpoint, Peer]> {
  const netns = by.createNamespace(containerId);
  const endpoint = await by.connect({ containerId, networkId, netns, ports });
  const peer = new Peer(netns);
  await Promise.all([peer.serve('tcp', 80), peer.serve('tcp', 81)]);
  return [endpoint, peer];
}

describe.each([1, 0])('isolation, with bridge-nf-call-iptables=%d', (bridgeNetfilter) => {
  beforeAll(() => lab.sh(`echo ${bridgeNetfilter} > /proc/sys/net/bridge/bridge-nf-call-iptables`));

  test('networks do not reach each other but by published ports', async () => {
    await service.create(wanted('other'));
    const [a, peerA] = await start('a', 'bridge', [publish(8080)]);
    const [b, peerB] = await start('b', 'other');
    await using _a = peerA;
    await using _b = peerB;
    expect(await peerB.ask('tcp', ip(a.ipv4), 81, 400)).toBe('timeout');
    expect(await peerA.ask('tcp', ip(b.ipv4), 81, 400)).toBe('timeout');
    expect(await peerB.ask('tcp', lab.hostAddress, 8080)).toBe(a.gatewayIpv4);
    expect(await peerA.ask('tcp', lab.hostAddress, 8080)).toBe(a.gatewayIpv4);
    expect(await peerB.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test('an internal network reaches only itself and the host', async () => {
    await service.create(wanted('inner', { internal: true }));
    const [a, peerA] = await start('a', 'inner', [publish(8080)]);
    const [b, peerB] = await start('b', 'inner');
    await using _a = peerA;
    await using _b = peerB;
    expect(a.ports).toEqual([]);
    expect(await peerA.ask('tcp', ip(b.ipv4), 80)).toBe(ip(a.ipv4));
    expect(await host.ask('tcp', ip(b.ipv4), 80)).toMatch(/^172\./);
    expect(await peerA.ask('tcp', lab.outsideAddress, 7000)).toBe('ENETUNREACH');
    const gateway = service.get('inner').ipam[0]!.gateway;
    await lab.sh(`ip route add default via ${gateway}`, service.namespacePath('a'));
    expect(await peerA.ask('tcp', lab.outsideAddress, 7000, 400)).toBe('timeout');
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe('ECONNREFUSED');
  });

  test('without inter-container communication only published ports are reached', async () => {
    await service.create(wanted('apart', { options: { 'com.docker.network.bridge.enable_icc': 'false' } }));
    const [a, peerA] = await start('a', 'apart', [publish(8080)]);
    const [, peerB] = await start('b', 'apart');
    await using _a = peerA;
    await using _b = peerB;
    expect(await peerB.ask('tcp', ip(a.ipv4), 81, 400)).toMatch(/timeout|EHOSTUNREACH/);
    expect(await peerB.ask('tcp', lab.hostAddress, 8080)).toBe(a.gatewayIpv4);
    expect(await peerA.ask('tcp', lab.hostAddress, 8080)).toBe(a.gatewayIpv4);
    expect(await peerB.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test('links let exposed ports through between containers that are kept apart', async () => {
    const networkId = service.get('bridge').id;
    const port = (number: number) => ({ port: number, protocol: 'tcp' as const });
    let passages: Passage[] = [{ networkId, from: 'b', to: 'a', ports: [port(79), port(80), port(80)] }];
    const defaultNetwork = { icc: false };
    using apart = await lab.openService({ defaultNetwork, passages: () => passages });
    const [a, peerA] = await start('a', 'bridge', [], apart);
    const [b, peerB] = await start('b', 'bridge', [], apart);
    const [, peerC] = await start('c', 'bridge', [], apart);
    await using _a = peerA;
    await using _b = peerB;
    await using _c = peerC;
    const closed = /timeout|EHOSTUNREACH/;
    expect(await peerB.ask('tcp', ip(a.ipv4), 80)).toBe(ip(b.ipv4));
    expect(await peerB.ask('tcp', ip(a.ipv4), 81, 400)).toMatch(closed);
    expect(await peerA.ask('tcp', ip(b.ipv4), 80, 400)).toMatch(closed);
    expect(await peerC.ask('tcp', ip(a.ipv4), 80, 400)).toMatch(closed);
    expect(apart.reach('a', 80, 'tcp')).toContainEqual(
      expect.objectContaining({ who: 'container b, which is linked to it', isReachable: true }),
    );
    const linked = passages;
    passages = [];
    await apart.settlePassages();
    expect(await peerB.ask('tcp', ip(a.ipv4), 80, 400)).toMatch(closed);
    passages = linked;
    await apart.settlePassages();
    const rules = 'nft list set inet tare-1ab00000 linked4';
    expect(await lab.sh(rules)).toContain(`${ip(b.ipv4)} . ${ip(a.ipv4)} . tcp . 79-80`);
    // Whoever has the address next is not linked.
    await apart.disconnect('a', networkId);
    expect(await lab.sh(rules)).not.toContain('elements');
    await apart.reconcile(() => false);
    await apart.teardown();
    // As the others have it.
    using _usual = await lab.openService({ defaultNetwork: { icc: true } });
  });

  test('a container cannot send under an address that is not of its network', async () => {
    const [, peer] = await start('a');
    await using _peer = peer;
    await lab.sh(
      `ip address add 203.0.113.9/32 dev eth0; ip route change default via ${service.get('bridge').ipam[0]!.gateway} src 203.0.113.9`,
      service.namespacePath('a'),
    );
    await lab.sh('ip route add 203.0.113.9/32 via 198.51.100.1', lab.outside);
    expect(await peer.ask('tcp', lab.outsideAddress, 7000, 400)).toBe('timeout');
    await lab.sh('ip route del 203.0.113.9/32', lab.outside);
  });
});

describe('a host firewall that drops what is forwarded', () => {
  afterEach(() => lab.sh('nft delete table ip filter; nft delete table ip6 filter || true'));

  test.each([
    {
      kind: 'by its policy',
      setup:
        'nft "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"',
      list: 'nft list chain ip filter FORWARD',
    },
    {
      kind: 'by its last rule',
      setup:
        'nft "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy accept; }; add rule ip filter FORWARD ct state established,related accept; add rule ip filter FORWARD counter drop"',
      list: 'nft list chain ip filter FORWARD',
    },
    {
      kind: 'made by iptables',
      setup: 'iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i nosuch -j ACCEPT',
      list: 'iptables-nft -S FORWARD',
    },
    {
      kind: 'by a REJECT of iptables',
      setup: 'iptables-nft -A FORWARD -j REJECT --reject-with icmp-host-prohibited',
      list: 'iptables-nft -S FORWARD',
    },
  ])('$kind: containers work, and after teardown it is as before', async ({ setup, list }) => {
    await service.teardown();
    await lab.sh(setup);
    const before = await lab.sh('nft --stateless list table ip filter');
    const [, peer] = await start('a', 'bridge', [publish(8080)]);
    {
      await using _peer = peer;
      expect(await peer.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
      expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
      expect(await lab.sh(list)).toContain('TARE-1AB00000-FORWARD');
    }
    await service.reconcile(() => false);
    await service.teardown();
    expect(await lab.sh('nft --stateless list table ip filter')).toBe(before);
  });

  test("an administrator's own rule goes before ours", async () => {
    await service.teardown();
    await lab.sh(`iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -d ${lab.outsideAddress} -j DROP`);
    const [, peer] = await start('a', 'bridge', [publish(8080)]);
    await using _peer = peer;
    expect(await peer.ask('tcp', lab.outsideAddress, 7000, 400)).toBe('timeout');
    await service.reconcile(() => false);
    await service.teardown();
  });
});

describe('several networks', () => {
  test('a running container comes to a second network, and falls back on it', async () => {
    await service.create(wanted('second'));
    const [, peer] = await start('a');
    await using _peer = peer;
    const netns = service.namespacePath('a');
    const second = await service.connect({ containerId: 'a', networkId: 'second', netns, ports: [] });
    expect(second.interfaceName).toBe('eth1');
    const [b, peerB] = await start('b', 'second');
    await using _b = peerB;
    expect(await peer.ask('tcp', ip(b.ipv4), 80)).toBe(ip(second.ipv4));
    expect(await lab.sh('ip route show default', netns)).toContain('dev eth0');
    await service.disconnect('a', service.get('bridge').id, { netns });
    expect(await lab.sh('ip -br link show', netns)).not.toContain('eth0');
    expect(await lab.sh('ip route show default', netns)).toContain(`via ${second.gatewayIpv4} dev eth1`);
    expect(await peer.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test('several subnets of one family: the next one when the first is full, and they reach each other', async () => {
    const subnet = (text: string) => ({ subnet: text, gateway: '', ipRange: '' });
    await service.create(wanted('wide', { ipam: [subnet('10.71.0.0/30'), subnet('10.72.0.0/24')] }));
    const [a, peerA] = await start('a', 'wide');
    const [b, peerB] = await start('b', 'wide');
    await using _a = peerA;
    await using _b = peerB;
    expect([a.ipv4, a.gatewayIpv4, b.ipv4, b.gatewayIpv4]).toEqual([
      ...['10.71.0.2/30', '10.71.0.1'],
      ...['10.72.0.2/24', '10.72.0.1'],
    ]);
    expect(await peerA.ask('tcp', '10.72.0.2', 80)).toBe('10.71.0.2');
    expect(await peerB.ask('tcp', '10.71.0.2', 80)).toBe('10.72.0.2');
    expect(await peerB.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test('IPv6 only', async () => {
    await service.create(wanted('six', { enableIPv4: false, enableIPv6: true }));
    const [a, peer] = await start('a', 'six', [publish(8086)]);
    await using _peer = peer;
    expect(a.ipv4).toBe('');
    expect(a.ports.map(({ hostIp }) => hostIp)).toEqual(['::']);
    expect(await peer.ask('tcp', lab.outsideAddress6, 7000)).toBe(lab.hostAddress6);
    expect(await outside.ask('tcp', lab.hostAddress6, 8086)).toBe(lab.outsideAddress6);
  });
});

describe('options', () => {
  test('bridge name, MTU, subnet, gateway, range, no masquerade, binding address', async () => {
    const network = await service.create(
      wanted('mine', {
        ipam: [{ subnet: '10.77.3.9/16', gateway: '10.77.0.254', ipRange: '10.77.5.0/30' }],
        options: {
          'com.docker.network.bridge.name': 'mine0',
          'com.docker.network.driver.mtu': '1400',
          'com.docker.network.bridge.enable_ip_masquerade': 'false',
          'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1',
        },
      }),
    );
    expect(network).toMatchObject({ bridge: 'mine0', mtu: 1400, ipam: [{ subnet: '10.77.0.0/16' }] });
    const [a, peer] = await start('a', 'mine', [publish(8080)]);
    await using _peer = peer;
    expect(a).toMatchObject({ ipv4: '10.77.5.0/16', gatewayIpv4: '10.77.0.254' });
    expect(a.ports.map(({ hostIp }) => hostIp)).toEqual(['127.0.0.1']);
    expect(await lab.sh('cat /proc/net/dev_mcast; ip link show eth0', service.namespacePath('a'))).toContain(
      'mtu 1400',
    );
    await lab.sh(`ip route add 10.77.0.0/16 via ${lab.hostAddress}`, lab.outside);
    expect(await peer.ask('tcp', lab.outsideAddress, 7000)).toBe('10.77.5.0');
    await lab.sh('ip route del 10.77.0.0/16', lab.outside);
    for (const id of ['b', 'c', 'd'])
      await service.connect({ containerId: id, networkId: 'mine', netns: service.createNamespace(id), ports: [] });
    const full = service.connect({
      containerId: 'e',
      networkId: 'mine',
      netns: service.createNamespace('e'),
      ports: [],
    });
    await expect(full).rejects.toThrow('no available IPv4 addresses on network mine');
  });

  test('a static address is given, kept from others, and checked', async () => {
    await service.create(wanted('mine', { ipam: [{ subnet: '10.78.0.0/24', gateway: '', ipRange: '' }] }));
    const connect = (containerId: string, ipv4: string, macAddress = '') =>
      service.connect({
        containerId,
        networkId: 'mine',
        netns: service.createNamespace(containerId),
        ipv4,
        macAddress,
        ports: [],
      });
    expect(await connect('a', '10.78.0.2', '02:11:22:33:44:55')).toMatchObject({
      ipv4: '10.78.0.2/24',
      macAddress: '02:11:22:33:44:55',
    });
    expect(await connect('b', '')).toMatchObject({ ipv4: '10.78.0.3/24' });
    await expect(connect('c', '10.78.0.2')).rejects.toThrow('Address already in use: 10.78.0.2');
    await expect(connect('c', '10.78.0.1')).rejects.toThrow('Address already in use: 10.78.0.1');
    await expect(connect('c', '10.78.0.255')).rejects.toThrow('Address already in use');
    await expect(connect('c', '10.79.0.2')).rejects.toThrow("does not belong to any of network mine's subnets");
    await expect(connect('c', 'fd00::1')).rejects.toThrow('invalid IPv4 address');
    await expect(connect('c', '', '01:00:5e:00:00:01')).rejects.toThrow('invalid MAC address');
  });

  test.each([
    {
      what: 'an overlap',
      request: { ipam: [{ subnet: '172.17.5.0/24', gateway: '', ipRange: '' }] },
      text: 'Pool overlaps with other one on this address space',
    },
    {
      what: 'a bad subnet',
      request: { ipam: [{ subnet: '10.0.0.0', gateway: '', ipRange: '' }] },
      text: 'invalid subnet "10.0.0.0"',
    },
    {
      what: 'a gateway elsewhere',
      request: { ipam: [{ subnet: '10.1.0.0/16', gateway: '10.2.0.1', ipRange: '' }] },
      text: 'no matching subnet for gateway 10.2.0.1',
    },
    {
      what: 'a range elsewhere',
      request: { ipam: [{ subnet: '10.1.0.0/16', gateway: '', ipRange: '10.2.0.0/24' }] },
      text: 'no matching subnet for range 10.2.0.0/24',
    },
    { what: 'no room', request: { ipam: [{ subnet: '10.1.0.0/31', gateway: '', ipRange: '' }] }, text: 'has no room' },
    { what: 'an unknown driver', request: { driver: 'overlay' }, text: 'plugin "overlay" not found' },
    {
      what: 'a second host network',
      request: { driver: 'host' },
      text: 'only one instance of "host" network is allowed',
    },
    {
      what: 'a bridge name with rules in it',
      request: { options: { 'com.docker.network.bridge.name': 'x"; flush' } },
      text: 'invalid bridge name',
    },
    {
      what: 'a prefix that leaves no room for a number',
      request: { options: { 'com.docker.network.container_iface_prefix': 'thirteen-more' } },
      text: 'invalid com.docker.network.container_iface_prefix',
    },
    {
      what: 'a huge MTU',
      request: { options: { 'com.docker.network.driver.mtu': '99999' } },
      text: 'invalid MTU "99999"',
    },
    {
      what: 'a maybe',
      request: { options: { 'com.docker.network.bridge.enable_icc': 'maybe' } },
      text: 'neither true nor false',
    },
    {
      what: 'the default bridge',
      request: { options: { 'com.docker.network.bridge.name': 'tare-1ab00000' } },
      text: 'belongs to network bridge',
    },
    {
      what: 'subnets over each other',
      request: {
        ipam: [
          { subnet: '10.1.0.0/16', gateway: '', ipRange: '' },
          { subnet: '10.1.2.0/24', gateway: '', ipRange: '' },
        ],
      },
      text: 'its subnets overlap each other',
    },
    { what: 'no family', request: { enableIPv4: false }, text: 'IPv4 or IPv6 must be enabled' },
  ])('refused: $what', async ({ request, text }) => {
    await expect(service.create(wanted('bad', request as Partial<CreateNetwork>))).rejects.toThrow(text);
    expect(service.list().map(({ name }) => name)).toEqual(['bridge', 'host', 'none']);
  });

  test('names are unique, predefined ones stay, and a network in use is kept', async () => {
    await service.create(wanted('mine'));
    await expect(service.create(wanted('mine'))).rejects.toThrow('network with name mine already exists');
    await expect(service.create(wanted('bridge'))).rejects.toThrow('not permitted on predefined bridge network');
    await expect(service.remove('none')).rejects.toThrow('none is a pre-defined network and cannot be removed');
    await expect(service.remove('nothing')).rejects.toThrow('network nothing not found');
    const [, peer] = await start('a', 'mine');
    await using _peer = peer;
    await expect(service.remove('mine')).rejects.toThrow(
      'error while removing network: network mine has active endpoints',
    );
    expect(service.get(service.get('mine').id.slice(0, 12)).name).toBe('mine');
  });

  test("a user's bridge is used and left", async () => {
    await lab.sh('ip link add theirs type bridge');
    await service.create(wanted('mine', { options: { 'com.docker.network.bridge.name': 'theirs' } }));
    await service.remove('mine');
    expect(await lab.sh('ip -br link show theirs')).toContain('theirs');
    await lab.sh('ip link delete theirs');
  });

  test("subnets avoid what the host routes, also when it comes later than the network's record", async () => {
    const [first] = service.get('bridge').ipam;
    await service.teardown();
    await lab.sh(
      `ip link add vpn0 type dummy 2>/dev/null || ip link add vpn0 type bridge; ip link set vpn0 up; ip address add ${first!.gateway}/16 dev vpn0`,
    );
    const [endpoint, peer] = await start('a');
    await using _peer = peer;
    expect(endpoint.gatewayIpv4).not.toBe(first!.gateway);
    expect(service.get('bridge').ipam[0]!.subnet).not.toBe(first!.subnet);
    await lab.sh('ip link delete vpn0');
  });
});

test('the default network follows the configuration as soon as nobody is on it', async () => {
  const before = service.get('bridge').ipam;
  await service.connect({ containerId: 'a', networkId: 'bridge', netns: service.createNamespace('a'), ports: [] });
  await lab.openService({ defaultNetwork: { subnet: '10.90.0.9/24' } });
  expect(service.get('bridge').ipam).toEqual(before);
  await service.reconcile(() => false);
  await lab.openService({ defaultNetwork: { subnet: '10.90.0.9/24', enableIPv6: true } });
  expect(service.get('bridge').ipam[0]).toMatchObject({ subnet: '10.90.0.0/24', gateway: '10.90.0.9', ipRange: '' });
  const [b, peer] = await start('b');
  await using _peer = peer;
  expect(b).toMatchObject({ ipv4: '10.90.0.1/24', gatewayIpv4: '10.90.0.9' });
  expect(await peer.ask('tcp', lab.outsideAddress6, 7000)).toBe(lab.hostAddress6);
  // Who says nothing of it changes nothing.
  await lab.openService();
  expect(service.get('bridge')).toMatchObject({ enableIPv6: true, ipam: [{ gateway: '10.90.0.9' }, {}] });
});

test(
  `killed in the middle of connecting and disconnecting, ${kills} times: reconcile leaves nothing`,
  async () => {
    for (let round = 0; round < kills; round += 1) {
      const program = join(import.meta.dirname, '../support/network-churn.ts');
      const child = spawn(process.execPath, [program, lab.root, String(round)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 25));
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    expect(service.endpoints({}).length).toBeGreaterThan(0);
    await service.reconcile(() => false);
    expect(service.endpoints({})).toEqual([]);
    expect(lab.db.all('SELECT * FROM ports')).toEqual([]);
    expect(readdirSync(join(lab.execRoot, 'netns'))).toEqual([]);
    expect(await lab.sh('cat /proc/self/mounts')).not.toContain(join(lab.execRoot, 'netns'));
    expect(await lab.sh('nft list maps')).not.toContain('elements');
    expect(await lab.sh('ip neighbour show nud permanent')).not.toContain('dev tare-1ab00000');
    const veths = (): string[] => {
      using route = new RouteSocket();
      return route.links().flatMap(({ name }) => (name.startsWith('veth') ? [name] : []));
    };
    await expect.poll(veths, { timeout: 5000 }).toEqual([]);
    expect(existsSync(join(lab.execRoot, 'netns'))).toBe(true);
  },
  60_000 + kills * 5_000,
);
