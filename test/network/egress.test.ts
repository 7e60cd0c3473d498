import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { EgressLab } from '../support/egress-lab.ts';
import { eventually } from '../support/execute.ts';

const TABLE = 'tare-1ab00000';
/** Short, so that what expires does so in a test. */
const times = { floorMs: 2_000, graceMs: 1_000 };

let world: EgressLab;

beforeAll(async () => {
  world = await EgressLab.open(times);
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(() => world.stopAll());

const a = (owner: string, text: string, ttl = 300) =>
  ({ owner, type: text.includes(':') ? 'AAAA' : 'A', text, ttl }) as const;
const alias = (owner: string, text: string, ttl = 300) => ({ owner, type: 'CNAME', text, ttl }) as const;
const tables = () => world.lab.sh('nft list ruleset');

describe('by address and port', () => {
  test('what is allowed, and nothing else, in both families', async () => {
    const c = await world.start('a', [
      'allow 203.0.113.1:443/tcp',
      'allow [2001:db8:113::/64]:80,8000-8100/tcp',
      'allow 203.0.113.2/udp',
      'deny 2001:db8:113::2',
    ]);
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('203.0.113.1', 80)).toBe('shut');
    expect(await c.reach('203.0.113.2', 443)).toBe('shut');
    expect(await c.reach('2001:db8:113::1', 80)).toBe('open');
    expect(await c.reach('2001:db8:113::1', 443)).toBe('shut');
    expect(await c.datagram('203.0.113.2', 500)).toBe('open');
    expect(await c.datagram('203.0.113.3', 500)).toBe('timeout');
  });

  test('the first rule that fits decides; without an allowed one the rest is open', async () => {
    const c = await world.start('a', ['deny 203.0.113.0/24:80', 'deny 2001:db8:113::1']);
    expect(await c.reach('203.0.113.1', 80)).toBe('shut');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('2001:db8:113::1', 443)).toBe('shut');
    expect(await c.reach('2001:db8:113::2', 443)).toBe('open');
    await world.set(c.subject, 'allow 203.0.113.1', 'deny 203.0.113.0/24', 'default allow');
    expect(await c.reach('203.0.113.1', 80)).toBe('open');
    expect(await c.reach('203.0.113.2', 80)).toBe('shut');
  });

  test('icmp', async () => {
    const c = await world.start('a', ['allow 203.0.113.1/icmp', 'allow 2001:db8:113::1/icmp']);
    const netns = world.service.namespacePath('a');
    const ping = (host: string) =>
      world.lab
        .sh(`busybox ping -c 1 -W 1 ${host} >/dev/null 2>&1 && echo open || echo shut`, netns)
        .then((text) => text.trim());
    expect(await ping('203.0.113.1')).toBe('open');
    expect(await ping('203.0.113.2')).toBe('shut');
    expect(await ping('2001:db8:113::1')).toBe('open');
    expect(await ping('2001:db8:113::2')).toBe('shut');
    expect(await c.reach('203.0.113.1', 443)).toBe('shut');
  });

  test("this host: its own addresses, the gateway's and published ports by them", async () => {
    const c = await world.start('a', ['default deny']);
    const published = { hostIp: '', hostPort: 8080, hostPortEnd: 8080, containerPort: 80, protocol: 'tcp' as const };
    const b = await world.start('b', undefined, 'bridge', [published]);
    await b.peer.serve('tcp', 80);
    const { gatewayIpv4, gatewayIpv6 } = c.endpoint;
    for (const address of [gatewayIpv4, gatewayIpv6, world.lab.hostAddress, world.lab.hostAddress6]) {
      expect(await c.reach(address, 7001), address).toBe('shut');
      expect(await c.reach(address, 8080), address).toBe('shut');
    }
    await world.set(c.subject, 'allow host:8080/tcp');
    expect(await c.reach(gatewayIpv4, 8080)).toBe('open');
    expect(await c.reach(world.lab.hostAddress6, 8080)).toBe('open');
    expect(await c.reach(gatewayIpv4, 7001)).toBe('shut');
  });

  test('who is not asked for by a policy is not held by it; answers to others always leave', async () => {
    const published = { hostIp: '', hostPort: 8081, hostPortEnd: 8081, containerPort: 80, protocol: 'tcp' as const };
    const c = await world.start('a', ['default deny'], 'bridge', [published]);
    await c.peer.serve('tcp', 80);
    const free = await world.start('b', undefined);
    expect(await free.reach('203.0.113.1', 443)).toBe('open');
    expect(await world.outside.ask('tcp', world.lab.hostAddress, 8081)).toMatch(/^[\d.]+$/);
    expect(await world.host.ask('tcp', c.ipv4, 80)).toMatch(/^[\d.]+$/);
  });
});
describe('by name', () => {
  test('opens what a name is answered with, in both families and through aliases, and nothing else', async () => {
    world.world.set('www.example.com', [
      alias('www.example.com', 'edge.cdn.net'),
      alias('edge.cdn.net', 'e1.cdn.net'),
      a('e1.cdn.net', '203.0.113.1'),
      a('e1.cdn.net', '2001:db8:113::1'),
      a('stowaway.example.org', '203.0.113.5'),
    ]);
    const c = await world.start('a', ['allow *.example.com:443']);
    expect(await c.reach('203.0.113.1', 443)).toBe('shut');
    expect(await c.look('www.example.com')).toContain('203.0.113.1');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('203.0.113.1', 80)).toBe('shut');
    expect(await c.reach('203.0.113.5', 443)).toBe('shut');
    expect(await c.reach('2001:db8:113::1', 443)).toBe('shut');
    expect(await c.look('WWW.Example.Com', { type: 'AAAA', transport: 'tcp' })).toContain('2001:db8:113::1');
    expect(await c.reach('2001:db8:113::1', 443)).toBe('open');
    expect(world.complaints).toEqual([]);
  });

  test('names that no rule allows are asked of nobody', async () => {
    world.world.set('example.com', [a('example.com', '203.0.113.1')]);
    world.world.set('c2.evil.org', [a('c2.evil.org', '203.0.113.2')]);
    const c = await world.start('a', ['allow example.com']);
    for (const name of [
      'c2.evil.org',
      'c3VwZXJzZWNyZXQ.example.com',
      'example.com.evil.org',
      '1.113.0.203.in-addr.arpa',
    ]) {
      for (const type of ['A', 'TXT'] as const) expect(await c.look(name, { type }), name).toBe('rcode 3');
    }
    expect(world.asked).toEqual([]);
    expect(await c.look('example.com')).toBe('203.0.113.1');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
  });

  test('resolvers elsewhere are out of reach: UDP, TCP and over TLS', async () => {
    const c = await world.start('a', ['allow example.com']);
    expect(await c.look('example.com', { server: '203.0.113.1' })).toMatch(/timeout|EHOSTUNREACH|ECONNREFUSED/);
    expect(await c.reach('203.0.113.1', 53)).toBe('shut');
    expect(await c.reach('203.0.113.1', 853)).toBe('shut');
    expect(await c.reach('2001:db8:113::1', 853)).toBe('shut');
    await world.set(c.subject, 'allow 203.0.113.1:53');
    expect(await c.reach('203.0.113.1', 53)).toBe('open');
    expect(await c.datagram('203.0.113.1', 53)).toBe('open');
  });

  test("a server of the host that is not ours is not reached at the gateway's port 53", async () => {
    const c = await world.start('a', ['default deny']);
    world.names[Symbol.dispose]();
    await using _stranger = await (async () => {
      const { Peer } = await import('../support/network-lab.ts');
      const peer = new Peer();
      await peer.serve('tcp', 53);
      await peer.serve('udp', 53);
      return peer;
    })();
    try {
      expect(await c.reach(c.endpoint.gatewayIpv4, 53)).toBe('shut');
      expect(await c.datagram(c.endpoint.gatewayIpv4, 53)).toBe('timeout');
    } finally {
      world.names = world.openNames();
    }
  });

  test('a name of the world does not open the host, a neighbour, this link, nor, unless it may, a private address', async () => {
    const c = await world.start('a', ['allow example.com', 'allow-private intra.example.com']);
    const b = await world.start('b', undefined);
    await world.service.create({
      ...{ name: 'other', driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: true },
      ...{ ipam: [], options: {}, labels: {} },
    });
    const d = await world.start('d', undefined, 'other');
    const bound = [
      ...[
        c.endpoint.gatewayIpv4,
        c.endpoint.gatewayIpv6,
        world.lab.hostAddress,
        world.lab.hostAddress6,
        b.ipv4,
        b.ipv6,
      ],
      ...[d.ipv4, d.ipv6, '127.0.0.1', '::1', '169.254.169.254', 'fe80::1', '0.0.0.0', '255.255.255.255'],
      ...['::ffff:c633:6401', '64:ff9b::a00:1'],
    ];
    for (const name of ['example.com', 'intra.example.com']) {
      world.world.set(
        name,
        [...bound, '10.99.0.1', '203.0.113.1'].map((address) => a(name, address)),
      );
      await c.look(name);
      await c.look(name, { type: 'AAAA' });
    }
    expect(world.service.egress.openNames('a').map(({ name, address }) => `${name} ${address}`)).toEqual([
      'example.com 203.0.113.1',
      'intra.example.com 10.99.0.1',
      'intra.example.com 203.0.113.1',
    ]);
    expect(await c.reach(c.endpoint.gatewayIpv4, 7001)).toBe('shut');
    expect(await c.reach(world.lab.hostAddress, 7001)).toBe('shut');
    expect(await c.reach('10.99.0.1', 443)).toBe('open');
    await world.set(c.subject, 'allow intra.example.com');
    expect(await c.reach('10.99.0.1', 443)).toBe('shut');
  });

  test('addresses close when their time is over, and stay open while they are asked for', async () => {
    world.world.set('short.example.com', [a('short.example.com', '203.0.113.1', 1)]);
    world.world.set('long.example.com', [a('long.example.com', '203.0.113.2', 600)]);
    const c = await world.start('a', ['allow *.example.com']);
    const started = performance.now();
    await c.look('short.example.com');
    await c.look('long.example.com');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    await eventually('it is closed', async () => {
      await c.look('long.example.com');
      return (await c.reach('203.0.113.1', 443)) === 'shut';
    });
    expect(performance.now() - started).toBeGreaterThan(times.floorMs);
    expect(await c.reach('203.0.113.2', 443)).toBe('open');
    await c.look('short.example.com');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
  });

  test('what is open outlives the name server and a flush of the rules', async () => {
    world.world.set('example.com', [a('example.com', '203.0.113.1'), a('example.com', '2001:db8:113::1')]);
    const c = await world.start('a', ['allow example.com:443']);
    await c.look('example.com');
    await c.look('example.com', { type: 'AAAA' });
    world.names[Symbol.dispose]();
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    await world.lab.sh('nft flush ruleset');
    await world.service.watchRules();
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('2001:db8:113::1', 443)).toBe('open');
    expect(await c.reach('203.0.113.2', 443)).toBe('shut');
    // Single elements, too.
    await world.lab.sh(`nft flush set inet ${TABLE} egress-ca-name0-4`);
    expect(await c.reach('203.0.113.1', 443)).toBe('shut');
    expect(await world.service.watchRules()).toBe(true);
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    world.names = world.openNames();
    world.names.look();
    expect(await c.look('example.com')).toBe('203.0.113.1');
  });
});

