import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';
import { holdings } from './support/holdings.ts';
import { busyboxEntries, busyboxImage, dockerArchive, ociArchive, sha256 } from './support/image.ts';
import { type TarEntry, tar } from './support/tar.ts';

interface Refused {
  args: string[];
  /** docker's exit code. */
  code: number;
  says: RegExp;
}

/** The command fails as docker documents it, says why, and all is as it was. */
async function isRefused(engine: TestEngine, { args, code, says }: Refused): Promise<void> {
  const before = await holdings(engine);
  const { stderr } = await engine.cli(args, { expect: code });
  expect(stderr).toMatch(says);
  await isAsBefore(engine, before);
}

async function isAsBefore(engine: TestEngine, before: string[]): Promise<void> {
  // A monitor ends, and the kernel drops links, a moment after the command.
  await eventually('nothing is left', async () => {
    const now = await holdings(engine);
    expect(now.filter((line) => !before.includes(line))).toEqual([]);
    // Links and monitors of an earlier command may go meanwhile; records may not.
    expect(before.filter((line) => line.startsWith('record') && !now.includes(line))).toEqual([]);
    return true;
  });
}

const layer = tar(busyboxEntries());
const rootfs = (...entries: TarEntry[]) => tar([{ path: 'tmp', type: 'directory' }, ...entries]);

/** What both a root file system and a layer may be. */
const hostileTars: { what: string; bytes: Uint8Array; says: RegExp }[] = [
  {
    what: 'a path above the root',
    bytes: rootfs({ path: '../../evil', content: 'x' }),
    says: /"\.\.\/\.\.\/evil".*out/,
  },
  {
    what: 'a path that climbs on its way',
    bytes: rootfs({ path: 'tmp/../../../evil', content: 'x' }),
    says: /tmp\/\.\.\/\.\.\/\.\.\/evil.*out/,
  },
  {
    what: 'a hard link out of the root',
    bytes: rootfs({ path: 'stolen', type: 'link', target: '../../../etc/passwd' }),
    says: /"stolen".*"\.\.\/\.\.\/\.\.\/etc\/passwd", out of the root/,
  },
  {
    what: "a hard link to the host's file",
    bytes: rootfs({ path: 'stolen', type: 'link', target: '/etc/shadow' }),
    says: /"stolen".*"\/etc\/shadow", which is no file of this archive/,
  },
  {
    what: 'a folder swapped for a link out of the root',
    bytes: rootfs(
      { path: 'swapped', type: 'directory' },
      { path: 'swapped', type: 'symlink', target: '../../../../usr' },
      { path: 'swapped/evil', content: 'x' },
    ),
    says: /"swapped".*link that leads nowhere/,
  },
  {
    what: 'devices without end',
    bytes: tar(Array.from({ length: 5000 }, (_, index) => ({ path: `sd${index}`, type: 'block', device: [8, 0] }))),
    says: /more than 4096 device nodes/,
  },
  {
    what: 'a header that lies about sizes',
    bytes: tar([{ path: 'liar', content: 'short', claimedSize: 1e9 }]),
    says: /"liar".*truncated/,
  },
  { what: 'half a file', bytes: layer.subarray(0, 700_000), says: /bin\/busybox.*truncated/ },
  { what: 'noise', bytes: Buffer.alloc(4096, 'noise'), says: /no tar/ },
];

const bomb = gzipSync(tar([{ path: 'zeros', content: Buffer.alloc(400 << 20) }]), { level: 9 });
const image = ociArchive({ name: 'bad:test', layers: [layer] });
/** The image with a byte of its layer turned, far from any header. */
const turned = (() => {
  const copy = Buffer.from(image);
  const at = copy.indexOf('Hello from Tare');
  copy.write('J', at);
  return copy;
})();

/** What is wrong around the layers. */
const hostileArchives: { what: string; bytes: Uint8Array; says: RegExp }[] = [
  { what: 'a wrong digest', bytes: turned, says: new RegExp(`${sha256(layer)}.*digest`) },
  { what: 'a truncated stream', bytes: image.subarray(0, 700_000), says: /truncated/ },
  { what: 'a truncated gzip stream', bytes: gzipSync(image).subarray(0, 300_000), says: /gzip.*truncated/ },
  { what: 'a bomb', bytes: bomb, says: /inflate more than \d+-fold.*bomb/ },
  {
    what: 'a path above it',
    bytes: tar([{ path: '../manifest.json', content: '[]' }]),
    says: /"\.\.\/manifest\.json"/,
  },
  {
    what: 'an absolute path',
    bytes: tar([{ path: '/etc/cron.d/x', content: 'x' }]),
    says: /"\/etc\/cron\.d\/x".*outside/,
  },
  {
    what: 'a manifest that is a link out of it',
    bytes: tar([{ path: 'manifest.json', type: 'symlink', target: '/etc/passwd' }]),
    says: /\/etc\/passwd.*outside|neither index\.json/,
  },
  { what: 'a root file system', bytes: layer, says: /import/ },
  { what: 'no bytes', bytes: Buffer.alloc(0), says: /neither index\.json .* nor manifest\.json/ },
];

