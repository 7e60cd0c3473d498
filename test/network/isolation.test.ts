import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RouteSocket } from '../../src/linux/index.ts';
import type { CreateNetwork, Endpoint, NetworkService, PortRequest } from '../../src/network/index.ts';
import { execute } from '../support/execute.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';
import type { Attack } from '../support/raw-sender.ts';

const TABLE = 'tare-1ab00000';
const wish = (hostPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  ...{ hostIp: '', hostPort, hostPortEnd: hostPort, containerPort: 80, protocol: 'tcp' as const },
  ...more,
});
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

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
  await outside.serve('tcp', 7000);
  await host.serve('tcp', 7001);
});
afterAll(async () => {
  for (const peer of [outside, host]) await peer[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  for (const peer of peers.splice(0)) await peer[Symbol.asyncDispose]();
  await service.reconcile(() => false);
  for (const { name, driver } of service.list())
    if (driver === 'bridge' && name !== 'bridge') await service.remove(name);
});

const create = (name: string, more: Partial<CreateNetwork> = {}) =>
  service.create({
    ...{ name, driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: true },
    ...{ ipam: [], options: {}, labels: {} },
    ...more,
  });

async function start(containerId: string, networkId = 'bridge', ports: PortRequest[] = []): Promise<[Endpoint, Peer]> {
  const netns = service.createNamespace(containerId);
  const endpoint = await service.connect({ containerId, networkId, netns, ports });
  const peer = new Peer(netns);
  peers.push(peer);
  await Promise.all([peer.serve('tcp', 80), peer.serve('tcp', 81)]);
  return [endpoint, peer];
}

/** Sends frames made by hand out of a container's `eth0`. */
async function attack(containerId: string, what: Attack): Promise<void> {
  const program = [
    process.execPath,
    join(import.meta.dirname, '../support/raw-sender.ts'),
    'eth0',
    JSON.stringify(what),
  ];
  await execute(['nsenter', `--net=${service.namespacePath(containerId)}`, ...program]);
}

function macOf(link: string): string {
  using route = new RouteSocket();
  return route.link(link)!.macAddress;
}

/** How many packets the host, or a namespace, gets at a UDP port while something happens. */
async function arriving(port: number, netns: string | undefined, act: () => Promise<void>): Promise<number> {
  const table = 'add table inet probe; add chain inet probe in { type filter hook input priority -400; };';
  await lab.sh(`nft '${table} add rule inet probe in udp dport ${port} counter'`, netns);
  try {
    await act();
    const listed = await lab.sh('nft list chain inet probe in', netns);
    return Number(/packets (\d+)/.exec(listed)?.[1]);
  } finally {
    await lab.sh('nft delete table inet probe', netns);
  }
}

describe('who reaches a container', () => {
  test('not its ports, published or not, by routing to its subnet; in both families', async () => {
    const [a] = await start('a', 'bridge', [wish(8080)]);
    for (const [cidr, via] of [
      [a.ipv4, lab.hostAddress],
      [a.ipv6, lab.hostAddress6],
    ] as const) {
      await lab.sh(`ip route replace ${ip(cidr)} via ${via}`, lab.outside);
      expect(await outside.ask('tcp', ip(cidr), 80, 400)).toBe('timeout');
      expect(await outside.ask('tcp', ip(cidr), 81, 400)).toBe('timeout');
      expect(await outside.ask('tcp', via, 81)).toBe('ECONNREFUSED');
    }
  });

  test('a scan of all ports from another bridge finds nothing, the published one by the host is there', async () => {
    await create('other');
    const [a] = await start('a', 'bridge', [wish(8080)]);
    const [, spy] = await start('spy', 'other');
    for (const cidr of [a.ipv4, a.ipv6]) {
      const answers = await Promise.all([22, 79, 80, 81, 443, 8080].map((port) => spy.ask('tcp', ip(cidr), port, 400)));
      expect(new Set(answers)).toEqual(new Set(['timeout']));
    }
    expect(await spy.ask('tcp', lab.hostAddress, 8080)).not.toMatch(/ECONN|timeout/);
    expect(await spy.ask('tcp', lab.hostAddress6, 8080)).not.toMatch(/ECONN|timeout/);
  });

  test('nat-unprotected: every port by routing to the subnet, from outside alone', async () => {
    await create('open', {
      options: {
        'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected',
        'com.docker.network.bridge.gateway_mode_ipv6': 'nat-unprotected',
      },
    });
    const [a] = await start('a', 'open');
    const [, other] = await start('b');
    for (const [cidr, via] of [
      [a.ipv4, lab.hostAddress],
      [a.ipv6, lab.hostAddress6],
    ] as const) {
      await lab.sh(`ip route replace ${ip(cidr)} via ${via}`, lab.outside);
      expect(await outside.ask('tcp', ip(cidr), 81)).not.toMatch(/ECONN|timeout/);
      expect(await other.ask('tcp', ip(cidr), 81, 400)).toBe('timeout');
    }
  });

  test('isolated: not even the host, while containers reach each other', async () => {
    const options = {
      'com.docker.network.bridge.gateway_mode_ipv4': 'isolated',
      'com.docker.network.bridge.gateway_mode_ipv6': 'isolated',
    };
    await expect(create('alone', { options })).rejects.toThrow('is for internal networks: add --internal');
    const network = await create('alone', { options, internal: true });
    const [a] = await start('a', 'alone');
    const [b, peerB] = await start('b', 'alone');
    expect(await lab.sh(`ip -br address show dev ${network.bridge} scope global`)).not.toMatch(/\d+\.\d+\./);
    expect(await peerB.ask('tcp', ip(a.ipv4), 80)).toBe(ip(b.ipv4));
    expect(await peerB.ask('tcp', ip(a.ipv6), 80)).toBe(ip(b.ipv6));
    const gateway = network.ipam.find(({ subnet }) => subnet.includes('.'))!.gateway;
    expect(await peerB.ask('tcp', gateway, 7001, 400)).toMatch(/timeout|EHOSTUNREACH/);
    // Nor by frames made by hand to the bridge itself.
    const destinationMac = macOf(network.bridge);
    const packets = await arriving(4001, undefined, () =>
      attack('b', { kind: 'udp', from: ip(b.ipv4), to: lab.hostAddress, port: 4001, destinationMac, count: 3 }),
    );
    expect(packets).toBe(0);
  });

  test.each([
    [{ 'com.docker.network.bridge.gateway_mode_ipv4': 'open' }, 'one of nat, nat-unprotected, routed, isolated'],
    [{ 'com.docker.network.host_ipv4': '2001:db8::1' }, 'is not an IPv4 address'],
    [{ 'com.docker.network.host_ipv6': 'x; flush ruleset' }, 'is not an IP address'],
  ])('refused: %j', async (options, text) => {
    await expect(create('bad', { options })).rejects.toThrow(text);
  });

  test("a network's packets leave under the address that it names", async () => {
    await lab.sh('ip address add 198.51.100.77/32 dev wire; ip address add 2001:db8:51::77/128 dev wire nodad');
    await create('named', {
      options: { 'com.docker.network.host_ipv4': '198.51.100.77', 'com.docker.network.host_ipv6': '2001:db8:51::77' },
    });
    const [, peer] = await start('a', 'named');
    expect(await peer.ask('tcp', lab.outsideAddress, 7000)).toBe('198.51.100.77');
    expect(await peer.ask('tcp', lab.outsideAddress6, 7000)).toBe('2001:db8:51::77');
  });
});

describe('an internal network', () => {
  test.each(['4', '6'] as const)('reaches nothing outside by frames made by hand, IPv%s', async (family) => {
    const network = await create('inner', { internal: true });
    const [a] = await start('a', 'inner');
    const destinationMac = macOf(network.bridge);
    const [from, to] = family === '4' ? [ip(a.ipv4), lab.outsideAddress] : [ip(a.ipv6), lab.outsideAddress6];
    const packets = await arriving(4002, lab.outside, () =>
      attack('a', { kind: 'udp', from, to, port: 4002, destinationMac, count: 5 }),
    );
    expect(packets).toBe(0);
  });
});

describe('a container that spoofs', () => {
  test.each([
    { what: 'an address of outside', from: '203.0.113.9', from6: '2001:db8:99::9' },
    { what: "the host's own address", from: '198.51.100.1', from6: '2001:db8:51::1' },
    { what: 'the loopback address', from: '127.0.0.1', from6: '::1' },
    { what: 'an address of another network', from: '10.99.0.2', from6: 'fd99::2' },
    { what: 'a multicast address', from: '224.0.0.5', from6: 'ff02::5' },
  ])('$what: dropped, on the way out and to the host', async ({ from, from6 }) => {
    await create('other', {
      ipam: [
        { subnet: '10.99.0.0/24', gateway: '', ipRange: '' },
        { subnet: 'fd99::/64', gateway: '', ipRange: '' },
      ],
    });
    const [a] = await start('a');
    const destinationMac = macOf(service.get('bridge').bridge);
    for (const [source, own, far, near] of [
      [from, ip(a.ipv4), lab.outsideAddress, lab.hostAddress],
      [from6, ip(a.ipv6), lab.outsideAddress6, lab.hostAddress6],
    ] as const) {
      const send = (address: string, to: string, port: number) =>
        attack('a', { kind: 'udp', from: address, to, port, destinationMac, count: 3 });
      expect(await arriving(4003, lab.outside, () => send(source, far, 4003))).toBe(0);
      expect(await arriving(4003, undefined, () => send(source, near, 4003))).toBe(0);
      // Frames made by hand do arrive when the address is its own.
      expect(await arriving(4004, lab.outside, () => send(own, far, 4004))).toBe(3);
    }
  });

  test.each([
    ['127.0.0.1', 4],
    ['127.8.8.8', 4],
    ['::1', 6],
  ] as const)("what is meant for the host's own loopback does not arrive: %s", async (to, family) => {
    const [a] = await start('a', 'bridge', [wish(8080, { hostIp: '127.0.0.1' })]);
    const destinationMac = macOf(service.get('bridge').bridge);
    const from = ip(family === 4 ? a.ipv4 : a.ipv6);
    const send = () => attack('a', { kind: 'udp', from, to, port: 4006, destinationMac, count: 3 });
    expect(await arriving(4006, undefined, send)).toBe(0);
  });

  test('a flood of spoofed packets leaves neither tracked connections nor other containers without service', async () => {
    const [a] = await start('a');
    const [b] = await start('b', 'bridge', [wish(8080)]);
    const destinationMac = macOf(service.get('bridge').bridge);
    const before = Number(await lab.sh('cat /proc/sys/net/netfilter/nf_conntrack_count'));
    await attack('a', {
      kind: 'udp',
      from: '203.0.113.9',
      to: lab.outsideAddress,
      port: 4005,
      destinationMac,
      count: 20_000,
    });
    expect(Number(await lab.sh('cat /proc/sys/net/netfilter/nf_conntrack_count')) - before).toBeLessThan(20);
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
    expect(await host.ask('tcp', ip(b.ipv4), 80)).toBe(a.gatewayIpv4);
  });

  test("another's MAC address, or the gateway's: its frames are dropped and nobody's are led astray", async () => {
    const [a] = await start('a');
    const [b] = await start('b');
    const [, c] = await start('c');
    const bridge = service.get('bridge').bridge;
    for (const as of [b.macAddress, macOf(bridge)]) {
      await attack('a', { kind: 'mac', as, count: 20 });
      const table = await lab.sh(`bridge fdb show br ${bridge}`);
      expect(table).not.toContain(`${as} dev ${a.hostInterface}`);
    }
    expect(await c.ask('tcp', ip(b.ipv4), 80)).not.toMatch(/timeout|ECONN/);
    expect(await c.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test('ARP and neighbour answers for another: the host does not believe them', async () => {
    await start('a');
    const [b] = await start('b', 'bridge', [wish(8080)]);
    const bridge = service.get('bridge').bridge;
    const destinationMac = macOf(bridge);
    await attack('a', { kind: 'arp', claims: ip(b.ipv4), to: b.gatewayIpv4, destinationMac, count: 5 });
    expect(await lab.sh(`ip neighbour show ${ip(b.ipv4)} dev ${bridge}`)).toContain(b.macAddress);
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
  });
});

describe('router advertisements and redirects from a container', () => {
  const routes = async (netns?: string) =>
    (
      await lab.sh(
        'ip -6 route show; ip -6 address show scope global; ip route show cache; ip -6 route show cache',
        netns,
      )
    )
      .split('\n')
      .filter((line) => !line.includes('fe80'))
      .map((line) => line.replace(/ *(expires|valid_lft|preferred_lft) .*/, ''));

  test('change nothing on the host, nor on other containers', async () => {
    const [a] = await start('a');
    const [b] = await start('b');
    const bridge = service.get('bridge').bridge;
    const victims = [undefined, service.namespacePath('b')];
    // A host that listens to routers on its links, as before the engine came.
    await lab.sh('for f in /proc/sys/net/ipv6/conf/*/accept_ra; do case $f in */lo/*) ;; *) echo 2 > $f;; esac; done');
    const before = await Promise.all(victims.map(routes));
    for (const destinationMac of ['33:33:00:00:00:01', macOf(bridge), b.macAddress]) {
      await attack('a', { kind: 'advertise', from: 'fe80::bad', prefix: 'fd66::', destinationMac, count: 3 });
    }
    for (const [to, from, victimRoute, gateway, destinationMac] of [
      [ip(b.ipv4), b.gatewayIpv4, lab.outsideAddress, ip(a.ipv4), b.macAddress],
      [ip(b.ipv6), 'fe80::1', lab.outsideAddress6, 'fe80::bad', b.macAddress],
      [b.gatewayIpv4, ip(a.ipv4), lab.outsideAddress, ip(a.ipv4), macOf(bridge)],
      [b.gatewayIpv6, 'fe80::bad', lab.outsideAddress6, 'fe80::bad', macOf(bridge)],
    ] as const) {
      await attack('a', { kind: 'redirect', to, from, victimRoute, gateway, destinationMac, count: 3 });
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await Promise.all(victims.map(routes))).toEqual(before);
  });
});

describe('our table', () => {
  const flushed = async () => expect(await lab.sh(`nft list table inet ${TABLE} || true`)).not.toContain('oifname');
  const isBack = async () => {
    expect(await service.watchRules()).toBe(true);
    expect(await service.watchRules()).toBe(false);
  };

  test.each([
    ['everything is flushed', 'nft flush ruleset'],
    ['our table is deleted', `nft delete table inet ${TABLE}`],
    ['its rules are flushed', `nft flush table inet ${TABLE}`],
  ])('is put back after %s', async (_, command) => {
    const [, peer] = await start('a', 'bridge', [wish(8080)]);
    await service.watchRules();
    await lab.sh(command);
    await flushed();
    await isBack();
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
    expect(await peer.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
  });

  test.each([
    [
      'one rule',
      `nft -a list chain inet ${TABLE} sent4 | sed -n 's/.*another network.*handle //p' | xargs nft delete rule inet ${TABLE} sent4 handle`,
    ],
    ['the elements of a set', `nft flush set inet ${TABLE} bridges`],
    ['a published port', `nft flush map inet ${TABLE} any4`],
  ])('gets back %s', async (_, command) => {
    await start('a', 'bridge', [wish(8080)]);
    await service.watchRules();
    await lab.sh(command);
    await isBack();
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
  });

  test('others may change their own rules: nothing of ours is written', async () => {
    await start('a', 'bridge', [wish(8080)]);
    await service.watchRules();
    await lab.sh('nft add table inet theirs');
    expect(await service.watchRules()).toBe(false);
    await lab.sh('nft delete table inet theirs');
  });

  test("the administrator's chain comes first, and outlives networks, ports and the engine", async () => {
    const [, peer] = await start('a', 'bridge', [wish(8080)]);
    await lab.sh(`nft add rule inet ${TABLE} tare-user ip saddr ${lab.outsideAddress} drop`);
    expect(await outside.ask('tcp', lab.hostAddress, 8080, 400)).toBe('timeout');
    expect(await outside.ask('tcp', lab.hostAddress6, 8080)).toBe(lab.outsideAddress6);
    await create('more');
    await lab.sh(`nft delete map inet ${TABLE} nothing 2>/dev/null; nft flush chain inet ${TABLE} publish`);
    await isBack();
    expect(await outside.ask('tcp', lab.hostAddress, 8080, 400)).toBe('timeout');
    expect(await peer.ask('tcp', lab.outsideAddress, 7000, 400)).toBe('timeout');
    await service.reconcile(() => false);
    await service.remove('more');
    await service.teardown();
    const left = await lab.sh(`nft list table inet ${TABLE}`);
    expect(left).toContain(`ip saddr ${lab.outsideAddress} drop`);
    expect(left.match(/chain/g)).toHaveLength(1);
    await lab.sh(`nft flush chain inet ${TABLE} tare-user`);
    await start('b', 'bridge', [wish(8080)]);
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
  });

  test("a table of another shape is replaced, with the administrator's rules", async () => {
    await service.reconcile(() => false);
    await service.teardown();
    await lab.sh(
      `nft 'add table inet ${TABLE}; add set inet ${TABLE} bridges { type ipv4_addr; }; add chain inet ${TABLE} tare-user { counter comment "theirs"; }'`,
    );
    await start('a', 'bridge', [wish(8080)]);
    expect(await outside.ask('tcp', lab.hostAddress, 8080)).toBe(lab.outsideAddress);
    expect(await lab.sh(`nft list chain inet ${TABLE} tare-user`)).toContain('theirs');
    await lab.sh(`nft flush chain inet ${TABLE} tare-user`);
  });
});

describe('a neighbour on the same bridge', () => {
  const arpOf = async (containerId: string, address: string) =>
    await lab.sh(`ip neighbour show ${address} dev eth0 || true`, service.namespacePath(containerId));

  test('is not impersonated: packets under its address arrive nowhere, in both families', async () => {
    const [a] = await start('a');
    const [b] = await start('b');
    const [victim] = await start('victim');
    const destinationMac = macOf(service.get('bridge').bridge);
    for (const [own, stolen, to, near, far] of [
      [ip(a.ipv4), ip(b.ipv4), ip(victim.ipv4), lab.hostAddress, lab.outsideAddress],
      [ip(a.ipv6), ip(b.ipv6), ip(victim.ipv6), lab.hostAddress6, lab.outsideAddress6],
    ] as const) {
      const send = (from: string, target: string, mac: string) => () =>
        attack('a', { kind: 'udp', from, to: target, port: 4007, destinationMac: mac, count: 3 });
      const inVictim = service.namespacePath('victim');
      expect(await arriving(4007, inVictim, send(own, to, victim.macAddress))).toBe(3);
      expect(await arriving(4007, inVictim, send(stolen, to, victim.macAddress))).toBe(0);
      expect(await arriving(4007, undefined, send(stolen, near, destinationMac))).toBe(0);
      expect(await arriving(4007, lab.outside, send(stolen, far, destinationMac))).toBe(0);
    }
  });

  /** What `victim` believes of `b` in both families once `a` has answered for it. */
  async function believedAfterClaims(network: string): Promise<{ believed: string[]; a: Endpoint; b: Endpoint }> {
    const [a] = await start('a', network);
    const [b] = await start('b', network);
    const [victim, peer] = await start('victim', network);
    // An entry that was just learnt is otherwise kept for a second, whoever says what.
    await lab.sh('sysctl -q net.ipv4.neigh.eth0.locktime=0', service.namespacePath('victim'));
    expect(await peer.ask('tcp', ip(b.ipv4), 80)).toBe(ip(victim.ipv4));
    expect(await peer.ask('tcp', ip(b.ipv6), 80)).toBe(ip(victim.ipv6));
    const { macAddress: destinationMac } = victim;
    await attack('a', { kind: 'arp', claims: ip(b.ipv4), to: ip(victim.ipv4), destinationMac, count: 5 });
    const claim = { from: ip(a.ipv6), claims: ip(b.ipv6), to: ip(victim.ipv6) };
    await attack('a', { kind: 'neighbour', ...claim, destinationMac, count: 5 });
    const believed = [await arpOf('victim', ip(b.ipv4)), await arpOf('victim', ip(b.ipv6))];
    return { believed, a, b };
  }

  test('is not answered for by ARP, nor by neighbour advertisements', async () => {
    const { believed, b } = await believedAfterClaims('bridge');
    for (const entry of believed) expect(entry).toContain(b.macAddress);
  });

  test('where the network says so, addresses may be shared (VRRP), and what was flushed is put back elsewhere', async () => {
    await create('free', { options: { 'tare.bridge.spoof_guard': 'false' } });
    const { believed, a, b } = await believedAfterClaims('free');
    for (const entry of believed) expect(entry).toContain(a.macAddress);
    const [victim] = service.endpoints({ containerId: 'victim' }) as [Endpoint];
    const stolen = () =>
      attack('a', {
        kind: 'udp',
        from: ip(b.ipv4),
        to: ip(victim.ipv4),
        port: 4008,
        destinationMac: victim.macAddress,
        count: 3,
      });
    expect(await arriving(4008, service.namespacePath('victim'), stolen)).toBe(3);
    await start('c');
    await service.watchRules();
    const guard = async () => await lab.sh(`nft list table bridge ${TABLE}`);
    const before = await guard();
    expect(before).toContain('owners4');
    await lab.sh(`nft delete table bridge ${TABLE}`);
    expect(await service.watchRules()).toBe(true);
    expect(await guard()).toBe(before);
  });

  test('leaves nothing of itself in the sets', async () => {
    const [a] = await start('a');
    expect(await lab.sh(`nft list table bridge ${TABLE}`)).toContain(a.hostInterface);
    await service.disconnect('a', a.networkId);
    expect(await lab.sh(`nft list table bridge ${TABLE}`)).not.toContain(a.hostInterface);
  });
});
