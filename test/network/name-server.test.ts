import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { NamedContainer, NamedNetwork, NameRecords } from '../../src/network/names/directory.ts';
import { Forwarder } from '../../src/network/names/forwarder.ts';
import { HostResolvers } from '../../src/network/names/host-resolvers.ts';
import { type NameHooks, NameServer } from '../../src/network/names/name-server.ts';
import { type Ask, ask, askRaw, decode, encodeQuestion } from '../support/dns-client.ts';
import { reply, type Script, startUpstream, truncated, type Upstream } from '../support/dns-upstream.ts';

/*
 * Everything on loopback, which has 16 million addresses: the servers of two networks, containers that ask from an
 * address each, and resolvers.
 */
const PORT = 20_053;
const RESOLVER_PORT = 20_054;
const server = '127.30.1.1';
const networks: NamedNetwork[] = [
  { id: 'front', name: 'front', servers: [server], subnets: ['127.30.1.0/24'], internal: false },
  { id: 'shut', name: 'shut', servers: ['127.30.2.1'], subnets: ['127.30.2.0/24'], internal: true },
];
const container = (name: string, addresses: Record<string, string>, more: Partial<NamedContainer> = {}) => ({
  id: name,
  name,
  otherNames: [],
  resolvers: [],
  endpoints: Object.entries(addresses).map(([networkId, ipv4]) => ({
    ...{ networkId, ipv4, ipv6: '', links: [] },
    aliases: ['all'],
  })),
  ...more,
});
const web = { server, port: PORT, from: '127.30.1.2' };
const shut = { server: '127.30.2.1', port: PORT, from: '127.30.2.9' };

let records: NameRecords;
let version = 1;
let reads = 0;
let hooks: NameHooks;
let script: Script;
let secondScript: Script;
const complaints: string[] = [];
let folder: string;
let names: NameServer;
let upstream: Upstream;
let second: Upstream;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-names-'));
  const file = join(folder, 'resolv.conf');
  writeFileSync(file, 'nameserver 127.30.9.1\nnameserver 127.30.9.2\n');
  upstream = await startUpstream('127.30.9.1', RESOLVER_PORT, (query, transport) => script(query, transport));
  second = await startUpstream('127.30.9.2', RESOLVER_PORT, (query, transport) => secondScript(query, transport));
  names = new NameServer({
    source: {
      version: () => version,
      read: () => {
        reads += 1;
        return records;
      },
    },
    hooks: {
      allows: (id, name) => hooks.allows?.(id, name) ?? true,
      onAnswer: (id, name, addresses, ttl) => hooks.onAnswer?.(id, name, addresses, ttl),
    },
    report: (subject, error) => void complaints.push(`${subject}: ${error}`),
    port: PORT,
    forwarder: new Forwarder(RESOLVER_PORT),
    resolvers: new HostResolvers(file),
  });
});

beforeEach(() => {
  records = {
    networks,
    containers: [
      container('web', { front: '127.30.1.2' }),
      container('db', { front: '127.30.1.3', shut: '127.30.2.3' }),
      container('shut', { shut: '127.30.2.9' }),
      container('own', { front: '127.30.1.4' }, { resolvers: ['127.30.9.2'] }),
      container('shut-own', { shut: '127.30.2.5' }, { resolvers: ['127.30.9.1', '127.30.2.77'] }),
    ],
  };
  version += 1;
  hooks = {};
  script = (query) => [reply(query, '192.0.2.1')];
  secondScript = (query) => [reply(query, '192.0.2.2')];
  complaints.length = 0;
  names.look();
});

