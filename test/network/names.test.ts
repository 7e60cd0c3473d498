import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { node } from '../support/built.ts';
import { Asker } from '../support/dns-client.ts';
import { busybox, type TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { throughEveryFace, withEngine } from '../support/faces.ts';

const upstreamProgram = join(import.meta.dirname, '../support/dns-upstream.ts');
const sleeping = ['sleep', '1000'];

async function inspect(engine: TestEngine, name: string, template: string): Promise<string> {
  return (await engine.cli(['inspect', '-f', template, name])).stdout.trim();
}

const addressOf = (engine: TestEngine, name: string, network: string, key = 'IPAddress') =>
  inspect(engine, name, `{{(index .NetworkSettings.Networks "${network}").${key}}}`);

/** What busybox makes of a name inside a container, asked as programs ask: sorted addresses, '' for none. */
async function lookUp(engine: TestEngine, container: string, name: string): Promise<string> {
  const { stdout } = await engine.cli(['exec', container, 'nslookup', name], { expect: 'any' });
  const [, answer = ''] = stdout.split('\n\n', 2);
  return [...answer.matchAll(/^Address(?: \d+)?:\s*(\S+)/gm)]
    .map(([, address]) => address)
    .sort()
    .join(' ');
}

/** Asks from a container's network; the address of its name server comes with it. */
async function askerIn(engine: TestEngine, container: string): Promise<Asker & { server: string }> {
  const pid = await inspect(engine, container, '{{.State.Pid}}');
  const asker = new Asker((argv) => engine.spawn(['nsenter', `--net=/proc/${pid}/ns/net`, ...argv]));
  const server = /^nameserver (\S+)/m.exec(
    (await engine.cli(['exec', container, 'cat', '/etc/resolv.conf'])).stdout,
  )![1]!;
  return Object.assign(asker, { server });
}

const keeperOf = (engine: TestEngine) => engine.processes().find(({ command }) => /\bkeeper\b/.test(command))?.pid;

throughEveryFace('names of containers', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  const run = (name: string, ...options: string[]) =>
    cli('run', '-d', '--name', name, ...options, busybox, ...sleeping);
  const look = (container: string, name: string) => lookUp(engine(), container, name);

  test('name, short id, hostname, aliases, and each of them with the network', async () => {
    await cli('network', 'create', 'front');
    const { stdout: id } = await run('web', '--network', 'front', '--hostname', 'box', '--network-alias', 'site');
    await run('client', '--network', 'front');
    const address = await addressOf(engine(), 'web', 'front');
    for (const name of ['web', id.slice(0, 12), 'box', 'site', 'web.front', 'site.front', 'WEB', 'web.']) {
      expect(await look('client', name), name).toBe(address);
    }
    expect(await look('web', 'client')).toBe(await addressOf(engine(), 'client', 'front'));
    expect(await look('client', 'nobody')).toBe('');
    expect(await look('client', id.slice(0, 11))).toBe('');
    const reverse = await cli('exec', 'client', 'nslookup', address);
    expect(reverse.stdout).toMatch(/name = web\.front\b/);
    const { stdout } = await cli('run', '--rm', '--network', 'front', busybox, 'nslookup', 'web');
    expect(stdout, 'a look-up as the first thing that a container does').toContain(address);
    await cli('rm', '-f', 'web', 'client');
    await cli('network', 'rm', 'front');
  });

  test('services as compose makes them: several containers under one alias, networks that know nothing of each other', async () => {
    await cli('network', 'create', 'shop_front');
    await cli('network', 'create', 'shop_back');
    await run('shop-web-1', '--network', 'shop_front', '--network-alias', 'web');
    await run('shop-web-2', '--network', 'shop_front', '--network-alias', 'web');
    await run('shop-db-1', '--network', 'shop_back', '--network-alias', 'db');
    await cli(
      'create',
      '--name',
      'shop-app-1',
      '--network',
      'shop_front',
      '--network-alias',
      'app',
      busybox,
      ...sleeping,
    );
    await cli('network', 'connect', '--alias', 'app', 'shop_back', 'shop-app-1');
    await cli('start', 'shop-app-1');
    const front = (name: string) => addressOf(engine(), name, 'shop_front');
    const back = (name: string) => addressOf(engine(), name, 'shop_back');
    const both = [await front('shop-web-1'), await front('shop-web-2')].sort().join(' ');
    expect(await look('shop-app-1', 'web')).toBe(both);
    expect(await look('shop-web-1', 'web')).toBe(both);
    expect(await look('shop-app-1', 'db')).toBe(await back('shop-db-1'));
    expect(await look('shop-web-1', 'db')).toBe('');
    expect(await look('shop-web-1', 'db.shop_back')).toBe('');
    expect(await look('shop-db-1', 'web')).toBe('');
    expect(await look('shop-web-1', 'app')).toBe(await front('shop-app-1'));
    expect(await look('shop-db-1', 'app')).toBe(await back('shop-app-1'));
    await cli('stop', '-t', '0', 'shop-web-1');
    expect(await look('shop-app-1', 'web')).toBe(await front('shop-web-2'));
    await cli('rm', '-f', 'shop-web-1', 'shop-web-2', 'shop-db-1', 'shop-app-1');
    await cli('network', 'rm', 'shop_front', 'shop_back');
  });

  test('a running container comes to a network, gets another name, and leaves', async () => {
    await cli('network', 'create', 'team');
    await run('member', '--network', 'team');
    await run('guest');
    const resolvConf = async () => (await cli('exec', 'guest', 'cat', '/etc/resolv.conf')).stdout;
    const before = await resolvConf();
    await cli('network', 'connect', '--alias', 'visitor', 'team', 'guest');
    expect(await look('guest', 'member')).toBe(await addressOf(engine(), 'member', 'team'));
    expect(await look('member', 'visitor')).toBe(await addressOf(engine(), 'guest', 'team'));
    await cli('rename', 'member', 'renamed');
    expect(await look('guest', 'member')).toBe('');
    expect(await look('guest', 'renamed')).toBe(await addressOf(engine(), 'renamed', 'team'));
    await cli('network', 'disconnect', 'team', 'guest');
    expect(await look('renamed', 'visitor')).toBe('');
    expect(await resolvConf()).toBe(before);
    await cli('rm', '-f', 'renamed', 'guest');
    await cli('network', 'rm', 'team');
  });

  test('a link is a name of one container alone; a shared network shares its names', async () => {
    await cli('network', 'create', 'linked');
    await run('db', '--network', 'linked');
    await run('app', '--network', 'linked', '--link', 'db:store');
    await run('other', '--network', 'linked');
    await run('side', '--network', 'container:app');
    const address = await addressOf(engine(), 'db', 'linked');
    expect(await look('app', 'store')).toBe(address);
    expect(await look('side', 'store')).toBe(address);
    expect(await look('other', 'store')).toBe('');
    await cli('rm', '-f', 'side', 'app', 'other', 'db');
    await cli('network', 'rm', 'linked');
  });
});

