import { expect, test } from 'vitest';
import { call } from '../support/api-call.ts';
import { busybox, TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { restingHoldings } from '../support/holdings.ts';
import { random, seed } from '../support/random.ts';

const kills = Number(process.env['TARE_NETWORK_KILLS'] ?? 9);

/** Where a container is, as the kernel of its host has it and as the engine says. */
interface Place {
  links: number;
  addresses: string[];
  neighbours: string[];
  ports: string[];
  /** Chains of egress policies, with their table's family. */
  policies: string[];
}

interface Inspected {
  State: { Pid: number };
  NetworkSettings: {
    Networks: Record<string, { IPAddress: string }>;
    Ports: Record<string, { HostIp: string; HostPort: string }[] | null>;
  };
}

/** Chains that the policies of a container and of a network have, by what the engine says of them. */
async function saidPolicies(engine: TestEngine, subjects: [path: string, letter: string][]): Promise<string[]> {
  const chains = await Promise.all(
    subjects.map(async ([path, letter]) => {
      const { Id, Default, Rules } = (
        await engine.api<{ Id: string; Default: string; Rules: string[] }>('GET', `/tare/${path}/egress`)
      ).body;
      const chain = `egress-${letter}${Id.slice(0, 12)}`;
      const isOfNeighbours = Rules.some((rule) => rule.includes('neighbours'));
      return Default === '' ? [] : [`inet ${chain}`, ...(isOfNeighbours ? [`bridge ${chain}`] : [])];
    }),
  );
  return chains.flat().sort();
}

async function said(engine: TestEngine, container: string): Promise<Place & { pid: number }> {
  const { State, NetworkSettings } = (await engine.api<Inspected>('GET', `/containers/${container}/json`)).body;
  const addresses = Object.values(NetworkSettings.Networks)
    .map(({ IPAddress }) => IPAddress)
    .sort();
  const ports = Object.entries(NetworkSettings.Ports)
    .flatMap(([port, bindings]) =>
      (bindings ?? []).map(({ HostIp, HostPort }) => [HostIp, port.split('/')[1], HostPort]),
    )
    // An IPv6 mapping of a container without IPv6 is the keeper's, not the rules'.
    .flatMap(([ip, protocol, port]) => (ip === '0.0.0.0' ? [`${protocol} . ${port}`] : []));
  const policies = await saidPolicies(engine, [
    [`containers/${container}`, 'c'],
    ['networks/two', 'n'],
  ]);
  return { pid: State.Pid, links: addresses.length, addresses, neighbours: addresses, ports: ports.sort(), policies };
}

async function found(engine: TestEngine, pid: number): Promise<Place> {
  const lines = async (argv: string[]) => (await engine.run(argv)).stdout.split('\n').filter((line) => line !== '');
  const inside = ['nsenter', `--net=/proc/${pid}/ns/net`];
  const map = (await engine.run(['nft', 'list', 'map', 'inet', engine.instance, 'any4'])).stdout;
  return {
    links: (await lines(['ip', '-o', 'link', 'show', 'type', 'veth'])).length,
    addresses: (await lines([...inside, 'ip', '-o', '-4', 'address', 'show', 'scope', 'global']))
      .map((line) => /inet ([\d.]+)/.exec(line)![1]!)
      .sort(),
    neighbours: (await lines(['ip', 'neighbour', 'show', 'nud', 'permanent']))
      .map((line) => line.split(' ', 1)[0]!)
      .sort(),
    policies: (await lines(['nft', 'list', 'chains']))
      .reduce<{ family: string; chains: string[] }>(
        ({ family, chains }, line) => {
          const [, table] = /^table (\w+) /.exec(line) ?? [];
          const [, chain] = /chain (egress-[cn][0-9a-f]{12}) /.exec(line) ?? [];
          return {
            family: table ?? family,
            chains: chain === undefined ? chains : [...chains, `${table ?? family} ${chain}`],
          };
        },
        { family: '', chains: [] },
      )
      .chains.sort(),
    ports: [...map.matchAll(/(\w+ \. \d+) : /g)].map(([, key]) => key!).sort(),
  };
}

test(
  `the daemon is killed at ${kills} points of connecting, publishing and changing policies, and nothing is left (seed ${seed})`,
  async () => {
    const next = random(seed);
    await using engine = await TestEngine.start({ face: 'docker' });
    await engine.cli(['run', '--detach', '--name', 'first', busybox, 'sleep', '36000']);
    await engine.cli(['rm', '--force', 'first']);
    const before = await restingHoldings(engine);

    for (const name of ['one', 'two']) await engine.cli(['network', 'create', name]);
    await engine.cli(['run', '--detach', '--name', 'box', '--network', 'one', busybox, 'sleep', '36000']);
    const more = {
      PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '18601' }], '80/udp': [{ HostIp: '', HostPort: '18601' }] },
    };
    const work: [method: string, path: string, body: unknown][] = [
      ['POST', '/networks/two/connect', { Container: 'box' }],
      ['POST', '/tare/containers/box/ports', more],
      ['POST', '/networks/two/disconnect', { Container: 'box' }],
      ['DELETE', '/tare/containers/box/ports', more],
      ['POST', '/tare/containers/box/egress', { Set: ['allow *.example.com:443', 'deny neighbours', 'default deny'] }],
      ['POST', '/tare/networks/two/egress', { Set: ['deny 203.0.113.0/24', 'default learn'] }],
      ['POST', '/tare/containers/box/egress', { Set: ['allow example.org', 'default learn'] }],
      ['DELETE', '/tare/networks/two/egress', undefined],
      ['DELETE', '/tare/containers/box/egress', undefined],
    ];
    for (let point = 0; point < kills; point += 1) {
      const [method, path, body] = work[point % work.length]!;
      // What was done or undone before already is refused, which is as good.
      const request = call(engine.socket, method, path, body).catch(() => '');
      await new Promise((resolve) => setTimeout(resolve, next() * 12));
      await engine.stopDaemon('SIGKILL');
      await request;
      await engine.serve();
      await eventually(`point ${point}, ${method} ${path}: the kernel has what the engine says`, async () => {
        const { pid, ...place } = await said(engine, 'box');
        expect(await found(engine, pid)).toEqual(place);
        return true;
      });
    }
    await engine.cli(['rm', '--force', 'box']);
    await engine.cli(['network', 'rm', 'one', 'two']);
    expect(await restingHoldings(engine)).toEqual(before);
  },
  60_000 + kills * 10_000,
);
