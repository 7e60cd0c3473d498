import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectRequest, CreateNetwork, Endpoint, NetworkService } from '../../src/network/index.ts';
import { NetworkLab } from '../support/network-lab.ts';

const MBIT = 1e6;
/** What is sent in one measurement, a second at this rate. */
const RATE = 32 * MBIT;
const AMOUNT_BYTES = 4_000_000;
/** What gets through at once before the first packet waits, and headers, by the most generous count. */
const slackBits = 8 * 64 * 1024;

const ip = (cidr: string): string => cidr.split('/', 1)[0]!;
let lab: NetworkLab;
let service: NetworkService;

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService();
  await lab.sh(`ip link add lan0 type veth peer name lan0 netns ${lab.outside} && ip link set lan0 up`);
  await lab.sh('ip link set lan0 up', lab.outside);
  const folder = join(lab.root, 'net.d');
  mkdirSync(folder);
  const list = {
    ...{ cniVersion: '1.0.0', name: 'podnet' },
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'cni7' },
        ipam: { type: 'host-local', subnet: '10.66.0.0/24', dataDir: join(lab.root, 'ipam') },
      },
    ],
  };
  writeFileSync(join(folder, '10-podnet.conflist'), JSON.stringify(list));
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(async () => {
  await service.reconcile(() => false);
  for (const { name, driver } of service.list()) if (/vlan$/.test(driver)) await service.remove(name);
});

const create = (driver: string, options: Record<string, string>) =>
  service.create({
    ...{ name: 'lan', driver, internal: false, enableIPv4: true, enableIPv6: false, labels: {}, options },
    ipam: [{ subnet: '10.77.0.0/24', gateway: '', ipRange: '' }],
  } satisfies CreateNetwork);

async function start(containerId: string, networkId: string, more: Partial<ConnectRequest> = {}): Promise<Endpoint> {
  const netns = service.createNamespace(containerId);
  return await service.connect({ containerId, networkId, netns, ports: [], ...more });
}

/** Bits a second from one container to another, by TCP. */
async function measure(from: string, to: Endpoint): Promise<number> {
  const server = service.namespacePath(to.containerId);
  await lab.sh('iperf3 -s -1 -D; until ss -Hltn | grep -q :5201; do sleep 0.02; done', server);
  const text = await lab.sh(`iperf3 -J -c ${ip(to.ipv4)} -n ${AMOUNT_BYTES}`, service.namespacePath(from));
  await lab.sh('while ss -Hltn | grep -q :5201; do sleep 0.02; done', server);
  const { end } = JSON.parse(text) as { end: { sum_received: { bytes: number; seconds: number } } };
  return (end.sum_received.bytes * 8 - slackBits) / end.sum_received.seconds;
}

describe.each([
  { what: 'a bridge', network: () => Promise.resolve('bridge') },
  { what: 'macvlan', network: async () => (await create('macvlan', { parent: 'lan0' })).name },
  { what: 'CNI', network: () => Promise.resolve('podnet') },
])('on $what', ({ network }) => {
  test('traffic is as fast as was asked, each way by itself, and as the limit changes', async () => {
    const name = await network();
    const slow = await start('slow', name, { bandwidth: { inBits: RATE, outBits: 2 * RATE } });
    const other = await start('other', name);
    const inward = await measure('other', slow);
    const outward = await measure('slow', other);
    for (const [bits, limit] of [
      [inward, RATE],
      [outward, 2 * RATE],
    ] as const) {
      expect(bits).toBeLessThan(1.05 * limit);
      expect(bits).toBeGreaterThan(0.5 * limit);
    }
    // Others are as fast as ever once it is taken back.
    await service.setBandwidth('slow', slow.networkId, { inBits: 0, outBits: 0 });
    expect(await measure('other', slow)).toBeGreaterThan(4 * RATE);
    expect(await measure('slow', other)).toBeGreaterThan(4 * RATE);
    await service.setBandwidth('slow', slow.networkId, { inBits: RATE / 2, outBits: 0 });
    expect(await measure('other', slow)).toBeLessThan(0.6 * RATE);
    expect(service.endpoints({ containerId: 'slow' })[0]?.bandwidth).toEqual({ inBits: RATE / 2, outBits: 0 });
  });
});

test('what was flushed is put back, and a link that comes anew is as slow as before', async () => {
  const slow = await start('slow', 'bridge', { bandwidth: { inBits: RATE, outBits: RATE } });
  const queues = async () => {
    const host = await lab.sh(`tc qdisc show dev ${slow.hostInterface}`);
    return host + (await lab.sh('tc qdisc show dev eth0', service.namespacePath('slow')));
  };
  const limited = /tbf .*rate 32Mbit/g;
  expect((await queues()).match(limited)).toHaveLength(2);
  await lab.sh(`tc qdisc del dev ${slow.hostInterface} root`);
  await service.reconcile(() => true);
  expect((await queues()).match(limited)).toHaveLength(2);
  await lab.sh(`ip link del ${slow.hostInterface}`);
  await service.reconcile(() => true);
  expect((await queues()).match(limited)).toHaveLength(2);
});

test('in ipvlan mode l3s, where nothing that comes in passes the link, that is said', async () => {
  await create('ipvlan', { parent: 'lan0', ipvlan_mode: 'l3s' });
  const netns = service.createNamespace('slow');
  const bandwidth = { inBits: RATE, outBits: 0 };
  await expect(service.connect({ containerId: 'slow', networkId: 'lan', netns, ports: [], bandwidth })).rejects.toThrow(
    /incoming bandwidth cannot be limited in ipvlan mode l3s/,
  );
  expect(service.endpoints({ containerId: 'slow' })).toEqual([]);
});
