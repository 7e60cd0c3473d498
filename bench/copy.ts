import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { growthBytes } from './images.ts';
import { interleaved } from './measure.ts';
import type { Row } from './report.ts';

const bigBytes = 1_000_000_000;
const smallFiles = 20_000;

/** A file of 1 GB and a folder of 20,000 small ones, on this machine. */
function sources(root: string): { big: string; small: string } {
  const big = join(root, 'big');
  const piece = Buffer.alloc(10_000_000, 'some text that is copied ');
  const fd = openSync(big, 'w');
  for (let at = 0; at < bigBytes; at += piece.length) writeSync(fd, piece);
  closeSync(fd);
  const small = join(root, 'small');
  for (let i = 0; i < smallFiles; i++) {
    const folder = join(small, String(Math.floor(i / 200)));
    if (i % 200 === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file${i}`), `content of ${i}\n`.repeat(50));
  }
  return { big, small };
}

/** `cp` into and out of a running container, through docker's client. */
export async function copying({ tare, docker, long }: Bench): Promise<Row[]> {
  const root = join(tare.engine.root, 'copied');
  mkdirSync(root);
  const { big, small } = sources(root);
  const contenders = { Tare: tare, ...(docker && { Docker: docker }) };
  for (const contender of Object.values(contenders)) {
    await contender.cli(['run', '--detach', '--name', 'copied', '--network', 'none', busybox, 'sleep', '100000']);
  }
  /** Each contender once, what it made removed again outside of the time. */
  const timed = async (args: string[], cleanUp: (contender: Contender) => Promise<unknown>) => {
    const once = (contender: Contender) => async () => {
      const ms = await contender.time(['cp', ...args]);
      await cleanUp(contender);
      return ms;
    };
    const runs = Object.fromEntries(Object.entries(contenders).map(([name, contender]) => [name, once(contender)]));
    const times = await interleaved(runs as Record<keyof typeof contenders, () => Promise<number>>, long);
    return Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, ms! / 1000]));
  };
  const empty = (contender: Contender) => contender.cli(['exec', 'copied', 'sh', '-c', 'rm -rf /in/*']);
  for (const contender of Object.values(contenders)) {
    await contender.cli(['exec', 'copied', 'mkdir', '/in', '/out']);
    await contender.cli(['cp', big, 'copied:/out/']);
    await contender.cli(['cp', small, 'copied:/out/']);
  }
  const out = join(root, 'back');
  const dropBack = async () => {
    rmSync(out, { recursive: true, force: true });
  };
  const rows: Row[] = [];
  for (const [what, args, cleanUp] of [
    ['cp of 1 GB into a container', [big, 'copied:/in/'], empty],
    ['cp of 1 GB out of it', ['copied:/out/big', out], dropBack],
    ['cp of 20,000 small files into a container', [small, 'copied:/in/'], empty],
    ['cp of 20,000 small files out of it', ['copied:/out/small', out], dropBack],
  ] as const) {
    rows.push({
      what,
      unit: 's',
      values: await timed([...args], cleanUp),
      promises: [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }],
    });
  }
  const growth = await growthBytes(tare, () => tare.cli(['cp', big, 'copied:/in/'], { timeoutMs: 120_000 }));
  rows.push({
    what: 'the daemon’s memory (PSS) grows during a cp of 1 GB by',
    unit: 'MB',
    values: { Tare: growth / 1e6 },
    promises: [{ who: 'Tare', bound: 'at most', times: 100 }],
  });
  for (const contender of Object.values(contenders)) await contender.cli(['rm', '--force', 'copied']);
  rmSync(root, { recursive: true, force: true });
  return rows;
}