describe('a hostile container', () => {
  test("sends under no neighbour's address, neither packets nor questions", async () => {
    const c = await world.start('a', ['allow example.com']);
    const b = await world.start('b', undefined);
    world.world.set('secret.evil.org', [a('secret.evil.org', '203.0.113.1')]);
    await world.lab.sh(`ip address add ${b.ipv4}/32 dev eth0`, world.service.namespacePath('a'));
    expect(await c.look('secret.evil.org', { from: b.ipv4 })).toBe('timeout');
    expect(world.asked).toEqual([]);
    await world.lab.sh(
      `nft 'add table inet probe; add chain inet probe in { type filter hook input priority -400; }; add rule inet probe in ip saddr != 203.0.113.9 udp dport 500 counter'`,
      world.lab.outside,
    );
    await world.lab.sh(
      `ip route add 203.0.113.1 via ${c.endpoint.gatewayIpv4} src ${b.ipv4}; echo x | timeout 1 busybox nc -u -w 1 -s ${b.ipv4} 203.0.113.1 500 || true`,
      world.service.namespacePath('a'),
    );
    expect(await world.lab.sh('nft list chain inet probe in', world.lab.outside)).toContain('packets 0');
    await world.lab.sh('nft delete table inet probe', world.lab.outside);
    // The neighbour itself is free.
    expect(await b.datagram('203.0.113.1', 500)).toBe('open');
  });
});

