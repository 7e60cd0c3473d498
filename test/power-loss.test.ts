import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { changesOf, type DiskChange, scanDisk } from './support/disk-recording.ts';
import { TestEngine } from './support/engine.ts';
import { ociArchive } from './support/image.ts';
import { survivors, writeDisk } from './support/power-cut.ts';
import { random, seed } from './support/random.ts';
import { startRegistry } from './support/registry.ts';
import { tunnel } from './support/registry-tunnel.ts';
import { systemCalls, tracedCalls, traceFlags } from './support/system-calls.ts';
import { type TarEntry, tar } from './support/tar.ts';

const cuts = Number(process.env['TARE_POWER_CUTS'] ?? 9);

/** Bytes that do not compress. */
const noise = (sizeBytes: number, from: number): Buffer => {
  const next = random(from);
  return Buffer.from(Array.from({ length: sizeBytes }, () => Math.floor(next() * 256)));
};

const layer = (...entries: TarEntry[]): Buffer => tar(entries);
const layers = (which: number): Buffer[] => [
  layer(
    { path: 'etc', type: 'directory' },
    { path: 'etc/base', content: noise(60_000, which), uid: 7, mode: 0o640 },
    { path: 'etc/link', type: 'symlink', target: 'base' },
    { path: 'data', type: 'directory', mode: 0o700, uid: 1000 },
    { path: 'data/big', content: noise(200_000, which + 1), mode: 0o755 },
    { path: 'data/same', type: 'link', target: 'data/big' },
  ),
  layer(
    { path: 'etc/.wh.link', content: '' },
    { path: 'data/small', content: `image ${which}\n` },
    { path: 'data/.wh..wh..opq', content: '' },
  ),
];

const bootId = '/proc/sys/kernel/random/boot_id';
/** What SQLite maps into memory; after a reboot it makes it anew. */
const mapped = /\.db-shm$/;

test(
  `power goes ${cuts} times while images come and go, and every image that is there is whole (seed ${seed})`,
  async () => {
    await using registry = await startRegistry();
    await registry.seed('team/app', 'v1', { layers: layers(1) });
    await registry.seed('team/app', 'v2', { layers: [layers(1)[0]!, layers(2)[1]!] });
    const name = `${registry.address}/team/app`;
    await using engine = await TestEngine.start({ face: 'in-process', image: false });
    await using _tunnel = await tunnel(engine, registry.port);
    const archive = join(engine.root, 'archive.tar');
    writeFileSync(archive, ociArchive({ name: 'loaded:v1', layers: layers(3) }));

    /** What these commands do to the disk, one after the other, from the state that others leave. */
    const record = async (earlier: string[][], commands: string[][]) => {
      rmSync(engine.dataRoot, { recursive: true });
      for (const args of [['images'], ...earlier]) await engine.tare(args);
      const root = scanDisk(engine.dataRoot);
      const trace = join(engine.root, 'trace');
      const boot = join(engine.root, 'boot-id');
      writeFileSync(boot, `${randomUUID()}\n`);
      // After the power cut the machine's own boot id is another.
      await engine.run(['mount', '--bind', boot, bootId]);
      const script = commands
        .map((args) =>
          engine
            .tareCommand(args)
            .map((arg) => `'${arg}'`)
            .join(' '),
        )
        .join(' && ');
      const strace = [
        'strace',
        ...traceFlags,
        '-e',
        `trace=${tracedCalls.map((call) => `?${call}`).join()}`,
        '-o',
        trace,
      ];
      await engine.run([...strace, 'sh', '-c', script], { env: { UV_USE_IO_URING: '0' } });
      await engine.run(['umount', bootId]);
      return { root, changes: changesOf(systemCalls(readFileSync(trace, 'latin1')), root, engine.dataRoot) };
    };
    const scenarios = [
      { again: ['pull', `${name}:v1`], earlier: [], commands: [['pull', `${name}:v1`]] },
      { again: ['load', '--input', archive], earlier: [], commands: [['load', '--input', archive]] },
      {
        again: ['pull', `${name}:v1`],
        earlier: [['pull', `${name}:v1`]],
        commands: [
          ['pull', `${name}:v2`],
          ['rmi', `${name}:v1`],
          ['rmi', `${name}:v2`],
        ],
      },
    ];
    const next = random(seed);
    for (const [index, { again, earlier, commands }] of scenarios.entries()) {
      const { root, changes } = await record(earlier, commands);
      // Otherwise the recording missed what it is about.
      expect(changes.filter(({ kind }) => kind === 'sync').length).toBeGreaterThan(4);
      const points = interesting(changes);
      for (let cut = index; cut < cuts; cut += scenarios.length) {
        const at =
          next() < 0.7 ? points[Math.floor(next() * points.length)]! : Math.floor(next() * (changes.length + 1));
        rmSync(engine.dataRoot, { recursive: true, force: true });
        rmSync(engine.execRoot, { recursive: true, force: true });
        writeDisk(root, survivors(changes, at, next), engine.dataRoot, mapped);
        const said = `scenario ${index}, cut ${cut} after ${at} of ${changes.length} changes`;
        await isWhole(engine, `${said}: after the power cut`);
        const pulled = await engine.tare(again, { expect: 'any' });
        expect(`${pulled.code} ${pulled.stderr}`, `${said}: ${again.join(' ')}`).toBe('0 ');
        await isWhole(engine, `${said}: ${again.join(' ')} once more`);
      }
    }
  },
  120_000 + cuts * 10_000,
);

/** Every image that is listed is whole, and every layer that is there. */
async function isWhole(engine: TestEngine, said: string): Promise<void> {
  const { code, stdout, stderr } = await engine.tare(['system', 'verify', '--deep'], { expect: 'any' });
  expect({ said, code, told: stdout + stderr }).toEqual({ said, code: 0, told: expect.stringMatching(/all is whole/) });
}

/** Moments right before and after names change and things are synced. */
function interesting(changes: readonly DiskChange[]): number[] {
  return changes.flatMap((change, index) => ('folders' in change || change.kind === 'sync' ? [index, index + 1] : []));
}
