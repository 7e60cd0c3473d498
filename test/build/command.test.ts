import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withEngine } from '../support/faces.ts';
import { type Size, Terminal } from '../support/terminal.ts';

describe('tare build', () => {
  const engine = withEngine({ face: 'in-process' });
  let folders = 0;
  /** A folder with a Dockerfile and more. */
  const context = (dockerfile: string, files: Record<string, string> = {}): string => {
    folders += 1;
    const folder = join(engine().root, `context${folders}`);
    mkdirSync(folder);
    for (const [name, text] of Object.entries({ Dockerfile: dockerfile, ...files }))
      writeFileSync(join(folder, name), text);
    return folder;
  };

  const inTerminal = (words: string[], size: Size) =>
    new Terminal(engine().command(words), { size, spawn: (argv, env) => engine().spawn(argv, env) });

  test('an image that runs; the same again takes every step from the cache', async () => {
    const folder = context(
      'FROM busybox:test\nRUN echo made > /made\nCOPY here /there\nCMD ["cat", "/made", "/there"]\n',
      {
        here: 'copied\n',
      },
    );
    const first = await engine().cli(['build', '--tag', 'made:test', folder]);
    expect(first.stderr).toMatch(/^#\d+ \[2\/3\] RUN echo made > \/made$/m);
    expect((await engine().cli(['run', '--rm', '--network', 'none', 'made:test'])).stdout).toBe('made\ncopied\n');
    const again = await engine().cli(['build', '--tag', 'made:test', folder]);
    expect(again.stderr.match(/^#\d+ CACHED$/gm)?.length).toBeGreaterThanOrEqual(2);
  });

  test('quiet: the image’s id alone, which is written to a file as well', async () => {
    const folder = context('FROM busybox:test\nLABEL a=b\n');
    const file = join(folder, 'id');
    const { stdout, stderr } = await engine().cli(['build', '--quiet', '--iidfile', file, folder]);
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(stderr).toBe('');
    expect((await engine().cli(['inspect', '--format', '{{.Config.Labels.a}}', stdout.trim()])).stdout).toBe('b\n');
  });

  test('several platforms: one index, and how each was made in a file', async () => {
    const folder = context('FROM scratch\nARG TARGETPLATFORM\nLABEL for=$TARGETPLATFORM\nCOPY Dockerfile /\n');
    const [metadata, id] = [join(folder, 'metadata'), join(folder, 'id')];
    const platforms = ['linux/amd64', 'linux/arm/v7', 'linux/arm64'];
    const words = ['--platform', platforms.join(), '--metadata-file', metadata, '--iidfile', id];
    await engine().cli(['build', '--tag', 'several:test', ...words, '--provenance=mode=max', folder]);
    const told = JSON.parse(readFileSync(metadata, 'utf8'));
    expect(readFileSync(id, 'utf8')).toBe(told['containerimage.digest']);
    for (const platform of platforms) {
      const provenance = told[`buildx.build.provenance/${platform}`];
      expect(provenance.invocation.parameters).toMatchObject({ frontend: 'dockerfile.v0' });
      const format = '{{index .Config.Labels "for"}} {{.Os}}/{{.Architecture}}';
      const { stdout } = await engine().cli([
        ...['image', 'inspect', '--platform', platform, '--format', format, 'several:test'],
      ]);
      expect(stdout).toBe(`${platform} ${platform.split('/').slice(0, 2).join('/')}\n`);
    }
    const archive = join(folder, 'saved.tar');
    await engine().cli(['save', '--output', archive, 'several:test']);
    const listed = await engine().run(['tar', '-xOf', archive, 'index.json']);
    expect(listed.stdout).toContain(told['containerimage.digest']);
  });

  test('an image for another platform is taken if nobody else has one of its name, with a warning', async () => {
    const name = '127.0.0.1:1/only/here';
    await engine().cli(['tag', 'busybox:test', name]);
    const folder = context(`FROM --platform=linux/arm64 ${name}\nCOPY Dockerfile /\n`);
    const { stderr } = await engine().cli(['build', '--tag', 'other:test', folder]);
    expect(stderr).toContain('InvalidBaseImagePlatform');
    const { stdout } = await engine().cli(['run', '--rm', '--network', 'none', 'other:test', 'cat', '/Dockerfile']);
    expect(stdout).toContain(name);
    const pulling = engine().cli(['build', '--pull', folder], { expect: 1 });
    expect((await pulling).stderr).toMatch(/127\.0\.0\.1:1/);
    await engine().cli(['rmi', name, 'other:test']);
  });

  test('a step that fails: its output, its line and its exit code', async () => {
    const folder = context('FROM busybox:test\nRUN echo before && exit 7\n');
    const { stderr } = await engine().cli(['build', folder], { expect: 1 });
    expect(stderr).toContain('before');
    expect(stderr).toContain('exit code: 7');
  });

  test.each(['plain', 'quiet', 'rawjson'])(
    '%s: a step that fails is told with its output and its line',
    async (progress) => {
      const folder = context('FROM busybox:test\n\nRUN echo before && \\\n  exit 7\n');
      const { stderr } = await engine().cli(['build', '--progress', progress, folder], { expect: 1 });
      expect(stderr).toMatch(/------\n > \[2\/2\] RUN echo before && +exit 7:\nbefore\n------\n/);
      expect(stderr).toContain(
        'Dockerfile:3\n--------------------\n   1 |     FROM busybox:test\n   2 |     \n   3 | >>> RUN echo before && \\\n   4 | >>>   exit 7\n',
      );
      expect(stderr).toMatch(
        /process "\/bin\/sh -c echo before && +exit 7" did not complete successfully: exit code: 7\n$/,
      );
    },
  );

  test('call: questions about the file', async () => {
    const folder = context(
      'ARG V=1\nFROM busybox:test AS base\nFROM base AS last\nRUN --mount=type=secret,id=s true\nrun true\n',
    );
    const ask = async (call: string, expected = 0) =>
      (await engine().cli(['build', '--call', call, folder], { expect: expected })).stdout;
    expect(await ask('targets')).toBe('TARGET            DESCRIPTION\nbase              \nlast (default)    \n');
    expect(await ask('outline')).toMatch(/^BUILD ARG +VALUE +DESCRIPTION\nV +1 +\n\nSECRET +REQUIRED\ns +false\n$/);
    expect(JSON.parse(await ask('outline,format=json'))).toMatchObject({
      args: [{ name: 'V', value: '1' }],
      secrets: [{ name: 's' }],
    });
    expect(await ask('check', 1)).toMatch(/WARNING: ConsistentInstructionCasing.*\nDockerfile:5\n/s);
    const { warnings } = JSON.parse(await ask('lint,format=json', 1)) as { warnings: { ruleName: string }[] };
    expect(warnings.map(({ ruleName }) => ruleName)).toEqual(['ConsistentInstructionCasing']);
  });

  test('check: what it found, or that it found nothing', async () => {
    const clean = await engine().cli(['build', '--check', context('FROM busybox:test\n')]);
    expect(clean.stdout).toBe('Check complete, no warnings found.\n');
    const { stdout } = await engine().cli(['build', '--check', context('from busybox:test\nMAINTAINER me\n')], {
      expect: 1,
    });
    expect(stdout).toMatch(/^Check complete, 2 warnings have been found!\n/);
    expect(stdout).toContain('MaintainerDeprecated');
  });

  test('debug: a shell where a step failed, with its files, mounts, variables, folder and user', async () => {
    const folder = context(
      'FROM busybox:test\nENV A=b\nWORKDIR /work\nRUN chown app .\nUSER app\n' +
        'RUN --mount=type=secret,id=s,uid=1000 --mount=type=cache,target=/cache,uid=1000 echo left > here; echo kept > /cache/c; exit 9\n',
      { secret: 'whispered' },
    );
    const words = ['build', '--debug', '--secret', `id=s,src=${join(folder, 'secret')}`, folder];
    using terminal = inTerminal(words, { rows: 30, columns: 100 });
    await terminal.shows('A shell where it failed');
    terminal.type('echo $(cat here /cache/c /run/secrets/s) $A $PWD $(id -un) $(stty size) | tr a-z A-Z\n');
    await terminal.shows('LEFT KEPT WHISPERED B /WORK APP 30 100');
    terminal.type('exit 3\n');
    expect(await terminal.ended).toBe(1);
    expect(terminal.output).toContain('Dockerfile:6');
    expect(terminal.output.trimEnd()).toMatch(/exit code: 9$/);
  });

  test('debug: an image without a shell', async () => {
    const folder = context(
      'FROM busybox:test AS b\nFROM scratch\nCOPY --from=b /bin/busybox /tool\nRUN ["/tool", "false"]\n',
    );
    using terminal = inTerminal(['build', '--debug', folder], { rows: 24, columns: 80 });
    expect(await terminal.ended).toBe(1);
    expect(terminal.output).toContain('The image has no shell');
  });

  test.each([
    ['an instruction that is none', 'FROM busybox:test\nRUNN true\n', /line 2.*unknown instruction: RUNN/s],
    ['a file that is not there', 'FROM busybox:test\nCOPY nothing /\n', /"\/nothing": not found/],
    ['no such stage', 'FROM busybox:test\nCOPY --from=5 / /\n', /5/],
  ])('%s is told with its name', async (_, dockerfile, message) => {
    const { stderr } = await engine().cli(['build', context(dockerfile)], { expect: 1 });
    expect(stderr).toMatch(message);
  });
});
