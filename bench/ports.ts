import { join } from 'node:path';
import { call } from '../test/support/api-call.ts';
import { node } from '../test/support/built.ts';
import { busybox, busyboxImage } from '../test/support/image.ts';
import { Outside } from '../test/support/outside.ts';
import type { Bench } from './bench.ts';
import { type Contender, openDocker } from './contenders.ts';
import { median } from './measure.ts';
import type { Row } from './report.ts';

const FEW = 10;
const MANY = 2_000;
const FIRST_PORT = 20_000;
const ECHO_PORT = 7;
const PACKETS = 3_000;
const flowClient = join(import.meta.dirname, 'flow-client.ts');

interface Measured {
  /** Microseconds of a packet that is a new connection, and of its answer. */
  packet: { few: number; many: number };
  /** Milliseconds of publishing one more port. */
  publish: { few: number; many: number };
}

/** Whether a published port costs more when there are many others. */
export async function ports({ tare, long }: Bench): Promise<Row[]> {
  const ours = await measure(tare, long);
  // With its proxy it would start 2,000 processes more, which no packet of these goes through.
  await using docker = await openDocker(['--userland-proxy=false']);
  await docker?.cli(['load', '--input', busyboxImage().docker]);
  const theirs = docker && (await measure(docker, long));
  const values = (of: (measured: Measured) => number) => ({
    Tare: of(ours),
    ...(theirs && { Docker: of(theirs) }),
  });
  const note = (kind: 'packet' | 'publish', unit: string) => {
    const text = (measured: Measured) =>
      `${measured[kind].few.toFixed(1)} and ${measured[kind].many.toFixed(1)} ${unit}`;
    return `Tare ${text(ours)}${theirs === undefined ? '' : `, Docker ${text(theirs)}`}`;
  };
  return [
    {
      what: `publishing one more port with ${MANY} published, against ${FEW}`,
      unit: 'x',
      values: values(({ publish }) => publish.many / publish.few),
      promises: [{ who: 'Tare', bound: 'at most', times: 1.2 }],
      note: note('publish', 'ms'),
    },
    {
      what: `a new connection's packet through a published port and back, ${MANY} published, against ${FEW}`,
      unit: 'x',
      values: values(({ packet }) => packet.many / packet.few),
      promises: [{ who: 'Tare', bound: 'at most', times: 1.1 }],
      note: note('packet', 'µs'),
    },
  ];
}

async function measure(contender: Contender, turns: number): Promise<Measured> {
  await using outside = await Outside.join(contender.host);
  const publish = (first: number, count: number) =>
    Array.from({ length: count }, (_, index) => ['-p', `0.0.0.0:${first + index}:${1000 + index}/udp`]).flat();
  const run = (name: string, flags: string[]) =>
    contender.cli(['run', '--detach', '--name', name, ...flags, busybox, 'sleep', '3600'], { timeoutMs: 600_000 });
  // Of the ports of one container the last to come is the one that is asked: it stands at the end of any list.
  await run('few', publish(FIRST_PORT, FEW - 1));
  await run('asked', ['-p', `0.0.0.0:${FIRST_PORT + MANY}:${ECHO_PORT}/udp`]);
  const pid = (await contender.cli(['inspect', '--format', '{{.State.Pid}}', 'asked'])).stdout.trim();
  const server = contender.beside(['nsenter', `--net=/proc/${pid}/ns/net`, node, flowClient, 'serve', `${ECHO_PORT}`]);
  await new Promise((resolve) => server.stdout.once('data', resolve));
  const packet = async () => {
    const target = [outside.insideAddress, String(FIRST_PORT + MANY), String(PACKETS)];
    const { stdout } = await outside.run([node, flowClient, ...target]);
    return (JSON.parse(stdout) as { median: number; lowest: number }).lowest;
  };
  const packets = { few: [] as number[], many: [] as number[] };
  const publishing = { few: [] as number[], many: [] as number[] };
  for (let turn = 0; turn < turns; turn += 1) packets.few.push(await packet());
  publishing.few.push(...(await onePublished(contender, turns)));
  await run('many', publish(FIRST_PORT + FEW, MANY - FEW));
  for (let turn = 0; turn < turns; turn += 1) packets.many.push(await packet());
  publishing.many.push(...(await onePublished(contender, turns)));
  await contender.cli(['rm', '--force', 'many'], { timeoutMs: 600_000 });
  for (let turn = 0; turn < turns; turn += 1) packets.few.push(await packet());
  publishing.few.push(...(await onePublished(contender, turns)));
  await contender.cli(['rm', '--force', 'few', 'asked']);
  const least = (of: { few: number[]; many: number[] }) => ({ few: Math.min(...of.few), many: Math.min(...of.many) });
  return {
    packet: least(packets),
    publish: { few: median(publishing.few), many: median(publishing.many) },
  };
}

/** Milliseconds of publishing a port: of a container that runs, or, where that is unknown, the start of one with a port. */
async function onePublished(contender: Contender, turns: number): Promise<number[]> {
  const { socket = '' } = contender;
  const isLive = contender.version.startsWith('Tare');
  const times: number[] = [];
  const port = { '99/tcp': [{ HostIp: '0.0.0.0', HostPort: '19999' }] };
  for (let turn = 0; turn < 5 * turns; turn += 1) {
    if (!isLive) await contender.cli(['create', '--name', 'more', '-p', '0.0.0.0:19999:99', busybox, 'sleep', '3600']);
    const started = performance.now();
    if (isLive) await call(socket, 'POST', '/tare/containers/few/ports', { PortBindings: port });
    else await call(socket, 'POST', '/containers/more/start');
    times.push(performance.now() - started);
    if (isLive) await call(socket, 'DELETE', '/tare/containers/few/ports', { PortBindings: port });
    else await contender.cli(['rm', '--force', 'more']);
  }
  return times;
}
