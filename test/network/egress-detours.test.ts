import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { node } from '../support/built.ts';
import { type Container, EgressLab } from '../support/egress-lab.ts';
import { collect, eventually } from '../support/execute.ts';
import type { Attack } from '../support/raw-sender.ts';

const rawSender = join(import.meta.dirname, '../support/raw-sender.ts');

const TABLE = 'tare-1ab00000';

let world: EgressLab;

beforeAll(async () => {
  world = await EgressLab.open({ floorMs: 60_000, graceMs: 1_000 });
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(() => world.stopAll());

/** Sends frames made by hand out of a container. */
async function send(id: string, ...attacks: Attack[]): Promise<void> {
  const netns = world.service.namespacePath(id);
  const { code, stderr } = await collect(
    spawn('nsenter', [`--net=${netns}`, node, rawSender, 'eth0', JSON.stringify(attacks)], { stdio: 'pipe' }),
  );
  expect(code, stderr).toBe(0);
}

/** How many packets a match counts in a namespace while something is done. */
async function counted(match: string, netns: string | undefined, work: () => Promise<void>): Promise<number> {
  await world.lab.sh(
    `nft 'add table inet probe; add chain inet probe in { type filter hook input priority -400; }; add rule inet probe in ${match} counter'`,
    netns,
  );
  try {
    await work();
    return Number(/packets (\d+)/.exec(await world.lab.sh('nft list chain inet probe in', netns))![1]);
  } finally {
    await world.lab.sh('nft delete table inet probe', netns);
  }
}

const bridgeMac = async (): Promise<string> =>
  JSON.parse(await world.lab.sh(`ip -j link show ${world.service.get('bridge').bridge}`))[0].address;

const denied = async (): Promise<Container> => await world.start('a', ['default deny']);

const RESERVED = [0, 2, 3, 4, 5, 13, 14, 15].map((last) => `01:80:c2:00:00:${last.toString(16).padStart(2, '0')}`);

test('frames to the addresses that bridges keep for themselves reach the host no better than others', async () => {
  const c = await denied();
  const { gatewayIpv4, gatewayIpv6 } = c.endpoint;
  const ways = [
    [c.ipv4, world.lab.hostAddress],
    ['203.0.113.7', gatewayIpv4],
    [c.ipv6, world.lab.hostAddress6],
    [c.ipv6, gatewayIpv6],
  ] as const;
  const frames = RESERVED.flatMap((destinationMac) =>
    ways.map(([from, to]): Attack => ({ kind: 'udp', from, to, port: 7777, destinationMac, count: 1 })),
  );
  expect(await counted('udp dport 7777', undefined, () => send('a', ...frames))).toBe(0);
  const unguarded = await world.service.create({
    ...{
      name: 'unguarded',
      driver: 'bridge',
      internal: false,
      enableIPv4: true,
      enableIPv6: true,
      ipam: [],
      labels: {},
    },
    ...{ options: { 'tare.bridge.spoof_guard': 'false' }, egress: ['default deny'] },
  });
  const free = await world.start('b', undefined, unguarded.id);
  const { ipv4: from } = free;
  const to = free.endpoint.gatewayIpv4;
  const reserved = () =>
    send(
      'b',
      ...RESERVED.map((destinationMac): Attack => ({ kind: 'udp', from, to, port: 7777, destinationMac, count: 1 })),
    );
  expect(await counted('udp dport 7777', undefined, reserved)).toBe(0);
  await world.set({ kind: 'network', id: unguarded.id }, 'allow host');
  // Let through, they come by the bridge: so the probe sees what reaches the host.
  expect(await counted(`iifname "${unguarded.bridge}" udp dport 7777`, undefined, reserved)).toBe(RESERVED.length);
});

test("frames under another MAC address than the container's own", async () => {
  const c = await denied();
  const destinationMac = await bridgeMac();
  const { gatewayIpv4 } = c.endpoint;
  const frames = [
    [c.ipv4, '203.0.113.1'],
    [c.ipv4, gatewayIpv4],
    [c.ipv6, '2001:db8:113::1'],
  ].map(
    ([from, to]): Attack => ({
      ...{ kind: 'udp', from: from!, to: to!, port: 7777, destinationMac, count: 2, sourceMac: '02:00:00:00:00:99' },
    }),
  );
  expect(await counted('udp dport 7777', world.lab.outside, () => send('a', ...frames))).toBe(0);
  expect(await counted('udp dport 7777', undefined, () => send('a', ...frames))).toBe(0);
});

test('messages of neighbour discovery leave the link with nothing hidden in them', async () => {
  const c = await denied();
  const destinationMac = await bridgeMac();
  const away = (to: string) => () =>
    send('a', { kind: 'neighbour', from: c.ipv6, claims: c.ipv6, to, destinationMac, count: 3 });
  const match = 'icmpv6 type nd-neighbor-advert';
  expect(await counted(match, world.lab.outside, away('2001:db8:113::1'))).toBe(0);
  expect(await counted(match, undefined, away(c.endpoint.gatewayIpv6))).toBe(3);
});

test('a flood takes no more room than it may: packets, names that are denied, addresses that are opened', async () => {
  const c = await world.start('a', ['allow *.example.com']);
  const destinationMac = await bridgeMac();
  const scan = (last: number) =>
    send('a', { kind: 'scan', from: c.ipv4, to: `203.0.113.${last}`, destinationMac, count: 1_500 });
  await scan(1);
  const held = await world.lab.sh(`nft list set inet ${TABLE} egress-ca-denied4`);
  expect(held.match(/expires/g)).toHaveLength(1_024);
  expect(await world.service.egress.attempts(c.subject)).toHaveLength(1_024);
  // Each look makes room only as the kernel forgets: a new table is a new set.
  for (const last of [2, 3]) {
    await world.lab.sh('nft flush ruleset');
    await world.service.watchRules();
    await scan(last);
    await world.service.egress.attempts(c.subject);
  }
  expect(await world.service.egress.attempts(c.subject)).toHaveLength(2_000);

  for (let number = 0; number < 2_500; number += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => c.look(`n${number + index}.evil.org`)));
  }
  await eventually('names are written down', async () =>
    (await world.service.egress.attempts(c.subject)).some(({ destination }) => destination.startsWith('n24')),
  );
  expect(await world.service.egress.attempts(c.subject)).toHaveLength(2_000);

  for (let number = 0; number < 6; number += 1) {
    const addresses = Array.from({ length: 1_000 }, (_, index) => `20.0.${number * 4 + (index >> 8)}.${index & 255}`);
    const name = `n${number}.example.com`;
    world.world.set(
      name,
      addresses.map((text) => ({ owner: name, type: 'A', text, ttl: 600 })),
    );
    expect((await c.look(name, { transport: 'tcp' })).split(' ').length).toBeGreaterThan(900);
    const open = await world.lab.sh(`nft list set inet ${TABLE} egress-ca-name0-4 | grep -o expires | wc -l`);
    expect(Number(open)).toBeLessThanOrEqual(4_096);
    // The latest are open, and what was closed opens again when it is asked for.
    expect(await world.lab.sh(`nft get element inet ${TABLE} egress-ca-name0-4 '{ ${addresses[7]} }'`)).toContain(
      '20.0',
    );
  }
  await c.look('n0.example.com', { transport: 'tcp' });
  expect(await world.lab.sh(`nft get element inet ${TABLE} egress-ca-name0-4 '{ 20.0.0.7 }'`)).toContain('20.0.0.7');
  expect(world.complaints.join()).toContain('too many addresses');
});