describe('neighbours', () => {
  test('are reached unless a rule says otherwise, by its place or by the word; what they begin is answered', async () => {
    const c = await world.start('a', ['allow 203.0.113.1']);
    const b = await world.start('b', undefined);
    for (const one of [b, c]) for (const port of [80, 81]) await one.peer.serve('tcp', port);
    await b.peer.serve('udp', 500, b.ipv4);
    await c.peer.serve('udp', 500, c.ipv4);
    const late = await world.start('late', undefined);
    await late.peer.serve('tcp', 80);
    for (const call of ['0', '1']) {
      // Where br_netfilter is loaded, as docker does it, frames between neighbours meet the rules for IP.
      await world.lab.sh(
        `for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo ${call} > $f; done`,
      );
      expect(await c.reach(late.ipv4, 80)).toBe('open');
      expect(await c.reach(b.ipv6, 81)).toBe('open');
    }
    expect(await tables()).not.toContain(`table bridge ${TABLE}-egress`);

    await world.set(c.subject, 'allow neighbours:80/tcp', 'deny neighbours');
    const shut = (host: string, port: number) => c.peer.ask('tcp', host, port, 500);
    for (const address of [b.ipv4, b.ipv6]) {
      expect(await c.reach(address, 80), address).toBe('open');
      expect(await shut(address, 81), address).toBe('timeout');
    }
    expect(await c.datagram(b.ipv4, 500)).toBe('timeout');
    expect(await b.reach(c.ipv4, 81)).toBe('open');
    expect(await b.reach(c.ipv6, 81)).toBe('open');
    expect(await b.datagram(c.ipv4, 500)).toBe('open');
    const attempts = await world.service.egress.attempts(c.subject);
    expect(attempts.map(({ destination, port }) => `${destination} ${port}`)).toContain(`${b.ipv4} 81`);
    // By the host they are reached no better.
    await world.lab.sh(`ip route add ${b.ipv4} via ${c.endpoint.gatewayIpv4}`, world.service.namespacePath('a'));
    expect(await c.reach(b.ipv4, 81)).toBe('shut');
    await world.lab.sh(`ip route del ${b.ipv4}`, world.service.namespacePath('a'));

    await world.lab.sh('nft flush ruleset');
    expect(await world.service.watchRules()).toBe(true);
    expect(await shut(b.ipv4, 81)).toBe('timeout');
    await world.set(c.subject, `deny ${b.ipv4}`);
    expect(await shut(b.ipv4, 80)).toBe('timeout');
    expect(await c.reach(b.ipv6, 81)).toBe('open');
    await world.set(c.subject, 'deny 203.0.113.1');
    expect(await c.reach(b.ipv4, 81)).toBe('open');
    expect(await tables()).not.toContain(`table bridge ${TABLE}-egress`);
  });

  test("a network's policy keeps all on it apart", async () => {
    const network = await world.service.create({
      ...{ name: 'apart', driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: true },
      ...{ ipam: [], options: {}, labels: {}, egress: ['deny neighbours'] },
    });
    const c = await world.start('a', undefined, network.id);
    const b = await world.start('b', undefined, network.id);
    await b.peer.serve('tcp', 80);
    expect(await c.peer.ask('tcp', b.ipv4, 80, 500)).toBe('timeout');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
  });
});

