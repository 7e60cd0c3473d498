import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../test/support/execute.ts';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { median } from './measure.ts';
import type { Row } from './report.ts';

const containers = 100;
const seconds = 60;
const names = Array.from({ length: containers }, (_, index) => `checked${index}`);

const v1 = '/sys/fs/cgroup/cpuacct';
const hierarchy = existsSync(v1) ? v1 : '/sys/fs/cgroup';

/** Processor time of a cgroup and all below it, of processes that have ended too. @returns seconds */
function used(cgroup: string): number {
  const folder = join(hierarchy, cgroup);
  if (hierarchy === v1) return Number(readFileSync(join(folder, 'cpuacct.usage'), 'latin1')) / 1e9;
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(join(folder, 'cpu.stat'), 'latin1'))![1]) / 1e6;
}

interface Measured {
  cpuSeconds: number;
  /** Time between two probes of a container. */
  periodMs: number;
}

/** Counts the engine's own processes with all that they start, and the containers with the probes in them. */
async function measured(contender: Contender): Promise<Measured> {
  for (const name of names) {
    const check = ['--health-cmd', 'true', '--health-interval', '1s'];
    await contender.cli(['run', '--detach', '--name', name, ...check, busybox, 'sleep', '3600']);
  }
  await eventually('all are healthy', () => areHealthy(contender), 120_000);
  // Beside the containers; what they start from now on is counted there.
  const own = join(hierarchy, contender.cgroup, 'own');
  mkdirSync(own, { recursive: true });
  for (const { pid } of contender.processes()) {
    try {
      writeFileSync(join(own, 'cgroup.procs'), String(pid));
    } catch {
      // It ended while we looked.
    }
  }
  const before = used(contender.cgroup);
  await sleep(seconds * 1000);
  const cpuSeconds = used(contender.cgroup) - before;
  const periodMs = await period(contender);
  await contender.cli(['rm', '--force', ...names], { timeoutMs: 300_000 });
  return { cpuSeconds, periodMs };
}

async function areHealthy(contender: Contender): Promise<boolean> {
  const { stdout } = await contender.cli(['inspect', '--format', '{{.State.Health.Status}}', ...names]);
  return stdout
    .trim()
    .split('\n')
    .every((status) => status === 'healthy');
}

async function period(contender: Contender): Promise<number> {
  const { stdout } = await contender.cli(['inspect', '--format', '{{json .State.Health.Log}}', ...names]);
  const periods = stdout
    .trim()
    .split('\n')
    .map((line) => {
      const starts = (JSON.parse(line) as { Start: string }[]).map(({ Start }) => Date.parse(Start));
      return (starts.at(-1)! - starts[0]!) / (starts.length - 1);
    });
  return median(periods);
}

/** What 100 containers with a health check every second cost. */
export async function health({ tare, docker }: Bench): Promise<Row[]> {
  const ours = await measured(tare);
  const theirs = docker && (await measured(docker));
  const every = (who: string, { periodMs }: Measured) => `${who} probes each every ${(periodMs / 1000).toFixed(2)} s`;
  return [
    {
      what: `processor time of ${containers} containers with a health check a second, in ${seconds} s`,
      unit: 's',
      values: { Tare: ours.cpuSeconds, ...(theirs && { Docker: theirs.cpuSeconds }) },
      promises: [{ who: 'Tare', bound: 'at most', times: 0.5, than: 'Docker' }],
      note: [every('Tare', ours), ...(theirs ? [every('Docker', theirs)] : [])].join(', '),
    },
  ];
}
