import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Database } from '../../src/state/index.ts';
import { node } from '../support/built.ts';
import { Asker } from '../support/dns-client.ts';
import { busybox, type TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { throughEveryFace, withEngine } from '../support/faces.ts';

const upstreamProgram = join(import.meta.dirname, '../support/dns-upstream.ts');
const INNER = '127.0.0.11';

async function inspect(engine: TestEngine, name: string, template: string): Promise<string> {
  return (await engine.cli(['inspect', '-f', template, name])).stdout.trim();
}

/** Asks from a container's network. */
async function askerIn(engine: TestEngine, container: string): Promise<Asker> {
  const pid = await inspect(engine, container, '{{.State.Pid}}');
  return new Asker((argv) => engine.spawn(['nsenter', `--net=/proc/${pid}/ns/net`, ...argv]));
}

/** A container that has a gateway to ask at is answered inside when the keeper has seen it. */
const isAnsweredInside = (asker: Asker, name: string, address: string) =>
  eventually(
    `${name} is answered inside`,
    async () => (await asker.answer({ server: INNER, name, timeoutMs: 500 })) === address,
  );

const addressOf = (engine: TestEngine, name: string, network: string) =>
  inspect(engine, name, `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`);

async function started(child: ReturnType<TestEngine['spawn']>): Promise<typeof child> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.stdout.once('data', () => resolve());
  await promise;
  return child;
}

/** Has a conflist of CNI whose plugin says where names are asked. */
async function describeCni(engine: TestEngine): Promise<void> {
  const folder = join(engine.root, 'cni');
  mkdirSync(join(folder, 'net.d'), { recursive: true });
  const list = {
    ...{ cniVersion: '1.0.0', name: 'podnet' },
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'cni7', isGateway: true },
        ipam: { type: 'host-local', subnet: '10.66.0.0/24', dataDir: join(folder, 'ipam') },
        dns: { nameservers: ['10.66.0.1'], search: ['pods.example'], options: ['timeout:3'] },
      },
    ],
  };
  writeFileSync(join(folder, 'net.d/10-podnet.conflist'), JSON.stringify(list));
  await engine.run(['sh', '-c', `mkdir -p /etc/cni && mount --bind ${folder} /etc/cni`]);
}

const isolated = 'com.docker.network.bridge.gateway_mode_ipv4=isolated';

throughEveryFace('names on networks where the host has no address', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  beforeAll(() => describeCni(engine()));

  test.each([
    { what: 'macvlan', create: ['-d', 'macvlan', '--subnet', '10.61.0.0/24', 'lan'] },
    { what: 'an isolated bridge', create: ['--internal', '-o', isolated, 'lan'] },
    { what: 'CNI', create: undefined },
    { what: 'a bridge, beside its gateway', create: ['lan'], beside: true },
  ])('on $what: names, aliases and addresses are looked up, by UDP and TCP', async ({ create, beside = false }) => {
    const network = create === undefined ? 'podnet' : 'lan';
    if (create !== undefined) await cli('network', 'create', ...create);
    const run = (name: string, ...options: string[]) =>
      cli('run', '-d', '--name', name, '--network', network, ...options, busybox, 'sleep', '600');
    const { stdout: id } = await run('db', '--network-alias', 'store');
    await run('web');
    const address = await addressOf(engine(), 'db', network);
    const conf = (await cli('exec', 'web', 'cat', '/etc/resolv.conf')).stdout;
    if (beside) expect(conf).not.toContain(INNER);
    else expect(conf).toMatch(new RegExp(`^nameserver ${INNER}$`, 'm'));
    if (create === undefined) expect(conf).toMatch(/^search pods\.example\noptions timeout:3 ndots:0$/m);
    let asker = await askerIn(engine(), 'web');
    await isAnsweredInside(asker, 'db', address);
    for (const name of ['db', 'store', id.slice(0, 12), `db.${network}`]) {
      expect(await asker.answer({ server: INNER, name }), name).toBe(address);
      expect(await asker.answer({ server: INNER, name, transport: 'tcp' }), name).toBe(address);
    }
    const reverse = `${address.split('.').reverse().join('.')}.in-addr.arpa`;
    expect(await asker.answer({ server: INNER, name: reverse, type: 'PTR' })).toBe(`db.${network}`);
    expect((await cli('exec', 'web', 'nslookup', 'db.')).stdout).toContain(address);
    // A change is seen at once, and a container that was started again is answered in its new namespace.
    await cli('rename', 'db', 'other');
    expect(await asker.answer({ server: INNER, name: 'other' })).toBe(address);
    await cli('restart', '-t', '0', 'web');
    asker[Symbol.dispose]();
    asker = await askerIn(engine(), 'web');
    await isAnsweredInside(asker, 'other', address);
    expect(await asker.answer({ server: INNER, name: 'other', transport: 'tcp' })).toBe(address);
    asker[Symbol.dispose]();
    await cli('rm', '-f', 'web', 'other');
    if (create !== undefined) await cli('network', 'rm', 'lan');
    await eventually('nothing of the network is left', async () => {
      const { stdout } = await engine().run(['ip', '-o', '-d', 'link']);
      return !/macvlan|veth[0-9a-f]{8}|dm-/.test(stdout);
    });
  });
});

