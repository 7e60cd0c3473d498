import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RouteSocket } from '../../src/linux/index.ts';
import type { ConnectRequest, CreateNetwork, Endpoint, NetworkService } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const kills = Number(process.env['TARE_NETWORK_KILLS'] ?? 10);

const ROUNDS_TOGETHER = 10;

const wanted = (name: string, driver: string, more: Partial<CreateNetwork> = {}): CreateNetwork => ({
  ...{ name, driver, internal: false, enableIPv4: true, enableIPv6: false, ipam: [], options: {}, labels: {} },
  ...more,
});
const subnet = (text: string, gateway = '') => ({ subnet: text, gateway, ipRange: '' });
const onLan = (name: string, options: Record<string, string> = {}, driver = 'macvlan') =>
  wanted(name, driver, {
    ipam: [subnet('10.77.0.0/24', '10.77.0.254')],
    options: { parent: 'lan0', ...options },
  });
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

let lab: NetworkLab;
let service: NetworkService;
/** Another host, at the other end of the wire `lan0`. */
let outside: Peer;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
  await lab.sh(`ip link add lan0 type veth peer name lan0 netns ${lab.outside} && ip link set lan0 up`);
  await lab.sh(
    'ip link set lan0 up; ip address add 10.77.0.254/24 dev lan0; ip address add fd77::fe/64 dev lan0 nodad; ip address add 192.0.2.1/32 dev lo',
    lab.outside,
  );
  outside = new Peer(lab.outside);
  await outside.serve('tcp', 7000);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});
afterEach(async () => {
  await service.reconcile(() => false);
  for (const { name, driver } of service.list()) if (/vlan$/.test(driver)) await service.remove(name);
});

async function start(
  containerId: string,
  networkId: string,
  more: Partial<ConnectRequest> = {},
): Promise<[Endpoint, Peer]> {
  const netns = service.createNamespace(containerId);
  const endpoint = await service.connect({ containerId, networkId, netns, ports: [], ...more });
  const peer = new Peer(netns);
  await peer.serve('tcp', 80);
  return [endpoint, peer];
}

const hostLinks = (): string[] => {
  using route = new RouteSocket();
  return route.links().map(({ name }) => name);
};

