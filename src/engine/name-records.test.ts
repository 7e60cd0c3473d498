import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint, NetworkRecord, NetworkService } from '../network/index.ts';
import { Database } from '../state/index.ts';
import { NameReader } from './name-records.ts';

const network = (name: string, number: number, more: Partial<NetworkRecord> = {}): NetworkRecord => ({
  id: `${number}`.repeat(64),
  name,
  driver: 'bridge',
  createdMs: 0,
  bridge: `br-${name}`,
  internal: false,
  enableIPv4: true,
  enableIPv6: false,
  mtu: 1500,
  ipam: [{ subnet: `10.${number}.0.0/16`, gateway: `10.${number}.0.1`, ipRange: '' }],
  icc: true,
  masquerade: true,
  options: {},
  labels: {},
  ...more,
});
const isolation = { 'com.docker.network.bridge.gateway_mode_ipv4': 'isolated' };
const networks = [
  network('bridge', 1),
  network('front', 2),
  network('back', 3),
  network('apart', 4, { internal: true, options: isolation }),
];
const endpoint = (containerId: string, number: number): Endpoint => ({
  id: `${containerId}-${number}`,
  networkId: `${number}`.repeat(64),
  containerId,
  interfaceName: 'eth0',
  hostInterface: 'veth',
  macAddress: '',
  ipv4: `10.${number}.0.9/16`,
  ipv6: '',
  gatewayIpv4: '',
  gatewayIpv6: '',
  ports: [],
});

const namespacePath = (id: string) => `/run/netns/${id}`;

let folder: string;
let db: Database;
let endpoints: Endpoint[];
let reader: NameReader;
const complaints: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-name-records-'));
  db = await Database.open(join(folder, 'tare.db'));
  endpoints = [];
  complaints.length = 0;
  const service = {
    list: () => networks,
    endpoints: () => endpoints,
    namespacePath,
    egress: { followedNetworks: () => new Set<string>(), find: () => undefined } as Partial<
      NetworkService['egress']
    > as NetworkService['egress'],
  } as Partial<NetworkService> as NetworkService;
  reader = new NameReader({ db, networks: service, report: (subject) => void complaints.push(subject) });
});
afterEach(() => {
  db[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

async function store(id: string, doc: unknown, ...numbers: number[]): Promise<void> {
  const text = typeof doc === 'string' ? doc : JSON.stringify(doc);
  await db.write((tx) => {
    tx.run('INSERT OR REPLACE INTO containers (id, name, status, doc) VALUES (?, ?, ?, ?)', id, id, 'running', text);
    for (const number of numbers) {
      const end = endpoint(id, number);
      endpoints.push(end);
      tx.run(
        'INSERT INTO endpoints (id, network_id, container_id, doc) VALUES (?, ?, ?, ?)',
        end.id,
        end.networkId,
        id,
        '',
      );
    }
  });
}

const record = (id: string, networking: unknown[], more = {}) => ({
  ...{ id, name: `name-of-${id}`, config: { hostname: `host-of-${id}` }, host: { dns: ['192.0.2.1'] }, networking },
  ...more,
});
const wish = (ref: string, aliases: string[] = [], links: string[] = []) => ({ network: ref, aliases, links });

test('what a container is called, on its networks in their order, whether named or told by id', async () => {
  await store('c', record('c', [wish('back', ['b']), wish('222222222222', ['f'], ['db:store'])]), 2, 3);
  const end = { ipv6: '', links: [] };
  expect(reader.read().containers).toEqual([
    {
      id: 'c',
      name: 'name-of-c',
      otherNames: ['c', 'host-of-c'],
      resolvers: ['192.0.2.1'],
      inside: 'also',
      namespace: '/run/netns/c',
      endpoints: [
        { ...end, networkId: '3'.repeat(64), ipv4: '10.3.0.9', aliases: ['b'] },
        { ...end, networkId: '2'.repeat(64), ipv4: '10.2.0.9', aliases: ['f'], links: ['db:store'] },
      ],
    },
  ]);
});

test('names are on networks of users, at the host where it has an address', () => {
  expect(reader.read().networks.map(({ name, servers }) => [name, ...servers])).toEqual([
    ['front', '10.2.0.1'],
    ['back', '10.3.0.1'],
    ['apart'],
  ]);
});

test('a container with names is answered inside, and only there when no network of its has a gateway to ask at', async () => {
  await store('far', record('far', [wish('apart')]), 4);
  await store('both', record('both', [wish('apart'), wish('front')]), 4, 2);
  await store('plain', record('plain', [wish('bridge')]), 1);
  expect(reader.read().containers.map(({ id, inside }) => [id, inside])).toEqual([
    ['both', 'also'],
    ['far', 'only'],
    ['plain', undefined],
  ]);
});

test('a bad record silences no other', async () => {
  await store('no-json', '{', 2);
  await store('no-record', 'null', 2);
  await store('no-networks', record('no-networks', [], { networking: null }), 2);
  await store('no-host', { id: 'no-host' }, 2);
  await store('good', record('good', [wish('front')]), 2);
  expect(reader.read().containers.map(({ id }) => id)).toEqual(['good']);
  expect(complaints).toHaveLength(4);
});

test('a container without an endpoint has no names, and a change is seen', async () => {
  await store('c', record('c', [wish('front')]));
  expect(reader.read().containers).toEqual([]);
  await store('c', record('c', [wish('front')]), 2);
  expect(reader.read().containers.map(({ name }) => name)).toEqual(['name-of-c']);
  await store('c', record('c', [wish('front')], { name: 'renamed' }));
  expect(reader.read().containers.map(({ name }) => name)).toEqual(['renamed']);
});

test('the version changes with every commit, of this connection or another, and with nothing else', async () => {
  const seen = [reader.version()];
  const step = async (work: () => Promise<unknown>) => {
    await work();
    seen.push(reader.version());
  };
  using other = await Database.open(join(folder, 'tare.db'));
  await step(() => store('a', record('a', [])));
  await step(() => other.write((tx) => tx.run('DELETE FROM containers')));
  await step(() => store('b', record('b', [])));
  await step(() => other.write((tx) => tx.run('DELETE FROM containers')));
  expect(new Set(seen).size).toBe(5);
  reader.read();
  expect(reader.version()).toBe(seen.at(-1));
});
