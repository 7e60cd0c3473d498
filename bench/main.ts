/**
 * Measures Tare beside Docker and Podman in one run, prints tables and writes docs/benchmarks.md, or what was measured of it.
 *
 *     node bench/main.ts [--only PART,PART] [--rounds 10] [--no-write]
 */
import { readFileSync, writeFileSync } from 'node:fs';
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
import { readPage, writePage } from './page.ts';
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
const file = join(project, 'docs', 'benchmarks.md');
const versions = [tare, docker, podman].flatMap((contender) => (contender ? [contender.version] : []));
const here = machine(versions);
const kept = values.only === undefined ? undefined : readPage(readFileSync(file, 'utf8'));
console.log(`${here}\n`);
const measured = new Map<string, string>();
for (const name of wanted) {
  console.error(`measuring ${name}`);
  const medians = `Medians of ${rounds} rounds, ${bench.long} for what takes long.`;
  measured.set(name, `${medians}\n\n${table(await parts[name]!(bench))}`);
  console.log(`${measured.get(name)}\n`);
}

if (!values['no-write']) {
  if (kept !== undefined && kept.machine !== here) {
    throw new Error(`docs/benchmarks.md stays as it is: it has figures of another machine, ${kept.machine}`);
  }
  const sections = Object.keys(parts).flatMap((name): [string, string][] => {
    const text = measured.get(name) ?? kept?.sections.get(name);
    return text === undefined ? [] : [[name, text]];
  });
  writeFileSync(file, writePage({ machine: here, sections: new Map(sections) }));
}
