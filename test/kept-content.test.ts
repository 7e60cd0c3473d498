import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { busyboxEntries, ociArchive } from './support/image.ts';
import { random, seed } from './support/random.ts';
import { startRegistry } from './support/registry.ts';
import { tunnel } from './support/registry-tunnel.ts';
import { tar } from './support/tar.ts';

const kills = Math.ceil(Number(process.env['TARE_KILLS'] ?? 12) * 0.75);

const base = tar(busyboxEntries());
const layerOf = (name: string, bytes: number) =>
  tar([{ path: name, content: Buffer.alloc(bytes, `${name} is here. `) }]);

/** What lies in the stores, by name. */
function stored(engine: TestEngine): string[] {
  const list = (folder: string) => readdirSync(join(`/proc/${engine.holderPid}/root`, engine.dataRoot, folder));
  return [
    ...list('content/blobs/sha256').map((name) => `blob ${name}`),
    ...list('layers').flatMap((name) => (/^[0-9a-f]{64}$/.test(name) ? [`layer ${name}`] : [])),
  ].sort();
}

test(
  `at ${kills} kills no collection takes what a container, a mount or a transfer uses (seed ${seed})`,
  async () => {
    const next = random(seed);
    await using registry = await startRegistry();
    await using engine = await TestEngine.start({ face: 'docker' });
    await using _tunnel = await tunnel(engine, registry.port);
    const remote = `${registry.address}/team/app:v1`;
    await registry.seed('team/app', 'v1', { layers: [base, layerOf('pulled', 6e6), layerOf('more', 3e6)] });
    const archive = (name: string, ...layers: Uint8Array[]): string => {
      const path = join(engine.root, `${name.replaceAll(':', '-')}.tar`);
      writeFileSync(path, ociArchive({ name, layers: [base, ...layers] }));
      return path;
    };
    // One that only a container needs, one that is looked at, and one that comes and goes.
    await engine.cli(['load', '-i', archive('used:1', layerOf('used', 1e6))]);
    await engine.cli(['create', '--name', 'user', 'used:1', 'head', '-c', '13', '/used']);
    await engine.cli(['rmi', '--force', 'used:1']);
    await engine.cli(['load', '-i', archive('seen:1', layerOf('seen', 1e6))]);
    const path = (await engine.tare(['image', 'mount', 'seen:1'])).stdout.trim();
    const passing = archive('passing:1', layerOf('passing', 8e6), layerOf('too', 2e6));
    await engine.cli([
      'run',
      '-d',
      '--name',
      'changing',
      busybox,
      'sh',
      '-c',
      'head -c 5000000 /dev/zero > /z; sleep 3600',
    ]);
    const before = stored(engine);

    const work: string[][] = [
      ['load', '-i', passing],
      ['pull', remote],
      ['commit', 'changing', 'committed:1'],
    ];
    const sweeps: string[][] = [
      ['image', 'prune', '--all', '--force'],
      ['rmi', '--force', 'passing:1'],
      ['rmi', '--force', remote],
      ['image', 'prune', '--force'],
    ];
    for (let point = 0; point < kills; point += 1) {
      const args = work[point % work.length]!;
      const sweep = sweeps[Math.floor(next() * sweeps.length)]!;
      const running = [engine.cli(args, { expect: 'any' }), engine.cli(sweep, { expect: 'any' })];
      await new Promise((resolve) => setTimeout(resolve, 10 + next() * 350));
      await engine.stopDaemon('SIGKILL');
      await Promise.all(running);
      await engine.serve();
      const said = `point ${point}: ${args.join(' ')} beside ${sweep.join(' ')}`;

      const checked = await engine.tare(['system', 'verify', '--deep'], { expect: 'any' });
      expect(checked.stdout, said).toMatch(/^Checked .*: all is whole\n$/);
      expect((await engine.cli(['start', '-a', 'user'])).stdout, said).toBe('used is here.');
      const seen = readFileSync(join(`/proc/${engine.holderPid}/root`, path, 'seen'), 'latin1');
      expect(seen.slice(0, 13), said).toBe('seen is here.');
      expect((await engine.cli(['inspect', '-f', '{{.State.Status}}', 'changing'])).stdout.trim(), said).toBe(
        'running',
      );
      // What was cut off does not hinder its repetition, and what nobody uses goes entirely.
      await engine.cli(args);
      await engine.cli(['rmi', '--force', 'passing:1', remote, 'committed:1'], { expect: 'any' });
      await eventually(`only what is in use is left after ${said}`, async () => {
        await engine.cli(['image', 'prune', '--force']);
        expect(stored(engine)).toEqual(before);
        return true;
      });
    }
    await engine.tare(['image', 'unmount', 'seen:1']);
    await engine.cli(['rm', '-f', 'user', 'changing']);
    await engine.cli(['rmi', 'seen:1', busybox]);
    expect(stored(engine)).toEqual([]);
  },
  Math.max(180_000, kills * 15_000),
);

