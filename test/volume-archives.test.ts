import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { throughEveryFace } from './support/faces.ts';
import { tar } from './support/tar.ts';

const fill =
  'echo one > /v/file; chown 1000:1000 /v/file; chmod 4750 /v/file; ln /v/file /v/again; ln -s /etc/passwd /v/link; ' +
  'mkdir /v/sub; chmod 1777 /v/sub; mkfifo /v/sub/pipe; touch -d "2020-01-02 03:04:05" /v/sub/old; chown 33:33 /v; chmod 0710 /v';
const list =
  'cd /v; find . | sort | while read f; do stat -c "%n %F %a %u:%g %h" "$f"; done; readlink link; stat -c %Y sub/old; cat again';

throughEveryFace('volume export and import', (engine, face) => {
  test('a volume goes through a tar with owners, modes, times and links', async () => {
    const run = (...args: string[]) => engine().cli(['run', '--rm', ...args]);
    const shown = async (volume: string) => (await run('-v', `${volume}:/v`, busybox, 'sh', '-c', list)).stdout;
    await run('-v', 'from:/v', busybox, 'sh', '-c', fill);
    const archive = join(engine().root, `${face}.tar`);
    await engine().tare(['volume', 'export', '-o', archive, 'from']);
    const { bytes } = await engine().tare(['volume', 'export', 'from']);
    expect(bytes.equals(readFileSync(archive))).toBe(true);
    await engine().cli(['volume', 'create', 'to']);
    await engine().tare(['volume', 'import', 'to', archive]);
    expect(await shown('to')).toBe(await shown('from'));
    // Over what is there, and compressed.
    await run('-v', 'to:/v', busybox, 'sh', '-c', 'rm /v/link; echo mine > /v/link; echo mine > /v/mine');
    const { bytes: packed } = await engine().run(['gzip', '-c', archive]);
    await engine().tare(['volume', 'import', 'to'], { input: packed });
    expect(await shown('to')).toContain('./mine regular file');
    expect(await shown('to')).toContain('./link symbolic link');
    for (const verb of [['export'], ['import', archive]]) {
      const [word = '', ...rest] = verb;
      const { stderr } = await engine().tare(['volume', word, 'nobody', ...rest], { expect: 1 });
      expect(stderr).toContain('get nobody: no such volume');
    }
    await engine().cli(['volume', 'rm', 'from', 'to']);
  });
});

test('a hostile archive is refused, and nothing outside the volume changes', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  await engine.docker(['volume', 'create', 'target']);
  const outside = join(engine.root, 'outside');
  writeFileSync(outside, 'theirs');
  const refused = async (entries: Parameters<typeof tar>[0], message: string) => {
    const { stderr } = await engine.tare(['volume', 'import', 'target'], { input: tar(entries), expect: 1 });
    expect(stderr).toContain(message);
  };
  await refused([{ path: '../../../outside', content: 'x' }], 'leads out of the root');
  await refused([{ path: 'null', type: 'character', device: [1, 3] }], 'is a device');
  const { stderr } = await engine.tare(['volume', 'import', 'target'], {
    input: 'no archive at all'.repeat(100),
    expect: 1,
  });
  expect(stderr).toMatch(/archive|tar/);
  // Links in it lead nowhere but inside.
  await engine.tare(['volume', 'import', 'target'], {
    input: tar([
      { path: 'up', type: 'symlink', target: engine.root },
      { path: 'up/outside', content: 'mine' },
      { path: '/absolute', content: 'inside' },
    ]),
    expect: 'any',
  });
  expect(readFileSync(outside, 'utf8')).toBe('theirs');
  // A volume that shows a folder of the host is mounted for it, and is not afterwards.
  const options = ['--opt', 'type=tmpfs', '--opt', 'device=tmpfs'];
  await engine.docker(['volume', 'create', ...options, 'memory']);
  await engine.tare(['volume', 'import', 'memory'], { input: tar([{ path: 'x', content: 'x' }]) });
  expect((await engine.run(['cat', '/proc/self/mountinfo'])).stdout).not.toContain('memory/_data');
  expect((await engine.run(['ls', join(engine.dataRoot, 'volumes/memory/_data')])).stdout).toBe('');
});
