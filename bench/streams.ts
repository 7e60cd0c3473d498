import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { connect } from 'node:net';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import { type Contender, proportionalBytes } from './contenders.ts';
import { median } from './measure.ts';
import type { Row } from './report.ts';

const lineBytes = 4096;
const lines = 100_000;
/** Writes so many lines of 4 KB and ends. */
const writer = ['sh', '-c', `yes "$(head -c ${lineBytes - 1} /dev/zero | tr '\\0' x)" | head -n ${lines}`];

/** Reads all that a program writes. @returns megabytes a second */
async function rate(child: ChildProcessWithoutNullStreams): Promise<number> {
  const started = performance.now();
  let received = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  if (received !== lineBytes * lines) throw new Error(`${received} of ${lineBytes * lines} bytes came; ${said}`);
  return received / 1e6 / ((performance.now() - started) / 1000);
}

async function rates(contender: Contender | undefined, times: number, args: string[]): Promise<number | undefined> {
  if (contender === undefined) return undefined;
  const found: number[] = [];
  for (let i = 0; i < times; i++) found.push(await rate(contender.spawn(args)));
  return median(found);
}

/** Throughput of `run` without `--detach` and of `logs`, and what is kept for a reader that does not read. */
export async function streams({ tare, docker, long }: Bench): Promise<Row[]> {
  const attach = ['run', '--rm', '--network', 'none', busybox, ...writer];
  const attached = { Tare: await rates(tare, long, attach), Docker: await rates(docker, long, attach) };
  for (const contender of [tare, docker]) {
    await contender?.cli(['run', '--detach', '--name', 'wordy', '--network', 'none', busybox, ...writer]);
    await contender?.cli(['wait', 'wordy'], { timeoutMs: 120_000 });
  }
  const logs = {
    Tare: await rates(tare, long, ['logs', 'wordy']),
    Docker: await rates(docker, long, ['logs', 'wordy']),
  };
  const kept = await unread(tare.engine.socket, '/containers/wordy/logs?stdout=1', tare);
  for (const contender of [tare, docker]) await contender?.cli(['rm', 'wordy']);
  return [
    {
      what: 'attached output of 4 KB lines',
      unit: 'MB/s',
      values: attached,
      promises: [{ who: 'Tare', bound: 'at least', times: 200 }],
    },
    {
      what: 'logs of 4 KB lines',
      unit: 'MB/s',
      values: logs,
      promises: [{ who: 'Tare', bound: 'at least', times: 200 }],
    },
    {
      what: 'kept for a reader of logs that does not read',
      unit: 'MB',
      values: { Tare: kept },
      promises: [{ who: 'Tare', bound: 'at most', times: 64 }],
    },
  ];
}

/** Asks for a stream and never reads it. @returns how many MB the daemon grew in 3 s */
async function unread(socket: string, path: string, contender: Contender): Promise<number> {
  const daemon = () => proportionalBytes(contender.processes().filter(({ command }) => /\bserve\b/.test(command)));
  const before = daemon();
  const connection = connect(socket);
  connection.pause();
  connection.write(`GET ${path} HTTP/1.1\r\nHost: tare\r\n\r\n`);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const after = daemon();
  connection.destroy();
  return Math.max(0, after - before) / 1e6;
}
