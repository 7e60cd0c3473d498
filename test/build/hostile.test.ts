import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { withEngine } from '../support/faces.ts';
import { tar } from '../support/tar.ts';

const SECRET = 'a-secret-that-nobody-may-find';
const CANARY = 'what-only-the-host-may-see';

describe('who builds what he does not trust', () => {
  const engine = withEngine({ face: 'in-process' });
  let folders = 0;
  /** A folder of the host, with a file in it, that no build may reach. */
  let host: string;

  beforeAll(() => {
    host = join(engine().root, 'host');
    mkdirSync(host);
    writeFileSync(join(host, 'canary'), CANARY);
  });

  async function build(
    lines: readonly string[],
    words: readonly string[] = [],
    fill: (folder: string) => void = () => {},
  ) {
    folders += 1;
    const folder = join(engine().root, `context${folders}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
    fill(folder);
    const built = await engine().cli(['build', '--progress', 'plain', ...words, folder], { expect: 'any' });
    return { ...built, text: built.stdout + built.stderr };
  }

  /** The host's folder is as it was. */
  const expectUntouched = () => {
    expect(readdirSync(host)).toEqual(['canary']);
    expect(readFileSync(join(host, 'canary'), 'utf8')).toBe(CANARY);
  };

  test.each(['/etc', '/run', '/work'])(
    'a root in which %s leads to a folder of the host: mounts, copies and working folders stay in it',
    async (place) => {
      const { text } = await build(
        [
          'FROM busybox:test AS evil',
          `RUN mkdir /made && cp -a /bin /made && ln -s ${host} /made${place}`,
          'FROM scratch',
          'COPY --from=evil /made /',
          `COPY Dockerfile ${place}/copied`,
          `WORKDIR ${place}/folder`,
          `RUN --mount=type=secret,id=s,target=/s --mount=type=cache,target=${place}/cache --mount=type=tmpfs,target=${place}/t echo ran $(cat canary ../canary ${place}/canary ${host}/canary)`,
        ],
        ['--secret', `id=s,src=${join(host, 'canary')}`],
      );
      expect(text).toMatch(/^#\d+ [\d.]+ ran$/m);
      expectUntouched();
    },
  );

  test.each(['/dev', '/proc', '/sys'])(
    'a root in which %s leads to a folder of the host runs nothing',
    async (place) => {
      const made = [
        ...['FROM busybox:test AS evil', `RUN mkdir /made && cp -a /bin /made && ln -s ${host} /made${place}`],
        ...['FROM scratch', 'COPY --from=evil /made /'],
      ];
      const refused = `${place} of the container's files is a link to ${host}`;
      const { text, code } = await build([...made, 'RUN true']);
      expect(text).toContain(refused);
      expect(code).not.toBe(0);
      await build(made, ['--tag', 'astray:test']);
      const { stderr } = await engine().cli(['run', '--rm', 'astray:test', 'true'], { expect: 125 });
      expect(stderr).toContain(refused);
      expectUntouched();
    },
  );

  test.each([
    ['a mounted path', 'RUN --mount=type=bind,from=evil,source=/link,target=/m cat /m/canary'],
    ['a mounted file', 'RUN --mount=type=bind,from=evil,source=/link/canary,target=/m cat /m'],
    ['a copied path', 'COPY --from=evil /link/canary /m'],
    ['what a cache begins with', 'RUN --mount=type=cache,id=begun,from=evil,source=/link,target=/m cat /m/canary'],
  ])('a link of another stage out of its root, as %s', async (_, instruction) => {
    const { text, code } = await build([
      'FROM busybox:test AS evil',
      `RUN ln -s ${host} /link`,
      'FROM busybox:test',
      instruction,
    ]);
    expect(code).not.toBe(0);
    expect(text).not.toContain(CANARY);
    expectUntouched();
  });

  test('a pattern through a link of another stage takes nothing', async () => {
    const { text, code } = await build([
      ...['FROM busybox:test AS evil', `RUN ln -s ${host} /link`],
      ...['FROM busybox:test', 'COPY --from=evil /link/* /m/', 'RUN cat /m/*; echo ran'],
    ]);
    expect(code).toBe(0);
    expect(text).not.toContain(CANARY);
  });

  test('a context’s links are files like others', async () => {
    const fill = (folder: string) => symlinkSync(host, join(folder, 'out'));
    const copied = await build(['FROM busybox:test', 'COPY out/canary /c'], [], fill);
    expect(copied.code).not.toBe(0);
    expect(copied.stderr).toContain('"/out/canary": not found');
    const kept = await build(['FROM busybox:test', 'COPY . /c', 'RUN readlink /c/out && cat /c/out/canary'], [], fill);
    expect(kept.text).toContain(host);
    expect(kept.text).not.toContain(CANARY);
    expectUntouched();
  });

  test('a step that swaps a folder for a link while others mount it', async () => {
    const steps = Array.from({ length: 12 }, (_, number) => [
      `FROM busybox:test AS reader${number}`,
      // Whatever lies there at that moment: the folder, or where the link leads inside the cache.
      `RUN --mount=type=cache,id=swapped,source=dir,target=/m echo ${number}; cat /m/canary; ls /m; true`,
    ]).flat();
    const { text } = await build([
      'FROM busybox:test AS begun',
      'RUN --mount=type=cache,id=swapped,target=/c mkdir -p /c/dir',
      'FROM busybox:test AS swapper',
      `RUN --mount=type=cache,id=swapped,target=/c for i in $(seq 400); do ln -s ${host} /c/new && mv /c/dir /c/old && mv /c/new /c/dir; rm /c/dir; mv /c/old /c/dir; done`,
      ...steps,
      'FROM busybox:test',
      'COPY --from=begun /bin/sh /0',
      'COPY --from=swapper /bin/sh /1',
      ...Array.from({ length: 12 }, (_, number) => `COPY --from=reader${number} /bin/sh /r${number}`),
    ]);
    expect(text).not.toContain(CANARY);
    expectUntouched();
  });

  test.each([
    ['a path that climbs', [{ path: '../../../../../../../../../climbed', content: 'x' }]],
    ['an absolute path', [{ path: '/climbed', content: 'x' }]],
    [
      'a link to a folder of the host, and a file through it',
      [
        { path: 'link', type: 'symlink' as const, target: 'HOST' },
        { path: 'link/planted', content: 'x' },
      ],
    ],
    ['a hard link to a file of the host', [{ path: 'hard', type: 'link' as const, target: 'HOST/canary' }]],
  ])('an archive with %s', async (_, entries) => {
    const bytes = tar(
      entries.map((entry) => ('target' in entry ? { ...entry, target: entry.target!.replace('HOST', host) } : entry)),
    );
    const { text } = await build(
      ['FROM busybox:test', 'ADD a.tar /in/', 'RUN cat /in/* /in/link/* 2>/dev/null; true'],
      [],
      (folder) => writeFileSync(join(folder, 'a.tar'), bytes),
    );
    expect(text).not.toContain(CANARY);
    expect(existsSync('/climbed')).toBe(false);
    expectUntouched();
  });

  test('a secret is nowhere in what a build leaves', async () => {
    const target = join(engine().root, 'kept-cache');
    const { code } = await build(
      [
        'FROM busybox:test',
        'RUN --mount=type=secret,id=one cat /run/secrets/one > /dev/null',
        'RUN --mount=type=secret,id=one,env=TOKEN test -n "$TOKEN"',
        'RUN --mount=type=secret,id=one,target=/etc/deep/secret test -s /etc/deep/secret',
      ],
      [
        ...['--secret', `id=one,src=${join(engine().root, 'secret')}`],
        ...['--tag', 'secretive:test', '--cache-to', `type=local,dest=${target},mode=max`],
        ...['--provenance', 'mode=max'],
      ],
      () => writeFileSync(join(engine().root, 'secret'), SECRET),
    );
    expect(code).toBe(0);
    const saved = join(engine().root, 'secretive.tar');
    await engine().cli(['save', '--output', saved, 'secretive:test']);
    const found = await engine().run(['grep', '-rlaF', SECRET, engine().dataRoot, engine().execRoot, target, saved], {
      expect: 'any',
    });
    expect(found.stdout).toBe('');
    const history = await engine().cli(['history', '--no-trunc', '--format', 'json', 'secretive:test']);
    expect(history.stdout).not.toContain(SECRET);
  });

  test('a name that is no path, and words that look like options', async () => {
    for (const lines of [
      ['FROM busybox:test', 'COPY ../../../../etc/passwd /x'],
      ['FROM busybox:test', 'RUN --mount=type=bind,source=../../..,target=/m ls /m/home && exit 9'],
      ['FROM busybox:test', 'RUN --mount=type=cache,id=../../../../x,target=/m touch /m/y && exit 9'],
      ['FROM busybox:test', 'ADD --upload-pack=touch https://127.0.0.1:1/x.git /x'],
    ]) {
      expect((await build(lines)).code, lines.join('\n')).not.toBe(0);
    }
    expectUntouched();
    expect(readdirSync(engine().root)).not.toContain('x');
  });
});