test('a commit whose process is killed leaves its container running and no image', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  const write = 'dd if=/dev/urandom of=/big bs=1M count=300; touch /done; sleep 3600';
  await engine.cli(['run', '-d', '--name', 'big', busybox, 'sh', '-c', write]);
  await eventually(
    'its file is written',
    async () => {
      const { code } = await engine.cli(['exec', 'big', 'test', '-e', '/done'], { expect: 'any' });
      return code === 0;
    },
    30_000,
  );
  const status = async () => (await engine.cli(['inspect', '-f', '{{.State.Status}}', 'big'])).stdout.trim();
  const committing = engine.cli(['commit', 'big', 'big:1'], { expect: 'any' });
  await eventually('it stands still', async () => (await status()) === 'paused', 20_000);
  await engine.stopDaemon('SIGKILL');
  await committing;
  await engine.serve();
  expect(await status()).toBe('running');
  expect((await engine.cli(['exec', 'big', 'echo', 'alive'])).stdout).toBe('alive\n');
  expect((await engine.cli(['images', '--format', '{{.Repository}}'])).stdout).toBe('busybox\n');
  const inside = join(`/proc/${engine.holderPid}/root`, engine.dataRoot);
  expect(readdirSync(join(inside, 'content/ingest'))).toEqual([]);
  expect(existsSync(join(inside, 'content/blobs/sha256'))).toBe(true);
  await engine.cli(['rm', '-f', 'big']);
});

test(`mounting is killed ${kills} times and leaves no mount that nobody knows of (seed ${seed})`, async () => {
  const next = random(seed);
  await using engine = await TestEngine.start({ face: 'in-process' });
  const overlays = () =>
    readFileSync(`/proc/${engine.holderPid}/mountinfo`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(engine.dataRoot) && line.includes(' - overlay '));
  for (let point = 0; point < kills; point += 1) {
    const args = point % 3 === 2 ? ['image', 'unmount', '--all'] : ['image', 'mount', busybox];
    const child = engine.spawn(engine.tareCommand(args));
    const ended = new Promise((resolve) => child.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 60 + next() * 250));
    child.kill('SIGKILL');
    await ended;
    // Whoever comes next puts in order what was cut off.
    const listed = (await engine.tare(['image', 'mount'])).stdout.split('\n').filter(Boolean);
    expect(overlays(), `point ${point}`).toHaveLength(listed.length);
    for (const line of listed) {
      const path = line.split(/ +/)[1]!;
      expect((await engine.run(['cat', join(path, 'www/index.html')])).stdout).toBe('Hello from Tare\n');
    }
  }
  await engine.tare(['image', 'unmount', '--all']);
  expect(overlays()).toEqual([]);
});

test('a container is made of an image that is being removed wholly or not at all', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  const path = join(engine.root, 'raced.tar');
  writeFileSync(path, ociArchive({ name: 'raced:1', layers: [base, layerOf('raced', 1e5)] }));
  for (let round = 0; round < 8; round += 1) {
    await engine.cli(['load', '--quiet', '-i', path]);
    const [made] = await Promise.all([
      engine.cli(['create', '--name', 'racer', 'raced:1', 'head', '-c', '5', '/raced'], { expect: 'any' }),
      engine.cli(['rmi', '--force', 'raced:1'], { expect: 'any' }),
    ]);
    if (made.code === 0) expect((await engine.cli(['start', '-a', 'racer'])).stdout).toBe('raced');
    else expect(made.stderr).toMatch(/No such image|not unpacked|pull access denied|not found|registry|dial|lookup/i);
    await engine.cli(['rm', '--force', 'racer'], { expect: 'any' });
    await engine.cli(['rmi', '--force', 'raced:1'], { expect: 'any' });
    expect((await engine.tare(['system', 'verify'])).stdout).toMatch(/^Checked 1 images.*all is whole\n$/);
  }
});
