import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { busyboxImage } from '../support/image.ts';
import { Terminal } from '../support/terminal.ts';
import { openDocker } from './differential/reference-builders.ts';

const engine = withEngine({ face: 'tare' });
let folders = 0;

function folderWith(files: Record<string, string>): string {
  folders += 1;
  const folder = join(engine().root, `context${folders}`);
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** The daemon, asked for by its address. */
const remote = (args: string[], options = {}) => engine().cli(['-H', `unix://${engine().socket}`, ...args], options);
/** The engine of the same folders in the command's own process. */
const here = (args: string[], options = {}) => engine().cli(args, options);

describe('tare build at a daemon', () => {
  const dockerfile = [
    'FROM busybox:test AS made',
    'ARG WORD=none',
    'RUN --network=none echo $WORD > /made',
    'COPY --chown=5:6 files /files',
    'FROM scratch',
    'COPY --from=made /made /files /out/',
    '',
  ].join('\n');
  const context = () =>
    folderWith({
      Dockerfile: dockerfile,
      'files/a, b.txt': 'a',
      'files/ö': 'b',
      'files/c.log': 'c',
      '.dockerignore': '*/*.log\n',
    });

  // What one of them has made, the other finds in the cache.
  test.each([
    ['a tar', ['--output', 'type=tar,dest=DEST']],
    ['an OCI archive', ['--output', 'type=oci,dest=DEST']],
    ['a docker archive', ['--output', 'type=docker,dest=DEST', '--tag', 'some:tag']],
    ['an archive on standard output', ['--output', 'type=tar,dest=-']],
  ])('%s is the one that this process makes', async (_, output) => {
    const folder = context();
    const made: Buffer[] = [];
    for (const build of [remote, here]) {
      const dest = join(engine().root, 'out.tar');
      const flags = output.map((word) => word.replace('DEST', dest));
      const epoch = ['--source-date-epoch', '1700000000'];
      const { bytes } = await build(['build', '--build-arg', 'WORD=said', ...epoch, ...flags, folder]);
      made.push(output[1]!.endsWith('-') ? Buffer.from(bytes) : readFileSync(dest));
    }
    expect(made[0]!.length).toBeGreaterThan(1000);
    expect(made[0]!.equals(made[1]!)).toBe(true);
  });

  test('a folder is filled here, an image gets into the daemon’s store, and both are told of', async () => {
    const folder = context();
    const [dest, iid, metadata] = ['out', 'iid', 'metadata.json'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const { stderr } = await remote(['build', '--output', dest, '--build-arg', 'WORD=x', folder]);
    expect(stderr).toMatch(/^#\d+ \[made 2\/3\] RUN --network=none echo/m);
    const { stdout } = await engine().run(['sh', '-c', `cd ${dest} && find . -type f | sort && cat out/made`]);
    expect(stdout).toBe('./out/a, b.txt\n./out/made\n./out/ö\nx\n');
    const layout = join(engine().root, 'layout');
    await remote(['build', '--output', `type=oci,tar=false,dest=${layout}`, '--build-arg', 'WORD=x', folder]);
    expect(JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests).toHaveLength(1);
    const said = ['--build-arg', 'WORD=hush'];
    const told = ['--iidfile', iid, '--metadata-file', metadata];
    const quiet = ['build', '--quiet', '--tag', 'at:daemon', ...said, ...told, folder];
    const id = (await remote(quiet)).stdout;
    expect(readFileSync(iid, 'utf8')).toBe(id.trim());
    const text = readFileSync(metadata, 'utf8');
    expect(JSON.parse(text)).toMatchObject({
      'image.name': 'at:daemon',
      'buildx.build.provenance': { materials: [{ uri: expect.stringContaining('pkg:docker/busybox@test') }] },
    });
    expect(text).not.toMatch(/hush|llbDefinition/);
    expect((await remote(['images', '--quiet', '--no-trunc', 'at:daemon'])).stdout).toBe(id);
    expect((await here(['build', '--quiet', '--tag', 'at:daemon', ...said, folder])).stdout).toBe(id);
  });

  test('secrets, an agent, an archive and a Dockerfile on standard input, a layout, a cache', async () => {
    const folder = folderWith({
      secret: 'hidden',
      Dockerfile: [
        'FROM base AS a',
        'RUN --network=none --mount=type=secret,id=s cat /run/secrets/s | wc -c > /length',
        'RUN --network=none --mount=type=ssh [ -S "$SSH_AUTH_SOCK" ] && echo agent > /agent',
        'FROM scratch',
        'COPY --from=a /length /agent /',
        '',
      ].join('\n'),
    });
    const socket = join(folder, 'agent.sock');
    await using agent = createServer().listen(socket);
    await eventually('an agent listens', () => agent.listening);
    const layout = join(folder, 'layout');
    mkdirSync(layout);
    await here(['save', '--output', join(folder, 'base.tar'), 'busybox:test']);
    await engine().run(['tar', '-xf', join(folder, 'base.tar'), '-C', layout]);
    const { stdout } = await remote([
      ...['build', '--secret', `id=s,src=${join(folder, 'secret')}`, '--ssh', `default=${socket}`],
      ...[
        '--build-context',
        `base=oci-layout://${layout}:test`,
        '--cache-to',
        `type=local,dest=${join(folder, 'cache')}`,
      ],
      ...['--output', 'type=tar,dest=-', folder],
    ]);
    expect(stdout).toContain('agent\n');
    expect(stdout).toContain('6\n');
    const again = await remote([
      ...['build', '--cache-from', `type=local,src=${join(folder, 'cache')}`, '--progress', 'plain'],
      ...['--build-context', `base=oci-layout://${layout}:test`, '--output', 'type=tar,dest=/dev/null', folder],
    ]);
    expect(again.stderr).toContain('CACHED');
    const program = engine().tareCommand([
      '-H',
      `unix://${engine().socket}`,
      'build',
      '--output',
      'type=tar,dest=-',
      '-',
    ]);
    const piped = (text: string) => engine().run(['sh', '-c', `${text} | ${program.join(' ')}`], { cwd: folder });
    expect((await piped('printf "FROM busybox:test\\n"')).stdout).toContain('www/index.html');
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY secret /\n');
    expect((await piped('tar -c secret Dockerfile')).stdout).toContain('hidden');
  });

  test('a question, a failure with its lines, an output that cannot be written', async () => {
    const folder = folderWith({ Dockerfile: 'FROM busybox:test AS Named\nRUN --network=none echo said && exit 7\n' });
    expect((await remote(['build', '--call', 'targets', folder])).stdout).toMatch(/named/i);
    const failing = await remote(['build', folder], { expect: 1 });
    expect(failing.stderr).toContain('said');
    expect(failing.stderr).toMatch(/2 \| >>> RUN --network=none echo said && exit 7/);
    expect(failing.stderr).toMatch(/exit code: 7/);
    const wrong = await remote(['build', folderWith({ Dockerfile: 'FROM busybox:test\nRUNN x\n' })], { expect: 1 });
    expect(wrong.stderr).toMatch(/2 \| >>> RUNN x/);
    const refused = await remote(['build', '--output', 'type=tar,dest=/proc/nothing', context()], { expect: 1 });
    expect(refused.stderr).toMatch(/\/proc\/nothing/);
  });

  test('an interrupt ends the build at the daemon', async () => {
    const folder = folderWith({ Dockerfile: 'FROM busybox:test\nRUN --network=none echo begun && sleep 1000\n' });
    const child = engine().spawnCli(['-H', `unix://${engine().socket}`, 'build', '--no-cache', folder]);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually('the step runs', () => said.includes('begun\n'), 60_000);
    const { promise, resolve } = Promise.withResolvers<number | null>();
    child.once('exit', (code) => resolve(code));
    child.kill('SIGINT');
    expect(await promise).not.toBe(0);
    const steps = () =>
      engine()
        .processes()
        .filter(({ command }) => command.includes('sleep 1000'));
    await eventually('the step is gone', () => steps().length === 0, 60_000);
    rmSync(folder, { recursive: true });
  });

  test('debug: a shell where a step failed at the daemon, with its mounts and this end’s secret', async () => {
    const folder = folderWith({
      Dockerfile:
        'FROM busybox:test\nENV A=b\nWORKDIR /work\nUSER app\n' +
        'RUN --mount=type=secret,id=s,uid=1000 --mount=type=cache,target=/cache,uid=1000 echo kept > /cache/c; exit 9\n',
      secret: 'whispered',
    });
    const words = ['build', '--debug', '--secret', `id=s,src=${join(folder, 'secret')}`, folder];
    using terminal = new Terminal(engine().command(['-H', `unix://${engine().socket}`, ...words]), {
      size: { rows: 30, columns: 100 },
      spawn: (argv, env) => engine().spawn(argv, env),
    });
    await terminal.shows('A shell where it failed');
    terminal.type('echo $(cat /cache/c /run/secrets/s) $A $PWD $(id -un) $(stty size) | tr a-z A-Z\n');
    await terminal.shows('KEPT WHISPERED B /WORK APP 30 100');
    terminal.type('exit 3\n');
    expect(await terminal.ended).toBe(1);
    expect(terminal.output).toContain('Dockerfile:5');
    expect(terminal.output.trimEnd()).toMatch(/exit code: 9$/);
  });

  test('debug: a build that does not fail, and an image without a shell', async () => {
    const inTerminal = (...words: string[]) =>
      new Terminal(engine().command(['-H', `unix://${engine().socket}`, 'build', '--debug', ...words]), {
        spawn: (argv, env) => engine().spawn(argv, env),
      });
    const good = folderWith({ Dockerfile: 'FROM busybox:test\nRUN echo fine > /made\nCMD ["cat", "/made"]\n' });
    using fine = inTerminal('--tag', 'driven:test', good);
    expect(await fine.ended).toBe(0);
    expect((await here(['run', '--rm', '--network', 'none', 'driven:test'])).stdout).toBe('fine\n');
    const bare = 'FROM busybox:test AS b\nFROM scratch\nCOPY --from=b /bin/busybox /tool\nRUN ["/tool", "false"]\n';
    using none = inTerminal(folderWith({ Dockerfile: bare }));
    expect(await none.ended).toBe(1);
    expect(none.output).toContain('The image has no shell');
  });
});

test('docker’s own daemon builds for tare, too', async () => {
  await using docker = await openDocker();
  await docker.docker(['load', '--quiet', '--input', busyboxImage().docker]);
  const folder = join(docker.root, 'context');
  mkdirSync(folder);
  const dockerfile =
    'FROM busybox:test\nRUN --network=none --mount=type=secret,id=s cp /run/secrets/s /got\nCOPY . /all\n';
  writeFileSync(join(folder, 'Dockerfile'), dockerfile);
  writeFileSync(join(folder, 'secret, too'), 'hidden');
  const tare = (args: string[], expect?: number) =>
    docker.run([join(engine().home, 'bin/tare'), '-H', docker.host, ...args], {
      ...(expect === undefined ? {} : { expect }),
    });
  const secret = ['--secret', `id=s,"src=${join(folder, 'secret, too')}"`];
  await tare(['build', '--tag', 'there:test', ...secret, folder]);
  expect((await tare(['images', '--format', '{{.Repository}}:{{.Tag}}', 'there'])).stdout).toBe('there:test\n');
  await tare(['build', '--output', join(folder, 'out'), ...secret, folder]);
  expect(readFileSync(join(folder, 'out/got'), 'utf8')).toBe('hidden');
  expect(readFileSync(join(folder, 'out/all/secret, too'), 'utf8')).toBe('hidden');
  expect((await tare(['build', '--output', 'type=tar,dest=-', ...secret, folder])).stdout).toContain('hidden');
  expect((await tare(['build', '--call', 'targets', folder])).stdout).toContain('TARGET');
  const { stderr } = await tare(['build', '--no-cache', folder], 1);
  expect(stderr).toMatch(/2 \| >>> RUN --network=none/);
}, 120_000);