describe('macvlan', () => {
  test.each([
    { mode: '', neighbour: /^10\.77\.0\.1$/ },
    { mode: 'bridge', neighbour: /^10\.77\.0\.1$/ },
    { mode: 'private', neighbour: /timeout|EHOSTUNREACH/ },
    // A switch that sends frames back where they came from would let them through; this wire does not.
    { mode: 'vepa', neighbour: /timeout|EHOSTUNREACH/ },
  ])('mode $mode: the wire is reached, and the neighbour as the mode says', async ({ mode, neighbour }) => {
    await service.create(onLan('lan', mode === '' ? {} : { macvlan_mode: mode }));
    const [a, peerA] = await start('a', 'lan');
    const [b, peerB] = await start('b', 'lan');
    await using _a = peerA;
    await using _b = peerB;
    expect([a.ipv4, a.gatewayIpv4, a.interfaceName, a.hostInterface]).toEqual([
      '10.77.0.1/24',
      '10.77.0.254',
      'eth0',
      '',
    ]);
    expect(await peerA.ask('tcp', '10.77.0.254', 7000)).toBe('10.77.0.1');
    expect(await peerA.ask('tcp', '192.0.2.1', 7000)).toBe('10.77.0.1');
    expect(await outside.ask('tcp', ip(b.ipv4), 80)).toBe('10.77.0.254');
    expect(await peerA.ask('tcp', ip(b.ipv4), 80, 700)).toMatch(neighbour);
    expect(await lab.sh('ip -d -o link show eth0', service.namespacePath('a'))).toContain(
      `macvlan mode ${mode || 'bridge'}`,
    );
  });

  test('in passthru mode one container is the parent, with its address', async () => {
    await service.create(onLan('lan', { macvlan_mode: 'passthru' }));
    const [, mac] = /link\/ether (\S+)/.exec(await lab.sh('ip -o link show lan0'))!;
    const [a, peer] = await start('a', 'lan');
    await using _peer = peer;
    expect(a.macAddress).toBe(mac);
    expect(await peer.ask('tcp', '10.77.0.254', 7000)).toBe(ip(a.ipv4));
    const second = service.connect({
      containerId: 'b',
      networkId: 'lan',
      netns: service.createNamespace('b'),
      ports: [],
    });
    await expect(second).rejects.toThrow('parent interface lan0 in mode passthru is taken by container a');
    const beside = { ...onLan('other'), ipam: [subnet('10.80.0.0/24')] };
    await expect(service.create(beside)).rejects.toThrow('is already using parent interface lan0 in mode passthru');
  });

  test('both families, chosen addresses, and addresses that are others’', async () => {
    await service.create(
      wanted('lan', 'macvlan', {
        enableIPv6: true,
        ipam: [
          {
            ...subnet('10.77.0.0/24', '10.77.0.254'),
            ipRange: '10.77.0.16/29',
            auxAddresses: { printer: '10.77.0.17' },
          },
          subnet('fd77::/64', 'fd77::fe'),
        ],
        options: { parent: 'lan0' },
      }),
    );
    const [a, peerA] = await start('a', 'lan');
    const chosen = { ipv4: '10.77.0.99', ipv6: 'fd77::99', macAddress: '02:00:00:00:00:99' };
    const [b, peerB] = await start('b', 'lan', chosen);
    await using _a = peerA;
    await using _b = peerB;
    expect([a.ipv4, b.ipv4, b.ipv6, b.macAddress]).toEqual([
      '10.77.0.16/24',
      '10.77.0.99/24',
      'fd77::99/64',
      '02:00:00:00:00:99',
    ]);
    expect(await peerB.ask('tcp', 'fd77::fe', 7000)).toBe('fd77::99');
    expect(await peerA.ask('tcp', 'fd77::99', 80)).toBe(ip(a.ipv6));
    expect(await lab.sh('ip -6 route show default', service.namespacePath('a'))).toContain('via fd77::fe');
    const taken = service.connect({
      ...{ containerId: 'c', networkId: 'lan', netns: service.createNamespace('c'), ports: [], ipv4: '10.77.0.17' },
    });
    await expect(taken).rejects.toThrow('Address already in use: 10.77.0.17');
    expect(service.get('lan').ipam[0]).toMatchObject({ auxAddresses: { printer: '10.77.0.17' } });
  });

  test('ports are accepted and publish nothing', async () => {
    await service.create(onLan('lan'));
    const port = { hostIp: '', hostPort: 8080, hostPortEnd: 8080, containerPort: 80, protocol: 'tcp' as const };
    const [a, peer] = await start('a', 'lan', { ports: [port] });
    await using _peer = peer;
    expect(a.ports).toEqual([]);
    expect(service.publishedPorts()).toEqual([]);
    expect(await outside.ask('tcp', ip(a.ipv4), 80)).toBe('10.77.0.254');
  });

  test('without a gateway, and on an internal network, there is no way out', async () => {
    await service.create({ ...onLan('lan'), ipam: [subnet('10.77.0.0/24')] });
    await service.create({ ...onLan('inner'), internal: true, ipam: [subnet('10.78.0.0/24', '10.78.0.254')] });
    const [, peerA] = await start('a', 'lan');
    const [, peerB] = await start('b', 'inner');
    await using _a = peerA;
    await using _b = peerB;
    expect(await peerA.ask('tcp', '10.77.0.254', 7000)).toBe('10.77.0.1');
    expect(await peerA.ask('tcp', '192.0.2.1', 7000)).toBe('ENETUNREACH');
    expect(await peerB.ask('tcp', '192.0.2.1', 7000)).toBe('ENETUNREACH');
  });

  test('without a parent the containers of the network reach each other alone', async () => {
    const { id } = await service.create(wanted('alone', 'macvlan', { ipam: [subnet('10.79.0.0/24', '10.79.0.254')] }));
    const dummy = `dm-${id.slice(0, 12)}`;
    expect(hostLinks()).toContain(dummy);
    expect(service.get('alone').internal).toBe(true);
    const [a, peerA] = await start('a', 'alone');
    const [b, peerB] = await start('b', 'alone');
    await using _a = peerA;
    await using _b = peerB;
    expect(await peerA.ask('tcp', ip(b.ipv4), 80)).toBe(ip(a.ipv4));
    expect(await peerA.ask('tcp', '10.77.0.254', 7000)).toBe('ENETUNREACH');
    await service.disconnect('a', id, { netns: service.namespacePath('a') });
    await service.disconnect('b', id);
    await service.remove('alone');
    expect(hostLinks()).not.toContain(dummy);
  });

  test('connected and disconnected while running, also under another name', async () => {
    await service.create(onLan('lan'));
    const [bridged, peer] = await start('a', 'bridge');
    await using _peer = peer;
    const netns = service.namespacePath('a');
    const lan = await service.connect({ containerId: 'a', networkId: 'lan', netns, ports: [] });
    expect([bridged.interfaceName, lan.interfaceName]).toEqual(['eth0', 'eth1']);
    expect(await peer.ask('tcp', '10.77.0.254', 7000)).toBe(ip(lan.ipv4));
    await lab.sh('ip link set eth1 down; ip link set eth1 name sneaky; ip link set sneaky up', netns);
    await service.disconnect('a', lan.networkId, { netns });
    expect(await lab.sh('ip -o link show', netns)).not.toMatch(/sneaky|macvlan/);
    expect(service.endpoints({ networkId: lan.networkId })).toEqual([]);
  });

  test('reconcile puts back links and removes parents that no network has', async () => {
    const { id } = await service.create(wanted('alone', 'macvlan', { ipam: [subnet('10.79.0.0/24')] }));
    const [a, peer] = await start('a', 'alone');
    await using _peer = peer;
    const netns = service.namespacePath('a');
    // With it go the links on it.
    await lab.sh(`ip link delete dm-${id.slice(0, 12)}`);
    expect(await lab.sh('ip -o link show', netns)).not.toContain('eth0');
    await service.reconcile(() => true);
    expect(await lab.sh('ip -o -4 address show eth0', netns)).toContain(a.ipv4);
    // As a remover that was killed leaves it.
    await service.disconnect('a', id, { netns });
    await lab.db.write((tx) => tx.run('DELETE FROM networks WHERE id = ?', id));
    await service.reconcile(() => true);
    expect(hostLinks().filter((name) => name.startsWith('dm-'))).toEqual([]);
  });

  test.each([
    { what: 'a loopback', more: { parent: 'lo' }, text: 'loopback interface is not a valid macvlan parent link' },
    { what: 'a name too long', more: { parent: 'x'.repeat(16) }, text: 'invalid parent interface "xxxxxxxxxxxxxxxx"' },
    { what: 'no name at all', more: { parent: 'a b/c' }, text: 'invalid parent interface "a b/c"' },
    { what: 'no such link', more: { parent: 'eth7' }, text: 'invalid subinterface vlan name eth7, example formatting' },
    { what: 'no carrier', more: { parent: 'eth7.5' }, text: 'failed to find master interface eth7' },
    { what: 'no VLAN id', more: { parent: 'eth7.x' }, text: 'required interface name format is: name.vlan_id' },
    {
      what: 'too large a VLAN id',
      more: { parent: 'lan0.4095' },
      text: 'vlan id must be between 1-4094, received: 4095',
    },
    {
      what: 'another mode',
      more: { macvlan_mode: 'l2' },
      text: "requested macvlan mode 'l2' is not valid, 'bridge' mode",
    },
  ])('refuses $what', async ({ more, text }) => {
    await expect(service.create(onLan('lan', more as unknown as Record<string, string>))).rejects.toThrow(text);
    expect(service.list().map(({ name }) => name)).toEqual(['bridge', 'host', 'none']);
  });

  test('refuses a parent that is in use in another way', async () => {
    await service.create(onLan('lan'));
    const beside = (name: string, driver: string, options: Record<string, string>) => ({
      ...onLan(name, options, driver),
      ipam: [subnet('10.80.0.0/24')],
    });
    await expect(service.create(beside('i', 'ipvlan', {}))).rejects.toThrow(
      'macvlan network lan is already using parent interface lan0',
    );
    await expect(service.create(beside('p', 'macvlan', { macvlan_mode: 'passthru' }))).rejects.toThrow(
      'cannot use mode passthru, macvlan network lan is already using parent interface lan0',
    );
    // A second one on the same wire is no conflict.
    await service.create(beside('second', 'macvlan', {}));
  });
});

