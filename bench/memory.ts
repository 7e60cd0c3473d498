import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import { type Contender, proportionalBytes } from './contenders.ts';
import type { Row } from './report.ts';

const running = 50;
const settleMs = 3000;

async function weigh(contender: Contender | undefined): Promise<number | undefined> {
  if (contender === undefined) return undefined;
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  return proportionalBytes(contender.processes()) / 1e6;
}

/** Proportional set size of daemon, keeper and monitors, against dockerd, containerd and shims. */
export async function memory({ tare, docker }: Bench): Promise<Row[]> {
  const both = [tare, docker].filter((contender) => contender !== undefined);
  const idle = { Tare: await weigh(tare), Docker: await weigh(docker) };
  const names = Array.from({ length: running }, (_, i) => `weigh-${i}`);
  for (const contender of both) {
    for (const name of names) await contender.cli(['run', '--detach', '--name', name, busybox, 'sleep', '3600']);
  }
  const busy = { Tare: await weigh(tare), Docker: await weigh(docker) };
  const parts = new Map<string, { count: number; bytes: number }>();
  for (const entry of tare.processes()) {
    const kind = /\bkeeper\b/.test(entry.command) ? 'keeper' : /\bserve\b/.test(entry.command) ? 'daemon' : 'monitors';
    const { count, bytes } = parts.get(kind) ?? { count: 0, bytes: 0 };
    parts.set(kind, { count: count + 1, bytes: bytes + proportionalBytes([entry]) });
  }
  for (const contender of both) await contender.cli(['rm', '--force', ...names], { timeoutMs: 300_000 });
  const share = [...parts].map(([kind, { count, bytes }]) => `${count} ${kind} ${(bytes / 1e6).toFixed(0)}`).join(', ');
  return [
    {
      what: 'memory (PSS), no container',
      unit: 'MB',
      values: idle,
      promises: [{ who: 'Tare', bound: 'at most', times: 1, than: 'Docker' }],
    },
    {
      what: `memory (PSS), ${running} containers`,
      unit: 'MB',
      values: busy,
      promises: [{ who: 'Tare', bound: 'at most', times: 0.55, than: 'Docker' }],
      note: share,
    },
  ];
}