throughEveryFace('bad input', (engine, face) => {
  const path = () => join(engine().root, 'hostile.tar');
  /** The network's own link and table come with the first container and stay. */
  const warm = () => engine().cli(['run', '--rm', '-p', '18999:80', busybox, 'true']);

  test.each(hostileTars)('import and load refuse $what', async ({ bytes, says }) => {
    writeFileSync(path(), bytes);
    await isRefused(engine(), { args: ['import', path(), 'bad:test'], code: 1, says });
    writeFileSync(path(), ociArchive({ name: 'bad:test', layers: [layer, bytes] }));
    await isRefused(engine(), { args: ['load', '--input', path()], code: 1, says });
  });

  test.each(hostileArchives)('load refuses $what', async ({ bytes, says }) => {
    writeFileSync(path(), bytes);
    await isRefused(engine(), { args: ['load', '--input', path()], code: 1, says });
  });

  test.each([
    { what: 'a bomb', bytes: bomb, says: /inflate more than \d+-fold.*bomb/ },
    { what: 'a truncated gzip stream', bytes: gzipSync(layer).subarray(0, 300_000), says: /gzip.*truncated/ },
    { what: 'no bytes', bytes: Buffer.alloc(0), says: /empty/ },
  ])('import refuses $what', async ({ bytes, says }) => {
    writeFileSync(path(), bytes);
    await isRefused(engine(), { args: ['import', path(), 'bad:test'], code: 1, says });
  });

  test('absolute paths and links of a layer end inside the root', async () => {
    const mark = `/tmp/${basename(engine().root)}-escaped`;
    const bytes = tar([
      ...busyboxEntries(),
      { path: mark, content: 'absolute' },
      { path: 'way', type: 'symlink', target: '/tmp' },
      { path: `way/${basename(mark)}-2`, content: 'through a link' },
    ]);
    writeFileSync(path(), bytes);
    await engine().cli(['import', path(), 'bad:test']);
    const { stdout } = await engine().cli(['run', '--rm', 'bad:test', '/bin/cat', mark, `${mark}-2`]);
    expect(stdout).toBe('absolutethrough a link');
    expect([existsSync(mark), existsSync(`${mark}-2`)]).toEqual([false, false]);
    await engine().cli(['rmi', 'bad:test']);
  });

  test.each<Refused & { what: string }>([
    { what: 'an unknown image', args: ['run', '--rm', 'no-such-image', 'true'], code: 125, says: /no-such-image/ },
    { what: 'an unknown image', args: ['rmi', 'no-such-image'], code: 1, says: /No such image: no-such-image/ },
    { what: 'a bad reference', args: ['run', '--rm', 'Bad:a:b', 'true'], code: 125, says: /invalid reference format/ },
    { what: 'a bad reference', args: ['tag', busybox, 'UPPER'], code: 1, says: /UPPER.*must be lowercase/ },
    {
      what: 'a missing bind source',
      args: ['run', '--rm', '--mount', 'type=bind,src=/no/such,dst=/x', busybox, 'true'],
      code: 125,
      says: /bind source path does not exist: \/no\/such/,
    },
    {
      what: 'too little memory',
      args: ['run', '--rm', '-m', '1k', busybox, 'true'],
      code: 125,
      says: /Minimum memory limit allowed is 6MB/,
    },
    {
      what: 'more CPUs than the host has',
      args: ['run', '--rm', '--cpus', '4096', busybox, 'true'],
      code: 125,
      says: /Range of CPUs is from 0\.01 to \d+\.00/,
    },
    {
      what: 'a CPU the host has not',
      args: ['run', '--rm', '--cpuset-cpus', '4095', busybox, 'true'],
      code: 125,
      says: /requested 4095, available: 0/,
    },
    {
      what: 'a limit that cannot be raised',
      args: ['run', '--rm', '--ulimit', 'nofile=2000000000', busybox, 'true'],
      code: 125,
      says: /nofile.*2000000000/,
    },
    { what: 'no such command', args: ['run', '--rm', busybox, 'nothing'], code: 127, says: /"nothing".*not found/ },
    {
      what: 'a command that is no program',
      args: ['run', '--rm', busybox, '/etc/passwd'],
      code: 126,
      says: /"\/etc\/passwd": permission denied/,
    },
    {
      what: 'an unknown user',
      args: ['run', '--rm', '--user', 'stranger', busybox, 'true'],
      code: 125,
      says: /unable to find user stranger/,
    },
    {
      what: 'an unknown group',
      args: ['run', '--rm', '--user', '0:strangers', busybox, 'true'],
      code: 125,
      says: /unable to find group strangers/,
    },
  ])('$what is refused: $args', async ({ args, code, says }) => {
    await warm();
    await isRefused(engine(), { args, code, says });
  });

  test('a port and a name in use are refused', async () => {
    await warm();
    await engine().cli(['run', '-d', '--name', 'holder', '-p', '18700:80', busybox, 'sleep', '600']);
    const id = (await engine().cli(['inspect', '-f', '{{.Id}}', 'holder'])).stdout.trim();
    const program = engine().spawn(['busybox', 'nc', '-l', '-p', '18701']);
    await eventually('a program of the host listens', async () =>
      (await engine().run(['ss', '-ltn'])).stdout.includes(':18701'),
    );
    for (const [args, says] of [
      [['-p', '18700:80'], /18700 failed: port is already allocated \(by container holder\)/],
      [['-p', '18701:80'], /bind.*:18701\b/],
      [['-p', '18702:80', '-p', '18701:81'], /bind.*:18701\b/],
      [['--name', 'holder'], new RegExp(`"/holder" is already in use by container "${id}"`)],
    ] as const) {
      await isRefused(engine(), { args: ['run', '--rm', ...args, busybox, 'true'], code: 125, says });
    }
    program.kill();
    // What a refused run took with it is free again.
    await engine().cli(['run', '--rm', '-p', '18702:80', busybox, 'true']);
    await engine().cli(['rm', '-f', 'holder']);
  });

  test('a full disk fails load, create and run, and all works once there is space', async () => {
    await using small = await TestEngine.start({ face: 'in-process', image: false });
    await small.run(['mount', '-t', 'tmpfs', '-o', 'size=192m,mode=700', 'tmpfs', small.dataRoot]);
    if (face !== 'in-process') await small.serve();
    const cli = face === 'docker' ? small.docker.bind(small) : small.tare.bind(small);
    await cli(['load', '--input', busyboxImage().docker]);
    await cli(['run', '--rm', busybox, 'true']);
    const before = await holdings(small);

    const layers = [layer, tar([{ path: 'large', content: Buffer.alloc(192 << 20, 'x') }])];
    writeFileSync(path(), dockerArchive({ name: 'large:test', layers }));
    const load = await cli(['load', '--input', path()], { expect: 1 });
    expect(load.stderr).toMatch(/no space left on device.*free some space/);
    await isAsBefore(small, before);
    expect((await cli(['run', '--rm', busybox, 'echo', 'works'])).stdout).toBe('works\n');

    const filler = join(small.dataRoot, 'filler');
    await small.run(['sh', '-c', `cat /dev/zero > ${filler} || :`], { expect: 'any' });
    const run = await cli(['run', '--rm', busybox, 'true'], { expect: 125 });
    expect(run.stderr).toMatch(/no space left on device|disk is full/);
    await cli(['load', '--input', path()], { expect: 1 });
    await small.run(['rm', filler]);
    await isAsBefore(small, before);
    expect((await cli(['run', '--rm', busybox, 'echo', 'again'])).stdout).toBe('again\n');
    expect((await cli(['ps', '-aq'])).stdout).toBe('');
  });
});