/** Whether the kernel can make such a link; where it cannot, what we say of it is tested instead. */
const knows = async (link: string): Promise<boolean> =>
  (await lab.sh(`ip link add link lan0 name probe type ${link} && ip link del probe && echo yes || echo no`)) ===
  'yes\n';

describe('ipvlan', () => {
  test.each([
    { mode: 'l2', flag: 'bridge', neighbour: /^10\.77\.0\.1$/ },
    { mode: 'l2', flag: 'private', neighbour: /timeout|EHOSTUNREACH/ },
    { mode: 'l3', flag: 'bridge', neighbour: /^10\.60\.0\.1$/ },
    { mode: 'l3s', flag: 'bridge', neighbour: /^10\.60\.0\.1$/ },
  ])('mode $mode $flag: the way out and the neighbour as the mode says', async ({ mode, flag, neighbour }) => {
    const isRouted = mode !== 'l2';
    const pool = isRouted ? subnet('10.60.0.0/24', '10.60.0.254') : subnet('10.77.0.0/24', '10.77.0.254');
    await service.create({ ...onLan('lan', { ipvlan_mode: mode, ipvlan_flag: flag }, 'ipvlan'), ipam: [pool] });
    if (!(await knows('ipvlan'))) {
      const message =
        'network lan: failed to create the ipvlan link on lan0: this kernel has no ipvlan: load its module ipvlan';
      await expect(start('a', 'lan')).rejects.toThrow(expect.objectContaining({ kind: 'Unsupported', message }));
      expect(service.endpoints({})).toEqual([]);
      return;
    }
    // A network that is routed has no neighbours on the wire: the host's routes lead out, and the other host's lead back.
    await lab.sh('ip address replace 10.78.0.1/24 dev lan0');
    await lab.sh(
      'ip address replace 10.78.0.254/24 dev lan0; ip route replace 10.60.0.0/24 via 10.78.0.1',
      lab.outside,
    );
    const [a, peerA] = await start('a', 'lan');
    const [b, peerB] = await start('b', 'lan');
    await using _a = peerA;
    await using _b = peerB;
    expect([a.macAddress, a.gatewayIpv4]).toEqual(['', isRouted ? '' : '10.77.0.254']);
    const route = await lab.sh('ip route show default', service.namespacePath('a'));
    expect(route).toContain(isRouted ? 'default dev eth0' : 'default via 10.77.0.254 dev eth0');
    expect(await peerA.ask('tcp', isRouted ? '10.78.0.254' : '10.77.0.254', 7000)).toBe(ip(a.ipv4));
    expect(await outside.ask('tcp', ip(b.ipv4), 80)).toBe(isRouted ? '10.78.0.254' : '10.77.0.254');
    expect(await peerA.ask('tcp', ip(b.ipv4), 80, 700)).toMatch(neighbour);
  });

  test('has no address of its own to choose', async () => {
    await service.create(onLan('lan', {}, 'ipvlan'));
    await expect(start('a', 'lan', { macAddress: '02:00:00:00:00:01' })).rejects.toThrow(
      'ipvlan interfaces do not support custom mac address assignment',
    );
  });

  test('two modes on one parent, and two drivers, are refused', async () => {
    await service.create(onLan('lan', { ipvlan_mode: 'l3' }, 'ipvlan'));
    const beside = (driver: string, options: Record<string, string>) =>
      service.create({ ...onLan('other', options, driver), ipam: [subnet('10.80.0.0/24')] });
    await expect(beside('ipvlan', { ipvlan_mode: 'l2' })).rejects.toThrow('in mode l3 bridge');
    await expect(beside('ipvlan', { ipvlan_mode: 'l3', ipvlan_flag: 'vepa' })).rejects.toThrow('in mode l3 bridge');
    await expect(beside('macvlan', {})).rejects.toThrow('ipvlan network lan is already using parent interface lan0');
    await beside('ipvlan', { ipvlan_mode: 'l3' });
  });
});