describe('changed while it runs', () => {
  test('a rule that is withdrawn cuts its connections, and leaves the others', async () => {
    const c = await world.start('a', ['allow 203.0.113.1', 'allow 203.0.113.2']);
    const flows = () => world.lab.sh(`grep -c ${c.ipv4} /proc/net/nf_conntrack || true`);
    expect(await c.datagram('203.0.113.1', 500)).toBe('open');
    expect(await c.datagram('203.0.113.2', 500)).toBe('open');
    const before = Number(await flows());
    expect(before).toBeGreaterThanOrEqual(2);
    await world.set(c.subject, 'allow 203.0.113.1');
    expect(Number(await flows())).toBe(before - 1);
    expect(await c.datagram('203.0.113.2', 500)).toBe('timeout');
    expect(await c.datagram('203.0.113.1', 500)).toBe('open');
    await world.service.egress.change(c.subject, () => undefined);
    expect(await c.datagram('203.0.113.2', 500)).toBe('open');
    expect(await tables()).not.toContain('egress-ca');
  });

  test("a network's policy holds for all on it, and with a container's own both must allow", async () => {
    const network = await world.service.create({
      ...{ name: 'team', driver: 'bridge', internal: false, enableIPv4: true, enableIPv6: true },
      ...{ ipam: [], options: {}, labels: {} },
    });
    const subject = { kind: 'network', id: network.id } as const;
    world.world.set('one.example.com', [a('one.example.com', '203.0.113.3')]);
    world.world.set('two.example.com', [a('two.example.com', '203.0.113.4')]);
    const free = await world.start('a', undefined, 'team');
    const own = await world.start('b', ['allow one.example.com:443'], 'team');
    await world.set(subject, 'allow *.example.com:443,80');
    for (const c of [free, own]) {
      expect(await c.reach('203.0.113.1', 443)).toBe('shut');
      await c.look('one.example.com');
      await c.look('two.example.com');
      expect(await c.reach('203.0.113.3', 443)).toBe('open');
    }
    expect(await free.reach('203.0.113.4', 80)).toBe('open');
    expect(await own.reach('203.0.113.4', 80)).toBe('shut');
    await world.set(subject, 'deny any:443');
    expect(await own.reach('203.0.113.3', 443)).toBe('shut');
    expect(await free.reach('203.0.113.1', 80)).toBe('open');
  });

  test('nothing of a policy is left when its container has gone', async () => {
    const { endpoint } = await world.start('a', ['allow example.com', 'default learn']);
    expect(await tables()).toContain('egress-ca-learned4');
    await world.service.disconnect('a', endpoint.networkId);
    expect(await tables()).not.toContain('egress-ca');
    const listed = await world.lab.sh(
      `nft list map inet ${TABLE} egress_containers; nft list set inet ${TABLE} egress_own4`,
    );
    expect(listed).not.toContain('elements');
  });
});