test('commands run beside a daemon that starts meanwhile', async () => {
  await using engine = await TestEngine.start({ face: 'in-process' });
  const before = await holdings(engine);
  const started = engine.tare(['run', '-d', '--name', 'early', busybox, 'sleep', '600']);
  const commands = Array.from({ length: 4 }, async (_, index) => {
    for (let round = 0; round < 3; round += 1) {
      const name = `made-${index}-${round}`;
      const { stdout } = await engine.tare(['run', '--rm', busybox, 'echo', name]);
      expect(stdout).toBe(`${name}\n`);
      await engine.tare(['create', '--name', name, busybox, 'true']);
      if (round > 0) await engine.tare(['rm', name]);
    }
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await engine.serve();
  await started;
  await Promise.all(commands);

  const seen = await engine.docker(['ps', '-a', '--format', '{{.Names}} {{.State}}']);
  const want = ['early running', ...[0, 1, 2, 3].map((index) => `made-${index}-0 created`)];
  expect(seen.stdout.trim().split('\n').sort()).toEqual(want);
  expect((await engine.docker(['exec', 'early', 'echo', 'reached'])).stdout).toBe('reached\n');
  await engine.docker(['rm', '-f', ...want.map((line) => line.split(' ')[0]!)]);
  const ours = (lines: string[]) => lines.filter((line) => /^(record|cgroup|monitor|mount)/.test(line));
  await eventually('nothing is left', async () => {
    expect(ours(await holdings(engine))).toEqual(ours(before));
    return true;
  });
});