test('a parent LINK.VLAN is made with the first network on it, and removed with the last', async () => {
  const tagged = (name: string, pool: string) =>
    service.create({ ...onLan(name, { parent: 'lan0.50' }), ipam: [subnet(pool)] });
  if (!(await knows('vlan id 50'))) {
    await expect(tagged('one', '10.81.0.0/24')).rejects.toThrow(
      'failed to create lan0.50 vlan link: this kernel has no 8021q: load its module 8021q',
    );
    expect(service.list().map(({ name }) => name)).not.toContain('one');
    return;
  }
  await lab.sh(
    'ip link add link lan0 name lan0.50 type vlan id 50; ip address add 10.81.0.254/24 dev lan0.50; ip link set lan0.50 up',
    lab.outside,
  );
  await tagged('one', '10.81.0.0/24');
  await tagged('two', '10.82.0.0/24');
  const [a, peer] = await start('a', 'one');
  await using _peer = peer;
  expect(await peer.ask('tcp', '10.81.0.254', 7000)).toBe(ip(a.ipv4));
  await service.disconnect('a', a.networkId, { netns: service.namespacePath('a') });
  await service.remove('one');
  expect(hostLinks()).toContain('lan0.50');
  await service.remove('two');
  expect(hostLinks()).not.toContain('lan0.50');
  await lab.sh('ip link delete lan0.50', lab.outside);
});