describe('what was tried', () => {
  test('denied: by whom, to where, how often and when; a scan takes no more room than it may', async () => {
    const c = await world.start('a', ['allow 203.0.113.1', 'deny 203.0.113.1:80', 'allow example.com']);
    const before = Date.now() - 2_000;
    await c.reach('203.0.113.2', 443);
    await c.reach('203.0.113.2', 443);
    await c.reach('2001:db8:113::2', 80);
    await c.look('evil.org');
    await eventually('the name is written down', async () =>
      (await world.service.egress.attempts(c.subject)).some(({ protocol }) => protocol === 'dns'),
    );
    const attempts = await world.service.egress.attempts(c.subject);
    const shown = attempts.map(({ isDenied, containerId, destination, protocol, port }) =>
      [isDenied, containerId, destination, protocol, port].join(' '),
    );
    expect(shown.sort()).toEqual([
      'true a 2001:db8:113::2 tcp 80',
      'true a 203.0.113.2 tcp 443',
      'true a evil.org dns 0',
    ]);
    const of = (destination: string) => attempts.find((attempt) => attempt.destination === destination)!;
    expect(of('203.0.113.2').count).toBe(2);
    expect(of('203.0.113.2').lastMs).toBeGreaterThan(before);
    expect(await world.service.egress.attempts(c.subject)).toHaveLength(3);
    await world.lab.sh('nft flush ruleset');
    await world.service.watchRules();
    await c.reach('203.0.113.2', 443);
    const after = await world.service.egress.attempts(c.subject);
    expect(after.find(({ destination }) => destination === '203.0.113.2')!.count).toBe(3);
    await world.service.egress.clear(c.subject);
    expect(await world.service.egress.attempts(c.subject)).toEqual([]);
  });

  test('learned: a policy that lets through the same, by name where there was one', async () => {
    const c = await world.start('a', ['default learn']);
    world.world.set('www.example.com', [alias('www.example.com', 'cdn.net'), a('cdn.net', '203.0.113.1')]);
    world.world.set('intra.example.com', [a('intra.example.com', '10.99.0.1')]);
    for (const name of ['www.example.com', 'intra.example.com', 'nothing.example.com']) await c.look(name);
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('203.0.113.1', 80)).toBe('open');
    expect(await c.reach('10.99.0.1', 443)).toBe('open');
    expect(await c.reach('2001:db8:113::4', 443)).toBe('open');
    expect(await c.datagram('203.0.113.4', 500)).toBe('open');
    expect(await c.reach(c.endpoint.gatewayIpv4, 7001)).toBe('open');
    const { egressPolicyLines } = await import('../../src/network/index.ts');
    const learned = async () => world.service.egress.learned(c.subject);
    await eventually('names are written down', async () => (await learned()).namesOnly.length > 0);
    const { policy, namesOnly } = await learned();
    expect(egressPolicyLines(policy)).toEqual([
      'allow 203.0.113.4:500/udp',
      'allow [2001:db8:113::4]:443/tcp',
      'allow host:7001/tcp',
      'allow www.example.com:80,443/tcp',
      'allow-private intra.example.com:443/tcp',
      'default deny',
    ]);
    expect(namesOnly).toEqual(['nothing.example.com']);
    await world.service.egress.change(c.subject, () => policy);
    await c.look('www.example.com');
    expect(await c.reach('203.0.113.1', 443)).toBe('open');
    expect(await c.reach('10.99.0.1', 443)).toBe('open');
    expect(await c.reach('203.0.113.2', 443)).toBe('shut');
  });
});
