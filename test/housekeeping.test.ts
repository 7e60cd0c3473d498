import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { node } from './support/built.ts';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually, execute } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';
import { busyboxEntries, ociArchive } from './support/image.ts';
import { tar } from './support/tar.ts';

const base = tar(busyboxEntries());
const layerOf = (name: string, bytes: number) => tar([{ path: name, content: Buffer.alloc(bytes, name) }]);

/** An archive of an image over busybox. */
function archive(engine: TestEngine, name: string, bytes: number): string {
  const path = join(engine.root, `${name.replaceAll(':', '-')}.tar`);
  writeFileSync(path, ociArchive({ name, layers: [base, layerOf(name.slice(0, 1), bytes)] }));
  return path;
}

/** Bytes of all files below folders of the data root, as du counts them. */
async function du(engine: TestEngine, ...folders: string[]): Promise<number> {
  const paths = folders.map((folder) => join(engine.dataRoot, folder));
  const { stdout } = await engine.run([
    'sh',
    '-c',
    `find ${paths.join(' ')} -type f -print0 | du --files0-from=- -bc | tail -1`,
  ]);
  return Number(stdout.split('\t')[0]);
}

interface Usage {
  LayersSize: number;
  Images: { RepoTags: string[]; Size: number; SharedSize: number; Containers: number }[];
  Containers: { Names: string[]; SizeRw: number }[];
  Volumes: { Name: string; UsageData: { Size: number; RefCount: number } }[];
  ImageUsage: { Reclaimable: number };
}

test('disk use is what du says: images, containers, volumes, and what could go', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  for (const [name, size] of [
    ['one:1', 3e6],
    ['two:1', 5e6],
  ] as const) {
    await engine.cli(['load', '-i', archive(engine, name, size)]);
  }
  await engine.cli([
    ...['run', '--name', 'writer', '-v', 'kept:/volume', 'one:1', 'sh', '-c'],
    'head -c 2000000 /dev/zero > /written; head -c 700000 /dev/zero > /volume/x; ln /volume/x /volume/y',
  ]);
  const { body } = await engine.api<Usage>('GET', '/system/df?reclaimable=1');
  const onDisk = await du(engine, 'content/blobs', ...(await layerFolders(engine)));
  expect(Math.abs(body.LayersSize - onDisk)).toBeLessThan(1024);
  const sizeOf = (name: string) => body.Images.find(({ RepoTags }) => RepoTags.includes(name))!;
  // Links that busybox's applets are count as the length of their targets, which du does not count.
  const close = (actual: number, wanted: number) => expect(Math.abs(actual - wanted)).toBeLessThan(20_000);
  close(sizeOf('one:1').Size - sizeOf('one:1').SharedSize, 6e6);
  close(sizeOf('two:1').Size - sizeOf('two:1').SharedSize, 10e6);
  expect(sizeOf('one:1').SharedSize).toBe(sizeOf(busybox).SharedSize);
  expect(sizeOf('one:1').Containers).toBe(1);
  const unique = body.Images.reduce((sum, { Size, SharedSize }) => sum + Size - SharedSize, 0);
  close(body.LayersSize, unique + sizeOf(busybox).SharedSize);
  // Only what `two:1` has for itself could go: the base is the container's, too.
  close(body.ImageUsage.Reclaimable, 10e6);
  expect(body.Containers.find(({ Names }) => Names.includes('/writer'))?.SizeRw).toBe(2_000_000);
  expect(body.Volumes.find(({ Name }) => Name === 'kept')?.UsageData).toEqual({ Size: 700_000, RefCount: 1 });
  expect((await engine.tare(['system', 'df'])).stdout).toMatch(/^Images +3 +1 +\S+ +10(\.\d+)?MB/m);
  const { stdout } = await engine.docker(['system', 'df', '-v']);
  expect(stdout).toMatch(/writer/);
  // What prune says is what du misses afterwards.
  await engine.cli(['rm', 'writer']);
  const pruned = await engine.api<{ SpaceReclaimed: number }>(
    'POST',
    `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`,
  );
  close(pruned.body.SpaceReclaimed, onDisk);
  expect(await du(engine, 'content/blobs')).toBe(0);
});