describe('inside a container', () => {
  const engine = withEngine({ face: 'tare' });
  const cli = (...args: string[]) => engine().cli(args);
  const run = (name: string, ...options: string[]) =>
    cli('run', '-d', '--name', name, ...options, busybox, 'sleep', '600');
  const netnsOf = async (name: string) => `/proc/${await inspect(engine(), name, '{{.State.Pid}}')}/ns/net`;
  beforeAll(async () => {
    await describeCni(engine());
    await cli('network', 'create', '-d', 'macvlan', '--subnet', '10.62.0.0/24', 'lan');
    // A macvlan without a parent leads nowhere, and so is internal: here is one that leads somewhere.
    await engine().run([
      'sh',
      '-c',
      'ip link add wire0 type veth peer name wire1 && ip link set wire0 up && ip link set wire1 up',
    ]);
    await cli('network', 'create', '-d', 'macvlan', '--subnet', '10.63.0.0/24', '-o', 'parent=wire0', 'open');
  });
  afterAll(() => engine().cli(['rm', '-f', 'db', 'web', 'asking', 'pod'], { expect: 'any' }));

  test('port 53 is free for a program that serves names itself, on all addresses', async () => {
    await run('db', '--network', 'lan');
    await run('web', '--network', 'lan');
    const [netns, address] = [await netnsOf('web'), await addressOf(engine(), 'web', 'lan')];
    const server = await started(
      engine().spawn(['nsenter', `--net=${netns}`, node, upstreamProgram, '0.0.0.0', '53', '192.0.2.9']),
    );
    using asker = await askerIn(engine(), 'web');
    expect(await asker.answer({ server: INNER, name: 'db' })).toBe(await addressOf(engine(), 'db', 'lan'));
    expect(await asker.answer({ server: address, name: 'db' })).toBe('192.0.2.9');
    server.stdin.end();
  });

  test('on a bridge: port 53 is free, networks are joined and left, and nothing keeps the namespace', async () => {
    await cli('network', 'create', 'front');
    await cli('network', 'create', 'rear');
    await run('pod', '--network', 'front', '--network-alias', 'self');
    await run('asking', '--network', 'rear');
    const netns = await netnsOf('pod');
    const inode = (await engine().run(['stat', '-L', '-c', '%i', netns])).stdout.trim();
    using asker = await askerIn(engine(), 'pod');
    using other = await askerIn(engine(), 'asking');
    const own = await addressOf(engine(), 'pod', 'front');
    await isAnsweredInside(asker, 'self', own);
    await isAnsweredInside(other, 'asking', await addressOf(engine(), 'asking', 'rear'));
    const upstream = (at: string, address: string) =>
      started(engine().spawn(['nsenter', `--net=${at}`, node, upstreamProgram, address, '53', '192.0.2.9']));
    const everywhere = await upstream(netns, '0.0.0.0');
    const loopback = await upstream(await netnsOf('asking'), '127.0.0.1');
    for (const transport of ['udp', 'tcp'] as const) {
      expect(await asker.answer({ server: '127.0.0.1', name: 'self', transport })).toBe('192.0.2.9');
      expect(await asker.answer({ server: INNER, name: 'self', transport })).toBe(own);
      expect(await other.answer({ server: '127.0.0.1', name: 'asking', transport })).toBe('192.0.2.9');
    }
    everywhere.kill('SIGKILL');
    loopback.kill('SIGKILL');
    await cli('network', 'connect', 'rear', 'pod');
    expect(await asker.answer({ server: INNER, name: 'asking' })).toBe(await addressOf(engine(), 'asking', 'rear'));
    await cli('network', 'disconnect', 'rear', 'pod');
    const told = await asker.ask({ server: INNER, name: 'asking.rear' });
    expect(typeof told === 'string' ? told : told.answers).toEqual([]);
    // Nobody answers where no network of the container's has names.
    await cli('network', 'disconnect', 'front', 'pod');
    await eventually('nobody is there', async () => {
      const answer = await asker.answer({ server: INNER, name: 'self', transport: 'tcp' });
      return answer === 'ECONNREFUSED';
    });
    await cli('network', 'connect', 'front', 'pod');
    await isAnsweredInside(asker, 'pod', await addressOf(engine(), 'pod', 'front'));
    asker[Symbol.dispose]();
    other[Symbol.dispose]();
    await cli('rm', '-f', 'pod', 'asking');
    await eventually('the namespace is gone', async () => {
      const { stdout } = await engine().run(['lsns', '-n', '-t', 'net', '-o', 'NS']);
      return !stdout.includes(inode);
    });
    await cli('network', 'rm', 'front', 'rear');
  });

  test('what an egress policy and an internal network refuse is refused inside, too', async () => {
    await cli('network', 'create', 'front');
    await cli('network', 'create', '--internal', 'rear');
    const resolver = [node, upstreamProgram, '127.0.0.77', '53', '192.0.2.1'];
    await run('asking', '--network', 'front', '--dns', '127.0.0.77', '--egress', 'allow=example.com');
    await run('pod', '--network', 'rear', '--dns', '127.0.0.77');
    await using kept = new AsyncDisposableStack();
    // For who is under a policy the host asks, for others they do themselves.
    for (const where of [[], ['nsenter', `--net=${await netnsOf('pod')}`]]) {
      const server = await started(engine().spawn([...where, ...resolver]));
      kept.defer(() => void server.kill('SIGKILL'));
    }
    using asking = await askerIn(engine(), 'asking');
    using inner = await askerIn(engine(), 'pod');
    await isAnsweredInside(asking, 'asking', await addressOf(engine(), 'asking', 'front'));
    await isAnsweredInside(inner, 'pod', await addressOf(engine(), 'pod', 'rear'));
    const rcode = async (asker: Asker, name: string) => {
      const told = await asker.ask({ server: INNER, name });
      return typeof told === 'string' ? told : told.rcode;
    };
    expect(await asking.answer({ server: INNER, name: 'example.com' })).toBe('192.0.2.1');
    expect((await cli('network', 'egress', 'show', 'asking')).stdout).toContain('192.0.2.1');
    expect(await rcode(asking, 'example.org')).toBe(3);
    expect(await rcode(inner, 'example.com')).toBe(3);
    await cli('rm', '-f', 'pod', 'asking');
    await cli('network', 'rm', 'front', 'rear');
  });

  test('names come back when the keeper was killed, and outlive the daemon', async () => {
    await cli('network', 'create', 'front');
    await run('pod', '--network', 'front');
    using pod = await askerIn(engine(), 'pod');
    const own = await addressOf(engine(), 'pod', 'front');
    await isAnsweredInside(pod, 'pod', own);
    using asker = await askerIn(engine(), 'web');
    const address = await addressOf(engine(), 'db', 'lan');
    const keeper = engine()
      .processes()
      .find(({ command }) => /\bkeeper\b/.test(command));
    process.kill(keeper!.pid, 'SIGKILL');
    const isAnswered = async () => (await asker.answer({ server: INNER, name: 'db', timeoutMs: 500 })) === address;
    await eventually('names are back', isAnswered);
    await eventually('another keeper is there', async () =>
      engine()
        .processes()
        .some(({ command, pid }) => /\bkeeper\b/.test(command) && pid !== keeper!.pid),
    );
    await isAnsweredInside(pod, 'pod', own);
    await engine().stopDaemon('SIGKILL');
    await eventually('names are answered without a daemon', isAnswered);
    await isAnsweredInside(pod, 'pod', own);
    await cli('rm', '-f', 'pod');
    await cli('network', 'rm', 'front');
    await engine().serve();
  });

  test("a --dns server is asked from the container's network, the host's from the host's", async () => {
    const resolver = (address: string, record: string) => [node, upstreamProgram, address, '53', record];
    await using kept = new AsyncDisposableStack();
    const path = join(engine().root, 'host-resolv.conf');
    writeFileSync(path, 'nameserver 127.0.0.77\n');
    await engine().run(['mount', '--bind', path, '/etc/resolv.conf']);
    const near = await started(engine().spawn(resolver('127.0.0.77', '192.0.2.77')));
    kept.defer(() => void near.stdin.end());
    // The same address, once in the container's namespace and once on the host.
    await run('asking', '--network', 'open', '--dns', '127.0.0.77');
    const netns = await netnsOf('asking');
    const own = await started(engine().spawn(['nsenter', `--net=${netns}`, ...resolver('127.0.0.77', '192.0.2.1')]));
    kept.defer(() => void own.stdin.end());
    await run('pod', '--network', 'open');
    using asking = await askerIn(engine(), 'asking');
    using usual = await askerIn(engine(), 'pod');
    expect(await asking.answer({ server: INNER, name: 'example.org' })).toBe('192.0.2.1');
    const long = await asking.ask({ server: INNER, name: 'long.example.org', transport: 'tcp' });
    expect(typeof long === 'string' ? long : long.answers.length).toBe(500);
    expect(await usual.answer({ server: INNER, name: 'example.org' })).toBe('192.0.2.77');
    await cli('rm', '-f', 'asking', 'pod');
    await engine().run(['umount', '/etc/resolv.conf']);
  });

  test('a CNI plugin names servers, which are asked for what is not a container', async () => {
    await run('pod', '--network', 'podnet');
    await using kept = new AsyncDisposableStack();
    const server = await started(engine().spawn([node, upstreamProgram, '10.66.0.1', '53', '192.0.2.66']));
    kept.defer(() => void server.stdin.end());
    using asker = await askerIn(engine(), 'pod');
    expect(await asker.answer({ server: INNER, name: 'example.org' })).toBe('192.0.2.66');
    expect(await asker.answer({ server: INNER, name: 'pod' })).toBe(await addressOf(engine(), 'pod', 'podnet'));
    await cli('rm', '-f', 'pod');
  });

  test('a damaged record of one network silences no other, in a fresh keeper neither', async () => {
    await cli('network', 'create', 'broken');
    await cli('network', 'create', 'crooked');
    await cli('network', 'create', 'sound');
    await run('asking', '--network', 'sound', '--network-alias', 'me');
    const database = await Database.open(join(engine().dataRoot, 'tare.db'));
    await database.write((tx) => {
      tx.run("UPDATE networks SET doc = '{' WHERE name = 'broken'");
      tx.run(
        "UPDATE networks SET doc = json_set(doc, '$.ipam', json('[{\"subnet\": \"nonsense\"}]')) WHERE name = 'crooked'",
      );
    });
    database[Symbol.dispose]();
    const gateway = (
      await cli('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'sound')
    ).stdout.trim();
    using asker = await askerIn(engine(), 'asking');
    const keeper = engine()
      .processes()
      .find(({ command }) => /\bkeeper\b/.test(command));
    process.kill(keeper!.pid, 'SIGKILL');
    const address = await addressOf(engine(), 'asking', 'sound');
    await eventually('names are back', async () => {
      return (await asker.answer({ server: gateway, name: 'me', timeoutMs: 500 })) === address;
    });
    await run('pod', '--network', 'sound');
    expect(await asker.answer({ server: gateway, name: 'pod' })).toBe(await addressOf(engine(), 'pod', 'sound'));
    expect((await cli('network', 'ls', '--format', '{{.Name}}')).stdout).toContain('sound');
    await cli('network', 'rm', 'broken', 'crooked');
    await cli('network', 'create', 'broken');
    await cli('network', 'rm', 'broken');
  });
});
