import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { growthBytes } from './images.ts';
import { interleaved, present } from './measure.ts';
import { replay } from './replay.ts';
import type { Row } from './report.ts';
import { client } from './timer.ts';

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
    await contender.cli(['exec', 'copied', 'mkdir', '/in', '/out']);
    await contender.cli(['cp', big, 'copied:/out/'], { timeoutMs: 300_000 });
    await contender.cli(['cp', small, 'copied:/out/'], { timeoutMs: 300_000 });
  }
  const socket = join(tare.engine.root, 'replay.sock');
  await using _server = await replay(socket, tare.engine.socket);
  const back = join(root, 'back');
  mkdirSync(back);
  let turns = 0;
  /**
   * Each once, to a place of its own. Small files stay there to the end: ext4 looks for a long time at inodes that were freed a moment
   * ago before it takes another, and who comes first would pay for it.
   */
  const once = (contender: Contender, isFloor: boolean, direction: 'in' | 'out', source: string) => async () => {
    turns += 1;
    const inside = `/in/${turns}`;
    const outside = join(back, String(turns));
    const isIn = direction === 'in';
    if (isIn && !isFloor) await contender.cli(['exec', 'copied', 'mkdir', inside]);
    const target = isFloor ? '/in' : inside;
    const args = isIn ? ['cp', source, `copied:${target}/`] : ['cp', `copied:/out/${basename(source)}`, outside];
    const ms = isFloor
      ? await contender.timeBeside([client, '--host', `unix://${socket}`, ...args])
      : await contender.time(args);
    if (source === big) {
      if (isIn && !isFloor) await contender.cli(['exec', 'copied', 'rm', `${inside}/big`]);
      if (!isIn) rmSync(outside);
    }
    return ms;
  };
  const timed = async (direction: 'in' | 'out', source: string) => {
    const times = await interleaved(
      present({
        floor: once(tare, true, direction, source),
        Tare: once(tare, false, direction, source),
        Docker: docker && once(docker, false, direction, source),
      }),
      long,
    );
    return Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, ms / 1000]));
  };
  const rows: Row[] = [];
  for (const [what, direction, source] of [
    ["cp of 1 GB into a container (floor: docker's client, what it sends is dropped)", 'in', big],
    ["cp of 1 GB out of it (floor: docker's client, answered from memory)", 'out', big],
    ["cp of 20,000 small files into a container (floor: docker's client, …)", 'in', small],
    ["cp of 20,000 small files out of it (floor: docker's client, …)", 'out', small],
  ] as const) {
    rows.push({
      what,
      unit: 's',
      values: await timed(direction, source),
      promises: [
        { who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' },
        // The engine's reading goes on beside the client's writing.
        ...(direction === 'out' ? [{ who: 'Tare', bound: 'at most', times: 1.3, than: 'floor' } as const] : []),
      ],
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
