import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { StepNetworks } from '../../src/engine/builds/step-networks.ts';
import { Intents } from '../../src/engine/intents.ts';
import type { NetworkService } from '../../src/network/index.ts';
import { Locks } from '../../src/state/index.ts';
import { eventually } from '../support/execute.ts';
import { NetworkLab } from '../support/network-lab.ts';

let lab: NetworkLab;
let networks: NetworkService;
const failures: string[] = [];
const never = new AbortController().signal;

beforeAll(async () => {
  lab = await NetworkLab.open();
  networks = await lab.openService();
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(() => {
  expect(failures).toEqual([]);
  expect(namespaces()).toEqual([]);
  expect(networks.endpoints({})).toEqual([]);
});

const namespaces = () => readdirSync(join(lab.execRoot, 'netns'));

const open = (idleMs?: number) =>
  new StepNetworks(
    {
      ...{ networks, locks: lab.locks, intents: new Intents(join(lab.root, 'intents')) },
      names: { cover: () => undefined } as never,
      onError: (subject, error) => void failures.push(`${subject}: ${error}`),
    },
    idleMs === undefined ? {} : { idleMs },
  );

test('a step reaches its network, and what it gave back serves the next one', async () => {
  await using pool = open();
  let first: string | undefined;
  {
    await using lent = await pool.lend('sandbox', never);
    first = lent.path;
    expect(await lab.sh('ip -o -4 address show dev eth0', lent.path)).toMatch(/inet 172\./);
    expect(await lab.sh('ip route', lent.path)).toMatch(/^default via/);
    expect(lent.resolvConf).toMatch(/^nameserver /m);
    await eventually('the next one is there already', () => namespaces().length === 2);
  }
  const [a, b] = [await pool.lend('sandbox', never), await pool.lend('sandbox', never)];
  expect([a.path, b.path]).toContain(first);
  expect(a.path).not.toBe(b.path);
  await a[Symbol.asyncDispose]();
  await b[Symbol.asyncDispose]();
});

test('one that was spoilt is never lent again', async () => {
  await using pool = open();
  const lent = await pool.lend('sandbox', never);
  lent.spoil();
  await lent[Symbol.asyncDispose]();
  const seen = [];
  for (let count = 0; count < 3; count += 1) {
    await using next = await pool.lend('sandbox', never);
    seen.push(next.path);
  }
  expect(seen).not.toContain(lent.path);
});

test('none has no way out; the host has no namespace', async () => {
  await using pool = open();
  await using none = await pool.lend('none', never);
  expect(await lab.sh('ip -o link', none.path)).not.toContain('eth0');
  await using host = await pool.lend('host', never);
  expect(host.path).toBeUndefined();
});

test('what nobody wants for some time goes', async () => {
  await using pool = open(20);
  await (await pool.lend('sandbox', never))[Symbol.asyncDispose]();
  await eventually('all are gone', () => namespaces().length === 0 && networks.endpoints({}).length === 0);
});

test('who died leaves nothing to the one who reconciles; who lives keeps what he has', async () => {
  await using pool = open();
  await using lent = await pool.lend('sandbox', never);
  const isSpared = (locks: Locks) => (id: string) => {
    using lock = locks.tryAcquire(`container:${id}`);
    return lock === undefined;
  };
  await networks.reconcile(isSpared(lab.locks));
  expect(await lab.sh('ip -o link', lent.path)).toContain('eth0');
  await networks.reconcile(isSpared(new Locks(join(lab.root, 'locks-of-the-dead'))));
  expect(namespaces()).toEqual([]);
});
