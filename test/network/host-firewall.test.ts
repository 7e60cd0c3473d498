import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { NetworkService, PortRequest } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const wish: PortRequest = { hostIp: '', hostPort: 8080, hostPortEnd: 8080, containerPort: 80, protocol: 'tcp' };
const OURS = 'TARE-1AB00000-FORWARD';

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;
let peer: Peer | undefined;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
  outside = new Peer(lab.outside);
  await outside.serve('tcp', 7000);
});
afterEach(async () => {
  await stop();
  await lab.sh('nft flush ruleset');
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

async function start(): Promise<Peer> {
  const netns = service.createNamespace('a');
  await service.connect({ containerId: 'a', networkId: 'bridge', netns, ports: [wish] });
  peer = new Peer(netns);
  await peer.serve('tcp', 80);
  return peer;
}

async function stop(): Promise<void> {
  await peer?.[Symbol.asyncDispose]();
  peer = undefined;
  await service.reconcile(() => false);
  await service.teardown();
}

const passes = async (client: Peer): Promise<void> => {
  expect(await client.ask('tcp', lab.outsideAddress, 7000, 1000)).toBe(lab.hostAddress);
  expect(await outside.ask('tcp', lab.hostAddress, 8080, 1000)).toBe(lab.outsideAddress);
};

const ufw = `iptables-nft -P FORWARD DROP
for chain in ufw-before-forward ufw-after-forward ufw-reject-forward ufw-track-forward; do iptables-nft -N $chain; iptables-nft -A FORWARD -j $chain; done
iptables-nft -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -A ufw-reject-forward -j REJECT`;

const firewalld = `nft -f - <<END
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_ZONES {
    goto filter_FWD_public
  }
  chain filter_FWD_public {
    jump filter_FWD_public_allow
    reject with icmpx admin-prohibited
  }
  chain filter_FWD_public_allow { }
}
END`;

const own = `nft 'add table ip mine; add chain ip mine through { type filter hook forward priority 5; policy drop; }; add rule ip mine through tcp dport 22 accept'`;

test.each([
  { style: 'ufw', setup: ufw, list: 'nft --stateless list table ip filter' },
  { style: 'firewalld', setup: firewalld, list: 'nft --stateless list table inet firewalld' },
  { style: "an administrator's own table", setup: own, list: 'nft --stateless list table ip mine' },
])('$style: containers get through, and the table is left as it was', async ({ setup, list }) => {
  await lab.sh(setup);
  const before = await lab.sh(list);
  await passes(await start());
  expect(await lab.sh(list)).toContain(OURS);
  await stop();
  expect(await lab.sh(list)).toBe(before);
});

test('a host firewall that is loaded anew while containers run is opened again, and nothing is written twice', async () => {
  await lab.sh(ufw);
  const client = await start();
  await service.watchRules();
  await lab.sh(`iptables-nft -F; iptables-nft -X; nft delete table ip filter; ${ufw}`);
  expect(await client.ask('tcp', lab.outsideAddress, 7000, 400)).not.toBe(lab.hostAddress);
  await service.watchRules();
  await passes(client);
  const settled = await lab.sh('nft -a list table ip filter');
  await lab.sh('nft add table inet theirs');
  await service.watchRules();
  // The same handles: no rule of ours was made anew.
  expect(((await lab.sh('nft -a list table ip filter')).match(/handle \d+/g) ?? []).join()).toBe(
    (settled.match(/handle \d+/g) ?? []).join(),
  );
});

test('what the administrator drops by a rule of their own stays dropped', async () => {
  await lab.sh(`${firewalld}\nnft insert rule inet firewalld filter_FORWARD ip daddr ${lab.outsideAddress} drop`);
  const client = await start();
  expect(await client.ask('tcp', lab.outsideAddress, 7000, 400)).toBe('timeout');
});

describe('a host that refuses what is for itself', () => {
  const unused = {
    driver: 'bridge',
    internal: true,
    enableIPv4: true,
    enableIPv6: true,
    ipam: [],
    options: {},
    labels: {},
  };
  let host: Peer;
  beforeAll(async () => {
    host = new Peer();
    await Promise.all([host.serve('tcp', 53), host.serve('udp', 53), host.serve('tcp', 54)]);
  });
  afterAll(() => host[Symbol.asyncDispose]());

  const icmp = 'ip6tables-nft -A INPUT -p icmpv6 -j ACCEPT';
  const undoLegacy = 'iptables-legacy -P INPUT ACCEPT; iptables-legacy -F; iptables-legacy -X';

  test.each([
    {
      style: 'iptables-nft',
      setup: `iptables-nft -P INPUT DROP; ${icmp}; ip6tables-nft -P INPUT DROP`,
      list: 'nft --stateless list ruleset',
    },
    {
      style: 'iptables-nft, rejecting at the end',
      setup: `iptables-nft -A INPUT -j REJECT; ${icmp}; ip6tables-nft -A INPUT -j REJECT`,
      list: 'nft --stateless list ruleset',
    },
    { style: 'iptables-legacy', setup: 'iptables-legacy -P INPUT DROP', list: 'iptables-legacy -S', undo: undoLegacy },
  ])('$style: who has names can ask for them, and reaches nothing else', async ({ setup, list, undo = 'true' }) => {
    await using undone = new AsyncDisposableStack();
    undone.defer(async () => void (await lab.sh(undo)));
    await lab.sh(setup);
    const before = await lab.sh(list);
    const network = await service.create({ ...unused, name: 'named' });
    const leave = async () => {
      await stop();
      if (service.list().some(({ name }) => name === 'named')) await service.remove('named');
      await service.teardown();
    };
    undone.defer(leave);
    const netns = service.createNamespace('a');
    await service.connect({ containerId: 'a', networkId: network.id, netns, ports: [] });
    peer = new Peer(netns);
    const [gateway4, gateway6] = network.ipam.map(({ gateway }) => gateway) as [string, string];
    expect(await peer.ask('tcp', gateway4, 53, 1000)).toMatch(/^\d+\./);
    expect(await peer.ask('udp', gateway4, 53, 1000)).toMatch(/^\d+\./);
    expect(await peer.ask('tcp', gateway6, 53, 1000)).toMatch(/^fd/);
    expect(await peer.ask('tcp', gateway4, 54, 300)).toMatch(/timeout|ECONNREFUSED/);
    await leave();
    expect(await lab.sh(list)).toBe(before);
  });
});

test('chains that lead in circles end the search', async () => {
  // The kernel refuses loops; so many ways through a diamond would take as long.
  const levels = Array.from({ length: 12 }, (_, level) => `c${level}`);
  const chains = levels.map((name, level) => {
    const next = levels[level + 1];
    return `chain ${name} {\n${next === undefined ? 'counter' : `jump ${next}\n`.repeat(3)}\n}\n`;
  });
  const through = 'chain through {\n type filter hook forward priority 5\n jump c0\n}\n';
  await lab.sh(`nft 'table ip deep {\n${chains.reverse().join('')}${through}}'`);
  const started = performance.now();
  await passes(await start());
  expect(performance.now() - started).toBeLessThan(5000);
});

const legacyTables = `cat /proc/thread-self/net/ip_tables_names`;

test.each([
  { style: 'policy DROP', setup: 'iptables-legacy -P FORWARD DROP' },
  {
    style: 'a REJECT at the end',
    setup: 'iptables-legacy -A FORWARD -i nosuch -j ACCEPT; iptables-legacy -A FORWARD -j REJECT',
  },
])('iptables-legacy, $style', async ({ setup }) => {
  await lab.sh(setup);
  expect(await lab.sh(legacyTables)).toContain('filter');
  const before = await lab.sh('iptables-legacy -S');
  try {
    await passes(await start());
    const opened = await lab.sh('iptables-legacy -S');
    expect(opened).toContain(`-j ${OURS}`);
    await service.reconcile((id) => id === 'a');
    expect(await lab.sh('iptables-legacy -S')).toBe(opened);
    await stop();
    expect(await lab.sh('iptables-legacy -S')).toBe(before);
  } finally {
    await lab.sh('iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; iptables-legacy -X');
  }
});