/** The folders of unpacked layers, without what is not a layer. */
async function layerFolders(engine: TestEngine): Promise<string[]> {
  const { stdout } = await engine.run(['ls', join(engine.dataRoot, 'layers')]);
  return stdout.split('\n').flatMap((name) => (/^[0-9a-f]{64}$/.test(name) ? [`layers/${name}/diff`] : []));
}

throughEveryFace('image prune --filter until', (engine) => {
  test('removes what was made before, and not what was made since', async () => {
    await engine().cli(['load', '-i', archive(engine(), 'old:1', 1000)]);
    await engine().cli(['run', '--name', 'new', busybox, 'touch', '/new']);
    await engine().cli(['commit', 'new', 'new:1']);
    await engine().cli(['rm', 'new']);
    const names = async () =>
      (await engine().cli(['images', '--format', '{{.Repository}}'])).stdout.split('\n').filter(Boolean).sort();
    await engine().cli(['image', 'prune', '--all', '--force', '--filter', 'until=2023-01-01']);
    expect(await names()).toEqual(['busybox', 'new', 'old']);
    await engine().cli(['image', 'prune', '--all', '--force', '--filter', 'until=1h']);
    expect(await names()).toEqual(['new']);
    await engine().cli(['image', 'prune', '--all', '--force', '--filter', 'until=0s']);
    expect(await names()).toEqual([]);
    await engine().cli(['image', 'prune', '--all', '--force', '--filter', 'until=never'], { expect: 1 });
  });
});

test.each(['flags', 'file'] as const)('above a threshold set by %s, the oldest unused image goes', async (by) => {
  await using engine = await TestEngine.start({ face: 'docker', image: false });
  const config = join(engine.root, 'tare.toml');
  writeFileSync(config, '[image-gc]\nhigh = "15MB"\nlow = "12MB"\n');
  const flags = by === 'flags' ? ['--image-gc-high', '15MB', '--image-gc-low', '12MB'] : ['--config-file', config];
  await engine.stopDaemon();
  await engine.serve(flags);
  const names = async () =>
    (await engine.cli(['images', '--format', '{{.Repository}}'])).stdout.split('\n').filter(Boolean).sort();
  // A busybox of about a megabyte, and two of each blob: stored and unpacked.
  await engine.cli(['load', '-i', archive(engine, 'aged:1', 2e6)]);
  await engine.cli(['load', '-i', archive(engine, 'busy:1', 2e6)]);
  await engine.cli(['create', '--name', 'user', 'busy:1', 'true']);
  await age(engine);
  await engine.cli(['load', '-i', archive(engine, 'cool:1', 1e6)]);
  expect(await names()).toEqual(['aged', 'busy', 'cool']);
  await engine.cli(['load', '-i', archive(engine, 'done:1', 2e6)]);
  expect(await names()).toEqual(['busy', 'cool', 'done']);
  expect(engine.daemonLog).toMatch(/removed 1 unused images \(\d+ bytes\): aged:1/);
  const events = await engine.cli([
    ...['events', '--since', '1', '--until', String(Math.ceil(Date.now() / 1000)), '--filter', 'event=prune'],
    ...['--format', '{{json .Actor.Attributes}}'],
  ]);
  expect(JSON.parse(events.stdout.trim().split('\n').at(-1)!)).toMatchObject({ images: 'aged:1' });
  // A daemon looks when it starts.
  await age(engine);
  await engine.stopDaemon();
  await engine.serve(['--image-gc-high', '1kB']);
  await eventually('what nobody uses is gone', async () => {
    expect(await names()).toEqual(['busy']);
    return true;
  });
  await engine.cli(['rm', 'user']);
});