describe('the server', () => {
  const engine = withEngine();
  const cli = (...args: string[]) => engine().cli(args);
  const run = (name: string, ...options: string[]) =>
    cli('run', '-d', '--name', name, ...options, busybox, ...sleeping);

  test('IPv6 alone, and both', async () => {
    await cli('network', 'create', '--ipv6', 'both');
    await cli('network', 'create', '--ipv6', '--ipv4=false', 'six');
    await run('host-a', '--network', 'both');
    await run('host-b', '--network', 'both');
    await run('host-c', '--network', 'six');
    await run('host-d', '--network', 'six');
    using a = await askerIn(engine(), 'host-a');
    using c = await askerIn(engine(), 'host-c');
    const b6 = await addressOf(engine(), 'host-b', 'both', 'GlobalIPv6Address');
    const d6 = await addressOf(engine(), 'host-d', 'six', 'GlobalIPv6Address');
    expect(a.server).toMatch(/^\d+\./);
    expect(c.server).toMatch(/^fd/);
    expect(await a.answer({ server: a.server, name: 'host-b', type: 'AAAA' })).toBe(b6);
    expect(await a.answer({ server: a.server, name: 'host-b', type: 'A' })).toBe(
      await addressOf(engine(), 'host-b', 'both'),
    );
    for (const transport of ['udp', 'tcp'] as const) {
      expect(await c.answer({ server: c.server, transport, name: 'host-d', type: 'AAAA' })).toBe(d6);
      expect(
        await c.answer({ server: c.server, transport, name: 'host-d', type: 'A' }),
        'no such record, no error',
      ).toBe('');
    }
    const gateway6 = await addressOf(engine(), 'host-a', 'both', 'IPv6Gateway');
    expect(await a.answer({ server: gateway6, name: 'host-b', type: 'AAAA' })).toBe(b6);
    await cli('rm', '-f', 'host-a', 'host-b', 'host-c', 'host-d');
  });

  test('goes on while the daemon is killed, and comes back when the keeper is', async () => {
    await cli('network', 'create', 'steady');
    await run('web', '--network', 'steady');
    await run('client', '--network', 'steady');
    const address = await addressOf(engine(), 'web', 'steady');
    using client = await askerIn(engine(), 'client');
    const look = () => client.answer({ server: client.server, name: 'web', timeoutMs: 500 });
    expect(await look()).toBe(address);

    await eventually('the keeper lives', () => keeperOf(engine()) !== undefined);
    let asking = true;
    const answers = (async () => {
      const seen: string[] = [];
      for (; asking; await sleep(5)) seen.push(await look());
      return seen;
    })();
    await engine().stopDaemon('SIGKILL');
    await sleep(500);
    await engine().serve();
    await sleep(500);
    asking = false;
    const seen = await answers;
    expect(seen.length).toBeGreaterThan(50);
    expect(new Set(seen)).toEqual(new Set([address]));

    const first = keeperOf(engine())!;
    process.kill(first, 'SIGKILL');
    const killed = performance.now();
    await eventually('names are back', async () => (await look()) === address, 5_000);
    expect(performance.now() - killed).toBeLessThan(1_000);
    await eventually('another keeper lives', () => keeperOf(engine()) !== undefined && keeperOf(engine()) !== first);
    await sleep(1_000);
    expect(await look()).toBe(address);
    await cli('rm', '-f', 'web', 'client');
  });

  test('changes are answered within 50 ms, and nothing is lost meanwhile', async () => {
    await cli('network', 'create', 'lively');
    await run('web', '--network', 'lively');
    await run('client', '--network', 'lively');
    await run('mover');
    const address = await addressOf(engine(), 'web', 'lively');
    using client = await askerIn(engine(), 'client');
    const look = (name: string) => client.answer({ server: client.server, name });
    await look('web');
    let asking = true;
    const answers = (async () => {
      const seen: string[] = [];
      while (asking) seen.push(await look('web'));
      return seen;
    })();
    const delays: number[] = [];
    const until = async (name: string, there: boolean) => {
      const changed = performance.now();
      while ((await look(name)).startsWith('rcode') === there) {
        if (performance.now() - changed > 2_000) throw new Error(`${name} is ${there ? 'not' : 'still'} there`);
      }
      delays.push(performance.now() - changed);
    };
    for (let round = 0; round < 5; round += 1) {
      await cli('network', 'connect', 'lively', 'mover');
      await until('mover', true);
      await cli('rename', 'mover', 'shaker');
      await until('shaker', true);
      await cli('rename', 'shaker', 'mover');
      await until('shaker', false);
      await cli('network', 'disconnect', 'lively', 'mover');
      await until('mover', false);
    }
    asking = false;
    const seen = await answers;
    expect(new Set(seen)).toEqual(new Set([address]));
    expect(delays.toSorted((a, b) => a - b)[Math.floor(delays.length / 2)]).toBeLessThan(50);
    await cli('rm', '-f', 'web', 'client', 'mover');
  });

  test('a flood from one container leaves the others their answers', async () => {
    await cli('network', 'create', 'flooded');
    await run('hostile', '--network', 'flooded');
    await run('web', '--network', 'flooded');
    using web = await askerIn(engine(), 'web');
    const flood = `
      const { createSocket } = require('node:dgram');
      const socket = createSocket('udp4').on('error', () => {});
      socket.connect(53, '${web.server}', () => {
        const junk = Buffer.alloc(40, 7);
        const question = Buffer.from('000101000001000000000000' + '03776562' + '0000010001', 'hex');
        (function go() {
          for (let count = 0; count < 100; count += 1) socket.send(count % 2 ? junk : question);
          setImmediate(go);
        })();
      });
      process.stdin.resume().on('end', () => process.exit());`;
    const pid = await inspect(engine(), 'hostile', '{{.State.Pid}}');
    const flooding = engine().spawn(['nsenter', `--net=/proc/${pid}/ns/net`, node, '-e', flood]);
    try {
      await sleep(500);
      const address = await addressOf(engine(), 'web', 'flooded');
      const seen: string[] = [];
      for (let count = 0; count < 200; count += 1) {
        seen.push(await web.answer({ server: web.server, name: 'web', timeoutMs: 1_000 }));
      }
      expect(seen.filter((answer) => answer === address).length).toBeGreaterThan(195);
      expect(await web.answer({ server: web.server, transport: 'tcp', name: 'web' })).toBe(address);
    } finally {
      flooding.kill();
    }
    await cli('rm', '-f', 'hostile', 'web');
  });

  test('a container that publishes port 53 takes it from nobody', async () => {
    await cli('network', 'create', 'with-dns');
    await run('resolver', '--network', 'with-dns', '-p', '53:53/udp', '-p', '53:53/tcp');
    await run('client', '--network', 'with-dns');
    using client = await askerIn(engine(), 'client');
    const address = await addressOf(engine(), 'resolver', 'with-dns');
    for (const transport of ['udp', 'tcp'] as const) {
      expect(await client.answer({ server: client.server, transport, name: 'resolver' })).toBe(address);
    }
    await cli('rm', '-f', 'resolver', 'client');
  });
});

