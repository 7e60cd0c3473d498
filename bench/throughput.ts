import { execute } from '../test/support/execute.ts';
import { busybox } from '../test/support/image.ts';
import { Namespaces } from '../test/support/namespaces.ts';
import { Outside } from '../test/support/outside.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { interleaved, present } from './measure.ts';
import type { Row } from './report.ts';

const PORT = 5201;
const PUBLISHED = 25_201;
const SECONDS = 1;

// What else the machine does can only make a transfer slower.
const best = (values: readonly number[]) => Math.max(...values);

type Command = (argv: string[]) => string[];
const inNamespaceOf =
  (pid: string | number): Command =>
  (argv) => ['nsenter', `--net=/proc/${pid}/ns/net`, ...argv];

/** Where to and where from. */
interface Path {
  server: Command;
  client: Command;
  address: string;
  port: number;
}

type PathName = 'container to container' | 'container to host' | 'host to published port';

/** Bytes a second on one TCP connection, by iperf3, against two ends of a veth pair without a bridge or a rule. */
export async function throughput({ tare, docker, podman, rounds }: Bench): Promise<Row[]> {
  await using bare = await Namespaces.open(() => 'tare-bench-bare');
  await using other = await Outside.join({ holderPid: bare.pid, run: (argv) => bare.run(argv) });
  const barePath: Path = {
    server: inNamespaceOf(bare.pid),
    client: (argv) => other.command(argv),
    address: other.insideAddress,
    port: PORT,
  };
  const contenders = present({ Tare: tare, Docker: docker, Podman: podman });
  const paths: Record<string, Record<PathName, Path>> = {};
  for (const [who, contender] of Object.entries(contenders)) paths[who] = await pathsOf(contender);
  const rows: Row[] = [];
  for (const name of ['container to container', 'container to host', 'host to published port'] as const) {
    const runs = Object.entries(paths).map(([who, its]) => [who, () => transfer(its[name])]);
    rows.push({
      what: `throughput, ${name} (floor: a bare veth pair)`,
      unit: 'MB/s',
      values: await interleaved({ floor: () => transfer(barePath), ...Object.fromEntries(runs) }, 2 * rounds, best),
      promises: [
        { who: 'Tare', bound: 'at least', times: 0.95, than: 'floor' },
        { who: 'Tare', bound: 'at least', times: 1, than: 'Docker' },
      ],
    });
  }
  for (const contender of Object.values(contenders)) await contender.cli(['rm', '--force', 'one', 'two']);
  return rows;
}

async function pathsOf(contender: Contender): Promise<Record<PathName, Path>> {
  const pids: string[] = [];
  for (const [name, flags] of [
    ['one', ['--publish', `0.0.0.0:${PUBLISHED}:${PORT}`]],
    ['two', []],
  ] as const) {
    await contender.cli(['run', '--detach', '--name', name, ...flags, busybox, 'sleep', '3600']);
    pids.push((await contender.cli(['inspect', '--format', '{{.State.Pid}}', name])).stdout.trim());
  }
  const inspect = async (key: string) =>
    (await contender.cli(['inspect', '--format', `{{.NetworkSettings.${key}}}`, 'one'])).stdout.trim();
  const [address, gateway] = [await inspect('IPAddress'), await inspect('Gateway')];
  const [one = '', two = ''] = pids;
  const host = inNamespaceOf(contender.host.holderPid);
  return {
    'container to container': { server: inNamespaceOf(one), client: inNamespaceOf(two), address, port: PORT },
    'container to host': { server: host, client: inNamespaceOf(two), address: gateway, port: PORT },
    'host to published port': { server: inNamespaceOf(one), client: host, address: gateway, port: PUBLISHED },
  };
}

/** @returns megabytes a second that arrived */
async function transfer({ server, client, address, port }: Path): Promise<number> {
  const serving = execute(server(['iperf3', '--server', '--one-off', '--port', String(PORT)]));
  await listening(server);
  const target = ['--client', address, '--port', String(port), '--time', String(SECONDS), '--json'];
  const { stdout } = await execute(client(['iperf3', ...target]));
  await serving;
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 8e6;
}

/** Waits for the server without a connection, which would be the one that it serves. */
async function listening(server: Command): Promise<void> {
  for (;;) {
    const { stdout } = await execute(server(['ss', '-Htln', `sport = :${PORT}`]));
    if (stdout !== '') return;
  }
}