/** Lets everything be an hour older than it is. */
async function age(engine: TestEngine): Promise<void> {
  const program = `
    const { DatabaseSync } = require('node:sqlite');
    const database = new DatabaseSync(process.argv[1]);
    const hour = 3600000;
    database.exec('UPDATE image_uses SET used_ms = used_ms - ' + hour);
    for (const { id, doc } of database.prepare('SELECT id, doc FROM images').all()) {
      const image = JSON.parse(doc);
      image.lastTaggedMs -= hour;
      database.prepare('UPDATE images SET doc = ? WHERE id = ?').run(JSON.stringify(image), id);
    }
  `;
  await engine.run([node, '-e', program, join(engine.dataRoot, 'tare.db')]);
}

test('system verify says what is damaged, ends with 1, and repairs what it can', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  const verify = (...args: string[]) => engine.tare(['system', 'verify', ...args], { expect: 'any' });
  const whole = await verify();
  expect(whole).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Checked 1 images, 3 blobs \(\d+(\.\d+)?MB\), 1 unpacked layers: all is whole\n$/),
  });
  expect(await verify('--quiet', busybox)).toMatchObject({ code: 0, stdout: '' });
  const inside = join(`/proc/${engine.holderPid}/root`, engine.dataRoot);
  const [folder] = await layerFolders(engine);
  appendFileSync(join(inside, folder!, 'www/index.html'), 'more');
  expect(await verify()).toMatchObject({ code: 0 });
  expect(await verify('--deep')).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(
      /^Damaged: layer sha256:\w+ of busybox:test: \/www\/index.html is not as its blob has it\nChecked .* 1 damaged\n$/,
    ),
  });
  expect(await verify('--deep', '--repair')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Repaired: layer/),
  });
  expect((await engine.cli(['run', '--rm', busybox, 'cat', '/www/index.html'])).stdout).toBe('Hello from Tare\n');
  const [blob] = (await engine.run(['ls', '-S', join(engine.dataRoot, 'content/blobs/sha256')])).stdout.split('\n');
  const path = join(inside, 'content/blobs/sha256', blob!);
  const bytes = readFileSync(path);
  bytes[1000]! ^= 1;
  writeFileSync(path, bytes);
  expect(await verify('--repair', '--quiet')).toMatchObject({
    code: 1,
    stdout: `Damaged: blob sha256:${blob} of busybox:test: ${await problemOf(engine, path)}\n  not repaired: no registry is known to have it: load or pull the image again\n`,
  });
  expect(await verify('absent:1')).toMatchObject({ code: 1, stderr: expect.stringMatching(/No such image: absent:1/) });
});

async function problemOf(engine: TestEngine, path: string): Promise<string> {
  const { stdout } = await engine.run(['sha256sum', path.replace(/^\/proc\/\d+\/root/, '')]);
  return `its bytes have digest sha256:${stdout.split(' ')[0]}`;
}

test('a daemon whose descriptors are used up lives on, and settles what ended meanwhile', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  await engine.docker(['run', '-d', '--name', 'box', busybox, 'sleep', '1000']);
  const format = ['inspect', '--format', '{{.State.Pid}} {{.State.Status}}', 'box'];
  const look = async () => (await engine.docker(format)).stdout.trim().split(' ') as [string, string];
  const [pid] = await look();
  const highest = Math.max(...readdirSync(`/proc/${engine.daemonPid}/fd`).map(Number));
  await execute(['prlimit', '--pid', String(engine.daemonPid), `--nofile=${highest + 20}:`]);
  const clients = Array.from({ length: highest + 100 }, () => connect(engine.socket).on('error', () => {}));
  await eventually('no descriptor is left', async () => engine.daemonLog.includes('starting the keeper'), 60_000);
  process.kill(Number(pid), 'SIGKILL');
  await eventually('it has ended', async () => !existsSync(`/proc/${pid}`), 60_000);
  for (const client of clients) client.destroy();
  await eventually('the container has exited', async () => (await look())[1] === 'exited', 60_000);
});