describe('names of the world', () => {
  const engine = withEngine();
  const cli = (...args: string[]) => engine().cli(args);
  const run = (name: string, ...options: string[]) =>
    cli('run', '-d', '--name', name, ...options, busybox, ...sleeping);

  /** Puts a resolv.conf over the host's; what is written to the returned path is what the engine sees. */
  async function hostResolvers(...addresses: string[]): Promise<(...addresses: string[]) => void> {
    const path = join(engine().root, 'host-resolv.conf');
    const write = (...all: string[]) =>
      writeFileSync(path, `search corp.example\n${all.map((address) => `nameserver ${address}\n`).join('')}`);
    write(...addresses);
    await engine().run(['mount', '--bind', path, '/etc/resolv.conf']);
    return write;
  }
  const started = async (child: ReturnType<TestEngine['spawn']>) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    child.stdout.once('data', () => resolve());
    await promise;
    return child;
  };
  const resolver = (address: string, record: string) => [node, upstreamProgram, address, '53', record];

  test("are asked of the host's resolvers, of its own loopback too, as its file says now; or of --dns", async () => {
    await using outside = await engine().outside();
    await using kept = new AsyncDisposableStack();
    const far = await started(outside.spawn(resolver(outside.address, '192.0.2.1')));
    kept.defer(() => void far.kill());
    const near = await started(engine().spawn(resolver('127.0.0.53', '192.0.2.53')));
    kept.defer(() => void near.stdin.end());
    const write = await hostResolvers('127.0.0.53');
    await cli('network', 'create', 'open');
    await cli('network', 'create', '--internal', 'shut');
    await run('usual', '--network', 'open');
    await run('chosen', '--network', 'open', '--dns', outside.address);
    await run('inner', '--network', 'shut');
    await run('plain', '--dns', outside.address);
    using usual = await askerIn(engine(), 'usual');
    using chosen = await askerIn(engine(), 'chosen');
    using inner = await askerIn(engine(), 'inner');
    const name = 'example.org';
    expect(await lookUp(engine(), 'plain', 'usual'), 'the default network has no names of containers').toBe(
      '192.0.2.1',
    );

    expect(await usual.answer({ server: usual.server, name })).toBe('192.0.2.53');
    expect(await chosen.answer({ server: chosen.server, name })).toBe('192.0.2.1');
    expect(await inner.answer({ server: inner.server, name })).toBe('rcode 3');
    expect(await inner.answer({ server: inner.server, name: 'inner' })).not.toMatch(/rcode/);
    write(outside.address);
    await sleep(300);
    expect(await usual.answer({ server: usual.server, name })).toBe('192.0.2.1');
    expect(await chosen.answer({ server: chosen.server, name: 'usual' })).toBe(
      await addressOf(engine(), 'usual', 'open'),
    );

    const long = { server: usual.server, name: 'long.example.org' };
    expect(await usual.ask(long)).toMatchObject({ isTruncated: true, answers: [] });
    const whole = await usual.ask({ ...long, transport: 'tcp' });
    expect(typeof whole === 'string' ? whole : whole.answers.length).toBe(500);
    await cli('rm', '-f', 'usual', 'chosen', 'inner', 'plain');
    await cli('network', 'rm', 'open', 'shut');
    await engine().run(['umount', '/etc/resolv.conf']);
  });

  test('what resolv.conf and hosts say', async () => {
    await hostResolvers('192.0.2.99');
    await cli('network', 'create', 'conf');
    const text = async (file: string, ...options: string[]) =>
      (await cli('run', '--rm', ...options, busybox, 'cat', file)).stdout;
    const gateway = (await cli('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'conf')).stdout.trim();
    const named = ['--network', 'conf'];
    expect(await text('/etc/resolv.conf')).toBe('nameserver 192.0.2.99\nsearch corp.example\n');
    expect(await text('/etc/resolv.conf', ...named)).toBe(
      `nameserver ${gateway}\nsearch corp.example\noptions ndots:0\n`,
    );
    const given = ['--dns', '192.0.2.7', '--dns-search', 'a.example', '--dns-search', 'b.example'];
    expect(
      await text('/etc/resolv.conf', ...named, ...given, '--dns-option', 'timeout:1', '--dns-option', 'ndots:2'),
    ).toBe(`nameserver ${gateway}\nsearch a.example b.example\noptions timeout:1 ndots:2\n`);
    expect(await text('/etc/resolv.conf', ...given)).toBe('nameserver 192.0.2.7\nsearch a.example b.example\n');
    expect(await text('/etc/resolv.conf', '--network', 'host')).toBe(
      readFileSync(join(engine().root, 'host-resolv.conf'), 'utf8')
        .split('\n')
        .toSorted()
        .filter(Boolean)
        .join('\n')
        .concat('\n'),
    );
    expect(await text('/etc/hosts', ...named, '--add-host', 'gw:host-gateway', '--add-host', 'x:192.0.2.8')).toMatch(
      new RegExp(`^${gateway}\tgw\n192\\.0\\.2\\.8\tx$`, 'm'),
    );
    await cli('network', 'rm', 'conf');
    await engine().run(['umount', '/etc/resolv.conf']);
  });
});