/** The kind of a link and its attributes in the request that makes one, as strace shows them. */
async function asked(command: string): Promise<{ kind: string; data: string }> {
  const traced = await lab.sh(`strace -f -v -s 4096 -e trace=sendmsg,sendto ${command} 2>&1 || true`);
  const line = traced.split('\n').find((text) => text.includes('RTM_NEWLINK') && text.includes('IFLA_INFO_KIND')) ?? '';
  return {
    kind: /IFLA_INFO_KIND\}, "(\w+)/.exec(line)?.[1] ?? line,
    data: /IFLA_INFO_DATA\}, (.*?)\]\]/.exec(line)?.[1]?.replaceAll('NLA_F_NESTED|', '') ?? line,
  };
}

test.each([
  { ip: 'macvlan mode private', ours: { kind: 'macvlan', mode: 'private' } },
  { ip: 'macvlan mode vepa', ours: { kind: 'macvlan', mode: 'vepa' } },
  { ip: 'ipvlan mode l2 bridge', ours: { kind: 'ipvlan', mode: 'l2', flag: 'bridge' } },
  { ip: 'ipvlan mode l3 private', ours: { kind: 'ipvlan', mode: 'l3', flag: 'private' } },
  { ip: 'ipvlan mode l3s vepa', ours: { kind: 'ipvlan', mode: 'l3s', flag: 'vepa' } },
  { ip: 'vlan id 50', ours: { kind: 'vlan', vlanId: 50 } },
])('the kernel is asked for $ip as iproute2 asks', async ({ ip: words, ours }) => {
  const program = join(import.meta.dirname, '../support/ask-link.ts');
  const theirs = await asked(`ip link add link lan0 name probe type ${words}`);
  expect(theirs.kind).toBe(words.split(' ', 1)[0]);
  await lab.sh('ip link delete probe || true');
  expect(await asked(`${process.execPath} ${program} '${JSON.stringify(ours)}'`)).toEqual(theirs);
  await lab.sh('ip link delete probe || true');
});

/** Starts the churn of a driver's networks and containers, and kills it after a while, again and again. */
async function killAtRandom(driver: string, rounds: number, longestMs: number): Promise<void> {
  const program = join(import.meta.dirname, '../support/driver-churn.ts');
  for (let round = 0; round < rounds; round += 1) {
    const child = spawn(process.execPath, [program, lab.root, String(round), driver], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * longestMs));
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test(
  `macvlan: killed at ${kills} random points: reconcile leaves nothing`,
  async () => {
    // A killed round may leave its network, which is a user's to remove; the pools hold few of them.
    for (let done = 0; done < kills; done += ROUNDS_TOGETHER) {
      await killAtRandom('macvlan', Math.min(ROUNDS_TOGETHER, kills - done), 40);
      await service.reconcile(() => false);
      for (const { name, driver } of service.list()) if (driver === 'macvlan') await service.remove(name);
    }
    expect(service.endpoints({})).toEqual([]);
    expect(hostLinks().filter((name) => /^dm-|^tare[0-9a-f]{11}$/.test(name))).toEqual([]);
    expect(readdirSync(join(lab.execRoot, 'netns'))).toEqual([]);
  },
  60_000 + kills * 5_000,
);

test(
  `CNI: killed at ${kills} random points: reconcile leaves nothing, and waits for plugins that still work`,
  async () => {
    mkdirSync(join(lab.root, 'net.d'), { recursive: true });
    const ipam = { type: 'host-local', subnet: '10.85.0.0/24', dataDir: join(lab.root, 'ipam') };
    const plugins = [{ type: 'bridge', bridge: 'cni5', isDefaultGateway: true, ipMasq: true, ipam }];
    const list = { cniVersion: '1.0.0', name: 'bridged', plugins };
    writeFileSync(join(lab.root, 'net.d', 'bridged.conflist'), JSON.stringify(list));
    await killAtRandom('cni', kills, 250);
    await service.reconcile(() => false);
    expect(service.endpoints({})).toEqual([]);
    expect(lab.db.all("SELECT name FROM networks WHERE json_extract(doc, '$.driver') = 'cni'")).toEqual([]);
    const given = existsSync(ipam.dataDir) ? readdirSync(join(ipam.dataDir, 'bridged')) : [];
    expect(given.filter((name) => name.startsWith('10.'))).toEqual([]);
    expect(await lab.sh('iptables-save -t nat')).not.toContain('10.85.0.');
    const ports = async () => (await lab.sh('ip -o link show master cni5 || true')).trim();
    await expect.poll(ports, { timeout: 5000 }).toBe('');
    await lab.sh('ip link delete cni5');
  },
  120_000 + kills * 5_000,
);
