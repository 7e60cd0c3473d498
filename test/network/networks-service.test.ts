import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ContainerStore } from '../../src/engine/container-store.ts';
import { emptyEndpoint } from '../../src/engine/endpoint-request.ts';
import { createNetworksService } from '../../src/engine/networks.ts';
import type { ContainerRecord, NetworksService } from '../../src/engine/types.ts';
import type { CreateNetwork, NetworkService } from '../../src/network/index.ts';
import { eventually } from '../support/execute.ts';
import { NetworkLab } from '../support/network-lab.ts';

let lab: NetworkLab;
let kernel: NetworkService;
let store: ContainerStore;
let networks: NetworksService;
const told: string[] = [];

beforeAll(async () => {
  lab = await NetworkLab.open();
  kernel = await lab.openService();
  store = new ContainerStore(lab.db);
  networks = createNetworksService({
    intents: { begin: () => ({ [Symbol.dispose]() {} }) },
    ...{ db: lab.db, locks: lab.locks, store, networks: kernel },
    addressesChanged: (record, endpoints) => told.push(`${record.name} ${endpoints.length}`),
  });
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(async () => {
  await kernel.reconcile(() => false);
  await networks.prune();
  await lab.db.write((tx) => tx.run('DELETE FROM containers'));
  await lab.db.write((tx) => tx.run('DELETE FROM events'));
  told.length = 0;
});

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
const nothing = (() => {
  const { network, ...rest } = emptyEndpoint('');
  return rest;
})();

async function container(name: string, status: 'running' | 'exited', networkMode = 'bridge'): Promise<string> {
  const id = Buffer.from(name).toString('hex').padEnd(64, '0');
  const record = {
    ...{ id, name, createdMs: Date.now(), host: { networkMode }, state: { status } },
    networking: [emptyEndpoint(networkMode)],
  } as unknown as ContainerRecord;
  await store.insert(record);
  if (status !== 'running' || networkMode !== 'bridge') return id;
  await kernel.connect({ containerId: id, networkId: 'bridge', netns: kernel.createNamespace(id), ports: [] });
  return id;
}

const events = (): string[] =>
  lab.db
    .all<{ action: string; attributes: string }>('SELECT action, attributes FROM events ORDER BY id')
    .map(({ action, attributes }) => `${action} ${JSON.parse(attributes).name}`);

test.each([
  { filters: {}, want: ['blue', 'bridge', 'host', 'none', 'red'] },
  { filters: { name: ['re'] }, want: ['red'] },
  { filters: { name: ['^b'] }, want: ['blue', 'bridge'] },
  { filters: { name: ['red', 'none'] }, want: ['none', 'red'] },
  { filters: { driver: ['null'] }, want: ['none'] },
  { filters: { driver: ['bridge'] }, want: ['blue', 'bridge', 'red'] },
  { filters: { label: ['tone=warm'] }, want: ['red'] },
  { filters: { label: ['tone'] }, want: ['blue', 'red'] },
  { filters: { type: ['custom'] }, want: ['blue', 'red'] },
  { filters: { type: ['builtin'] }, want: ['bridge', 'host', 'none'] },
  { filters: { scope: ['swarm'] }, want: [] },
  { filters: { dangling: ['true'] }, want: ['blue'] },
  { filters: { dangling: ['false'] }, want: ['bridge', 'host', 'none', 'red'] },
])('list $filters', async ({ filters, want }) => {
  await networks.create(wanted('red', { labels: { tone: 'warm' } }));
  await networks.create(wanted('blue', { labels: { tone: 'cold' } }));
  const id = await container('c', 'running');
  await networks.connect('red', id, nothing);
  expect((await networks.list(filters as Record<string, string[]>)).map(({ name }) => name)).toEqual(want);
});

test.each([
  { filters: { color: ['red'] }, text: "invalid filter 'color'" },
  { filters: { type: ['mine'] }, text: "invalid filter: 'type'='mine'" },
  { filters: { dangling: ['perhaps'] }, text: 'dangling' },
])('list refuses $filters', async ({ filters, text }) => {
  await expect(networks.list(filters as unknown as Record<string, string[]>)).rejects.toThrow(text);
});

test('a network is made, inspected, used, left and removed, with its events', async () => {
  const { id } = await networks.create(wanted('mine'));
  const running = await container('runs', 'running');
  await networks.connect('mine', 'runs', { ...nothing, aliases: ['db'] });
  const view = await networks.inspect(id.slice(0, 10));
  expect(view.endpoints).toMatchObject([{ containerId: running, containerName: 'runs', interfaceName: 'eth1' }]);
  expect(store.get('runs').networking).toMatchObject([{ network: 'bridge' }, { network: 'mine', aliases: ['db'] }]);
  await expect(networks.remove('mine')).rejects.toThrow('network mine has active endpoints');
  await networks.disconnect('mine', 'runs', false);
  expect(store.get('runs').networking).toMatchObject([{ network: 'bridge' }]);
  await networks.remove('mine');
  expect(events()).toEqual(['create mine', 'connect mine', 'disconnect mine', 'destroy mine']);
  expect(told).toEqual(['runs 2', 'runs 1']);
});

test('a stopped container keeps the wish for its next start', async () => {
  await networks.create(wanted('mine'));
  await container('stopped', 'exited');
  await networks.connect('mine', 'stopped', nothing);
  expect(kernel.endpoints({ networkId: kernel.get('mine').id })).toEqual([]);
  expect(store.get('stopped').networking.map(({ network }) => network)).toEqual(['bridge', 'mine']);
  // Once more is no error, as with docker, and changes nothing.
  await networks.connect('mine', 'stopped', { ...nothing, aliases: ['other'] });
  await networks.connect('bridge', 'stopped', nothing);
  expect(store.get('stopped').networking).toMatchObject([{ network: 'bridge' }, { network: 'mine', aliases: [] }]);
  await networks.disconnect('mine', 'stopped', false);
  expect(store.get('stopped').networking.map(({ network }) => network)).toEqual(['bridge']);
});

test('what cannot be connected or disconnected says why', async () => {
  await networks.create(wanted('mine'));
  await container('runs', 'running');
  await container('shares', 'running', 'host');
  await container('joined', 'running', 'container:runs');
  await container('alone', 'exited', 'none');
  const refused = (text: string, attempt: Promise<void>) => expect(attempt).rejects.toThrow(text);
  await refused('network absent not found', networks.connect('absent', 'runs', nothing));
  await refused('No such container: absent', networks.connect('mine', 'absent', nothing));
  await refused(
    'endpoint with name runs already exists in network bridge',
    networks.connect('bridge', 'runs', nothing),
  );
  await refused('host network', networks.connect('mine', 'shares', nothing));
  await refused('host network', networks.connect('host', 'runs', nothing));
  await refused('sharing network namespace', networks.connect('mine', 'joined', nothing));
  await refused('private (none) mode', networks.connect('mine', 'alone', nothing));
  await refused('is not connected to network mine', networks.disconnect('mine', 'runs', false));
  await refused('user configured subnets', networks.connect('mine', 'runs', { ...nothing, ipv4: '1.2.3.4' }));
  await networks.create(wanted('own', { ipam: [{ subnet: '10.77.0.0/24', gateway: '', ipRange: '' }] }));
  await refused('no configured subnet contains', networks.connect('own', 'runs', { ...nothing, ipv4: '1.2.3.4' }));
  await refused('invalid IPv6 address', networks.connect('own', 'runs', { ...nothing, ipv6: '10.77.0.9' }));
  await networks.create(wanted('settings', { configOnly: true }));
  await refused('configuration network', networks.connect('settings', 'runs', nothing));
  await networks.remove('settings');
  expect(store.get('runs').networking).toHaveLength(1);
});

test('force releases the endpoint of a container whose record is gone', async () => {
  const id = await container('runs', 'running');
  await lab.db.write((tx) => tx.run('DELETE FROM containers WHERE id = ?', id));
  await expect(networks.disconnect('bridge', id, false)).rejects.toThrow('No such container');
  await networks.disconnect('bridge', id, true);
  expect(kernel.endpoints({ containerId: id })).toEqual([]);
});

test('prune removes what nobody uses, by label and age', async () => {
  await networks.create(wanted('used'));
  await networks.create(wanted('kept', { labels: { keep: '1' } }));
  await networks.create(wanted('loose'));
  await container('runs', 'running');
  await networks.connect('used', 'runs', nothing);
  expect(await networks.prune({ until: ['1h'] })).toEqual({ deleted: [], spaceReclaimedBytes: 0 });
  expect(await networks.prune({ 'label!': ['keep'] })).toEqual({ deleted: ['loose'], spaceReclaimedBytes: 0 });
});

test('options that the engine gives new networks of a driver, unless they say otherwise or have settings of another', async () => {
  const defaultOptions = {
    bridge: { 'com.docker.network.driver.mtu': '1234', 'com.docker.network.bridge.enable_icc': 'false' },
  };
  using service = await lab.openService({ defaultOptions });
  const made = await service.create(wanted('small'));
  expect([made.mtu, made.icc]).toEqual([1234, false]);
  expect(made.options).toEqual(defaultOptions.bridge);
  const own = await service.create(wanted('own', { options: { 'com.docker.network.driver.mtu': '1400' } }));
  expect([own.mtu, own.icc]).toEqual([1400, false]);
  await kernel.create(wanted('settings', { configOnly: true }));
  expect((await service.create(wanted('like', { configFrom: 'settings' }))).mtu).toBe(1500);
  const netns = service.createNamespace('c0');
  await service.connect({ containerId: 'c0', networkId: 'small', netns, ports: [] });
  expect(await lab.sh('cat /proc/self/net/dev && ip link show eth0', netns)).toContain('mtu 1234');
  await kernel.reconcile(() => false);
  for (const name of ['like', 'settings', 'own', 'small']) await service.remove(name);
});

test('an address that is asked for may be outside of the part that others are given out from', async () => {
  const ipam = [{ subnet: '10.123.0.0/24', gateway: '', ipRange: '10.123.0.128/25' }];
  await kernel.create(wanted('ranged', { ipam }));
  const connect = (containerId: string, ipv4 = '') =>
    kernel.connect({ containerId, networkId: 'ranged', netns: kernel.createNamespace(containerId), ports: [], ipv4 });
  expect((await connect('c1', '10.123.0.7')).ipv4).toBe('10.123.0.7/24');
  expect((await connect('c2')).ipv4).toBe('10.123.0.128/24');
  await expect(connect('c3', '10.124.0.7')).rejects.toThrow('does not belong to any');
});

test('a table of the host that its owner alone may change is named', async () => {
  const owner = spawn('nft', ['-i'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(owner, 'exit');
  const chain = 'chain forward { type filter hook forward priority 10; policy drop; }';
  owner.stdin.write(`table inet owned { flags owner; ${chain}; }\n`);
  await eventually('the table is there', async () => (await lab.sh('nft list tables')).includes('inet owned'));
  const said: string[] = [];
  using service = await lab.openService({ report: (subject, error) => said.push(`${subject}: ${error}`) });
  await service.create(wanted('closed'));
  await service.create(wanted('closed-too'));
  owner.stdin.end('quit\n');
  await ended;
  for (const name of ['closed', 'closed-too']) await service.remove(name);
  expect(said).toHaveLength(1);
  expect(said[0]).toMatch(/table inet owned: .*belongs to another process \(flags owner\)/);
});
