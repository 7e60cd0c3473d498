/**
 * Measures Tare beside Docker and Podman in one run, prints a table and writes docs/benchmarks.md.
 *
 *     node bench/main.ts [--only PART,PART] [--rounds 10] [--no-write]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { project } from '../test/support/built.ts';
import { busyboxImage } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import { building } from './build.ts';
import { compose } from './compose.ts';
import { connections } from './connections.ts';
import { openDocker, openPodman, openTare } from './contenders.ts';
import { copying } from './copy.ts';
import { crowd, events } from './events.ts';
import { health } from './health.ts';
import { list, load } from './images.ts';
import { many, parallel, run, running } from './lifecycle.ts';
import { logs } from './logs.ts';
import { memory } from './memory.ts';
import { names } from './names.ts';
import { ports } from './ports.ts';
import { registry } from './registry.ts';
import { machine, type Row, table } from './report.ts';
import { startup } from './startup.ts';
import { streams } from './streams.ts';
import { throughput } from './throughput.ts';

const parts: Record<string, (bench: Bench) => Promise<Row[]>> = {
  startup,
  memory,
  run,
  exec: running,
  parallel,
  many,
  names,
  connections,
  ports,
  throughput,
  load,
  list,
  registry,
  streams,
  events,
  crowd,
  cp: copying,
  logs,
  compose,
  health,
  build: building,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '10' },
    'no-write': { type: 'boolean', default: false },
  },
});
const wanted = values.only?.split(',') ?? Object.keys(parts);
const unknown = wanted.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; the parts are ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}
const rounds = Number(values.rounds);

await using stack = new AsyncDisposableStack();
const tare = stack.use(await openTare('docker'));
const daemonless = stack.use(await openTare('in-process'));
const docker = await openDocker();
if (docker) stack.use(docker);
const podman = await openPodman();
if (podman) stack.use(podman);
for (const contender of [tare, daemonless, docker, podman]) {
  await contender?.cli(['load', '--input', busyboxImage().docker]);
}

const bench: Bench = { tare, daemonless, docker, podman, rounds, long: Math.max(1, Math.ceil(rounds / 2)) };
const rows: Row[] = [];
for (const name of wanted) {
  console.error(`measuring ${name}`);
  rows.push(...(await parts[name]!(bench)));
}

const versions = [tare, docker, podman].flatMap((contender) => (contender ? [contender.version] : []));
const text = `${machine(versions)}\n\n${table(rows)}\n`;
console.log(text);
if (!values['no-write'] && values.only === undefined) {
  const page = `# Benchmarks

Written by \`make bench\`: every figure is from one run on one machine, the contenders taking turns, medians of ${rounds} rounds
(${bench.long} for what takes long). Tare and Docker are driven through the same docker client. The *floor* of \`run\` is docker's
client alone plus conmon and crun creating, starting and deleting the same bundle by hand.

${text}`;
  writeFileSync(join(project, 'docs', 'benchmarks.md'), page);
}