afterAll(async () => {
  names[Symbol.dispose]();
  await upstream[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const answered = async (request: Ask): Promise<string> => {
  const told = await ask(request);
  if (typeof told === 'string') return told;
  return told.rcode === 0 ? told.answers.sort().join(' ') : `rcode ${told.rcode}`;
};

describe.each(['udp', 'tcp'] as const)('by %s', (transport) => {
  test.each([
    ['a name', web, 'db', '127.30.1.3'],
    ['a name of a network', web, 'db.front', '127.30.1.3'],
    ['an alias of several', shut, 'all', '127.30.2.3 127.30.2.5 127.30.2.9'],
    ['a name of another network only', shut, 'web', 'rcode 3'],
    ['a name of the world', web, 'example.org', '192.0.2.1'],
    ['a name of the world, from an internal network', shut, 'example.org', 'rcode 3'],
    [
      "a name of the world, by the container's own resolver",
      { ...web, from: '127.30.1.4' },
      'example.org',
      '192.0.2.2',
    ],
  ])('%s', async (_what, from, name, want) => {
    expect(await answered({ ...from, transport, name })).toBe(want);
  });

  test('is authoritative for its own names, which live a second', async () => {
    expect(await ask({ ...web, transport, name: 'db' })).toMatchObject({ isAuthoritative: true, ttls: [1] });
    expect(await ask({ ...web, transport, name: 'example.org' })).toMatchObject({
      isAuthoritative: false,
      ttls: [300],
    });
  });

  test('strangers hear nothing', async () => {
    const silence = transport === 'udp' ? 'timeout' : 'closed';
    expect(await ask({ ...web, from: '127.30.1.99', transport, name: 'db', timeoutMs: 300 })).toBe(silence);
    expect(await ask({ ...web, from: '127.30.3.1', transport, name: 'db', timeoutMs: 300 })).toBe(silence);
  });

  test('malformed messages are refused or ignored, and the next one is answered', async () => {
    const broken = encodeQuestion({ name: 'db', id: 77 }).subarray(0, 15);
    expect(decode((await askRaw(broken, { ...web, transport })) as Buffer)).toMatchObject({ id: 77, rcode: 1 });
    const silence = transport === 'udp' ? 'timeout' : 'closed';
    for (const bytes of [Buffer.of(1, 2, 3), Buffer.alloc(12, 0xff)]) {
      expect(await askRaw(bytes, { ...web, transport, timeoutMs: 300 })).toBe(silence);
    }
    expect(await answered({ ...web, transport, name: 'db' })).toBe('127.30.1.3');
  });
});

describe('changes', () => {
  test('are seen by the next question, however soon it comes', async () => {
    for (let round = 10; round < 40; round += 1) {
      const address = `127.30.1.${round}`;
      records = {
        networks,
        containers: [container('web', { front: '127.30.1.2' }), container('moved', { front: address })],
      };
      version += 1;
      expect(await answered({ ...web, name: 'moved' })).toBe(address);
      records = { networks, containers: [container('web', { front: '127.30.1.2' })] };
      version += 1;
      await new Promise((resolve) => setTimeout(resolve, 40));
      expect(await answered({ ...web, name: 'moved' })).toBe('192.0.2.1');
    }
  });

  test('are read once, not with every question', async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    reads = 0;
    version += 1;
    await Promise.all(Array.from({ length: 50 }, () => ask({ ...web, name: 'db' })));
    expect(reads).toBe(1);
  });

  test('records that cannot be read leave the names of a moment ago', async () => {
    const whole = records;
    records = undefined as unknown as NameRecords;
    version += 1;
    names.look();
    expect(await answered({ ...web, name: 'db' })).toBe('127.30.1.3');
    expect(complaints.join()).toMatch(/^names: /);
    records = whole;
    version += 1;
  });

  test('networks come and go', async () => {
    const late = { id: 'late', name: 'late', servers: ['127.30.5.1'], subnets: ['127.30.5.0/24'], internal: false };
    const there = { server: '127.30.5.1', port: PORT, from: '127.30.5.2', name: 'newcomer' };
    expect(await ask(there)).toBe('ECONNREFUSED');
    records = { networks: [...networks, late], containers: [container('newcomer', { late: '127.30.5.2' })] };
    version += 1;
    names.look();
    expect(await answered(there)).toBe('127.30.5.2');
    records = { networks, containers: [] };
    version += 1;
    names.look();
    expect(await ask(there)).toBe('ECONNREFUSED');
  });

  test('a server whose port is taken is told of once, and comes when it is free', async () => {
    const late = { id: 'late', name: 'late', servers: ['127.30.6.1'], subnets: ['127.30.6.0/24'], internal: false };
    const holder = createSocket('udp4');
    await new Promise<void>((resolve) => holder.bind(PORT, '127.30.6.1', resolve));
    records = { networks: [...networks, late], containers: [container('newcomer', { late: '127.30.6.2' })] };
    version += 1;
    names.look();
    names.look();
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(/port 20053\/udp of 127\.30\.6\.1 is taken/);
    await new Promise<void>((resolve) => holder.close(resolve));
    // It looks by itself.
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    expect(await answered({ server: '127.30.6.1', port: PORT, from: '127.30.6.2', name: 'newcomer' })).toBe(
      '127.30.6.2',
    );
  });
});

describe('asking others', () => {
  test('with an id and a port of its own each time', async () => {
    const before = upstream.ids.length;
    await Promise.all(Array.from({ length: 20 }, (_, index) => ask({ ...web, name: `n${index}.org`, id: 5 })));
    expect(new Set(upstream.sources.slice(before)).size).toBe(20);
    expect(new Set(upstream.ids.slice(before)).size).toBeGreaterThan(18);
  });

  test('takes no other answer than the one it waits for', async () => {
    script = (query) => {
      const otherName = Buffer.from(query);
      otherName.write('evil', 13, 'latin1');
      const otherId = reply(query, '198.51.100.1');
      otherId.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
      return [query, Buffer.from('nonsense'), otherId, reply(otherName, '198.51.100.2'), reply(query, '192.0.2.1')];
    };
    expect(await answered({ ...web, name: 'good.org' })).toBe('192.0.2.1');
  });

  test.each([
    ['cannot', 2],
    ['will not', 5],
  ])('asks the next resolver when the first %s', async (_what, rcode) => {
    script = (query) => [reply(query, '0.0.0.0', { count: 0, rcode })];
    expect(await answered({ ...web, name: 'example.org' })).toBe('192.0.2.2');
  });

  test('asks the next resolver when the first is silent', async () => {
    script = () => [];
    const started = performance.now();
    expect(await answered({ ...web, name: 'example.org', timeoutMs: 4_000 })).toBe('192.0.2.2');
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test('believes the first that no such name exists', async () => {
    script = (query) => [reply(query, '0.0.0.0', { count: 0, rcode: 3 })];
    expect(await answered({ ...web, name: 'example.org' })).toBe('rcode 3');
  });

  test('a late answer of the first still counts', async () => {
    script = async (query) => {
      await new Promise((resolve) => setTimeout(resolve, 1_300));
      return [reply(query, '192.0.2.1')];
    };
    secondScript = () => [];
    expect(await answered({ ...web, name: 'example.org', timeoutMs: 4_000 })).toBe('192.0.2.1');
  });

  test('says that it failed when all fail', async () => {
    script = (query) => [reply(query, '0.0.0.0', { count: 0, rcode: 2 })];
    secondScript = script;
    expect(await answered({ ...web, name: 'example.org' })).toBe('rcode 2');
  });

  test('a long answer is cut for UDP, and whole by TCP', async () => {
    script = (query, transport) => [transport === 'udp' ? truncated(query) : reply(query, '10.0.0.0', { count: 1000 })];
    expect(await ask({ ...web, name: 'many.org' })).toMatchObject({ isTruncated: true, answers: [] });
    const whole = await ask({ ...web, name: 'many.org', transport: 'tcp' });
    expect(whole).toMatchObject({ isTruncated: false, rcode: 0 });
    expect(typeof whole === 'string' ? 0 : whole.answers.length).toBe(1000);
  });

  test('an answer that is longer than the asker takes is cut, too', async () => {
    script = (query) => [reply(query, '10.0.0.0', { count: 80 })];
    expect(await ask({ ...web, name: 'many.org' })).toMatchObject({ isTruncated: true, answers: [] });
    const large = await ask({ ...web, name: 'many.org', edns: 4096 });
    expect(typeof large === 'string' ? 0 : large.answers.length).toBe(80);
  });

  test("is bounded for one container, and does not keep another's from being asked", async () => {
    const waiting = Promise.withResolvers<void>();
    script = async (query) => {
      await waiting.promise;
      return [reply(query, '192.0.2.1')];
    };
    secondScript = () => [];
    const many = Array.from({ length: 300 }, (_, index) =>
      answered({ ...web, name: `n${index}.org`, timeoutMs: 3_000 }),
    );
    const other = answered({ ...web, from: '127.30.1.3', name: 'example.org', timeoutMs: 3_000 });
    expect(await answered({ ...web, name: 'db' })).toBe('127.30.1.3');
    waiting.resolve();
    expect(await other).toBe('192.0.2.1');
    const outcomes = Object.entries(Object.groupBy(await Promise.all(many), (outcome) => outcome));
    expect(Object.fromEntries(outcomes.map(([outcome, all]) => [outcome, all!.length]))).toEqual({
      '192.0.2.1': 128,
      'rcode 2': 172,
    });
  });

  test('on an internal network only resolvers that stand there', async () => {
    await using near = await startUpstream('127.30.2.77', RESOLVER_PORT, (query) => [reply(query, '192.0.2.77')]);
    expect(await answered({ ...shut, from: '127.30.2.5', name: 'example.org' })).toBe('192.0.2.77');
    expect(near.ids).toHaveLength(1);
  });
});

describe('hooks', () => {
  test('a name may be forbidden', async () => {
    hooks = { allows: (id, name) => `${id} ${name}` !== 'web evil.org' };
    expect(await answered({ ...web, name: 'EVIL.org' })).toBe('rcode 3');
    expect(await answered({ ...web, from: '127.30.1.3', name: 'evil.org' })).toBe('192.0.2.1');
    expect(await answered({ ...web, name: 'db' })).toBe('127.30.1.3');
  });

  test('addresses are told of before they are given', async () => {
    const told: unknown[] = [];
    let isDone = false;
    hooks = {
      onAnswer: async (...all) => {
        told.push(all);
        await new Promise((resolve) => setTimeout(resolve, 50));
        isDone = true;
      },
    };
    script = (query) => [reply(query, '192.0.2.1', { count: 2, ttl: 60 })];
    expect(await answered({ ...web, name: 'Example.org' })).toBe('192.0.2.1 192.0.2.2');
    expect(isDone).toBe(true);
    expect(told).toEqual([['web', 'example.org', ['192.0.2.1', '192.0.2.2'], 60]]);
  });

  test('one that fails keeps the addresses back', async () => {
    hooks = { onAnswer: () => Promise.reject(new Error('no room')) };
    expect(await answered({ ...web, name: 'example.org' })).toBe('rcode 2');
    expect(complaints).toEqual(['look-up for container web: Error: no room']);
  });
});

describe('connections', () => {
  const frame = (message: Buffer) => Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message]);
  /** Sends all of it at once, and gives the answers that came until the connection ended or enough have come. */
  function converse(bytes: Buffer[], wanted: number): Promise<string[]> {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>();
    const socket = connect({ host: server, port: PORT, localAddress: web.from });
    const told: string[] = [];
    let received = Buffer.alloc(0);
    socket.on('connect', () => {
      for (const [index, part] of bytes.entries()) setTimeout(() => socket.write(part), index);
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(told));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const { id, answers } = decode(received.subarray(2, 2 + received.readUInt16BE(0)));
        told.push(`${id} ${answers.join(' ')}`);
        received = received.subarray(2 + received.readUInt16BE(0));
      }
      if (told.length === wanted) socket.destroy();
    });
    return promise;
  }

  test('many questions on one, each answered as soon as it can be', async () => {
    script = async (query) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return [reply(query, '192.0.2.1')];
    };
    const all = Array.from({ length: 200 }, (_, id) =>
      frame(encodeQuestion({ name: id === 0 ? 'slow.org' : 'db', id })),
    );
    const told = await converse([Buffer.concat(all)], 200);
    expect(told.indexOf('0 192.0.2.1')).toBeGreaterThan(10);
    expect(told.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))).toEqual(
      Array.from({ length: 200 }, (_, id) => (id === 0 ? '0 192.0.2.1' : `${id} 127.30.1.3`)),
    );
  });

  test('byte by byte', async () => {
    const bytes = [...Buffer.concat([1, 2].map((id) => frame(encodeQuestion({ name: 'db', id }))))];
    expect(
      await converse(
        bytes.map((byte) => Buffer.of(byte)),
        2,
      ),
    ).toEqual(['1 127.30.1.3', '2 127.30.1.3']);
  });

  test('so many for one container, and others still get theirs', async () => {
    const open = Array.from({ length: 40 }, () => connect({ host: server, port: PORT, localAddress: web.from }));
    try {
      const ends = open.map((socket) => new Promise((resolve) => socket.on('error', () => {}).on('close', resolve)));
      const closed = await Promise.race([
        Promise.all(ends.slice(32)),
        new Promise((r) => setTimeout(() => r('late'), 2_000)),
      ]);
      expect(closed).not.toBe('late');
      expect(await answered({ ...web, from: '127.30.1.3', transport: 'tcp', name: 'db' })).toBe('127.30.1.3');
    } finally {
      for (const socket of open) socket.destroy();
    }
  });
});
