import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { throughEveryFace } from './support/faces.ts';
import { busyboxEntries, ociArchive } from './support/image.ts';
import { tar } from './support/tar.ts';

throughEveryFace('diff', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  const compared = async (...args: string[]) =>
    (await engine().tare(['diff', ...args])).stdout.split('\n').slice(0, -1);

  beforeAll(async () => {
    const base = tar([
      ...busyboxEntries(),
      { path: 'kept', content: 'the same' },
      { path: 'replaced', content: 'a file' },
      { path: 'gone', type: 'directory' },
      { path: 'gone/deep', type: 'directory' },
      { path: 'gone/deep/file', content: 'x' },
      { path: 'swept', type: 'directory' },
      { path: 'swept/old', content: 'x' },
      { path: 'swept/both', content: 'x' },
    ]);
    const top = tar([
      { path: '.wh.gone' },
      { path: 'swept', type: 'directory' },
      { path: 'swept/.wh..wh..opq' },
      { path: 'swept/both', content: 'x', mtimeSeconds: 1_800_000_000 },
      { path: 'swept/new', content: 'x' },
      { path: 'replaced', type: 'directory' },
      { path: 'replaced/by', content: 'a folder' },
      // The same bytes of another time, other bytes of the same size and time.
      { path: 'kept', content: 'the same', mtimeSeconds: 1_800_000_000 },
      { path: 'www/index.html', content: 'Hello from Tarz\n' },
    ]);
    for (const [name, layers] of [
      ['base:1', [base]],
      ['top:1', [base, top]],
    ] as const) {
      const path = join(engine().root, `${name}.tar`);
      writeFileSync(path, ociArchive({ name, layers: [...layers] }));
      await cli('load', '--input', path);
    }
  });

  test('one container: what it changed of its image', async () => {
    await cli('run', '--name', 'one', busybox, 'sh', '-c', 'echo x > /new; rm /www/index.html; chmod 700 /etc');
    expect((await cli('diff', 'one')).stdout.split('\n').filter(Boolean).sort()).toEqual(
      ['A /new', 'C /etc', 'C /www', 'D /www/index.html'].sort(),
    );
    await cli('rm', 'one');
  });

  test('the place of an init is made when a container that has one starts', async () => {
    await cli('create', '--init', '--name', 'one', busybox, 'true');
    expect((await cli('diff', 'one')).stdout).toBe('');
    const { stderr } = await engine().cli(['cp', 'one:/sbin', '-'], { expect: 1 });
    expect(stderr).toContain('Could not find the file /sbin');
    await cli('start', '--attach', 'one');
    expect((await cli('diff', 'one')).stdout).toBe('A /sbin\nA /sbin/docker-init\n');
    await cli('rm', 'one');
  });

  test('an image and an image', async () => {
    expect(await compared('base:1', 'top:1')).toEqual([
      ...['D /gone', 'C /replaced', 'A /replaced/by', 'C /swept', 'A /swept/new', 'D /swept/old', 'C /www'],
      'C /www/index.html',
    ]);
    expect(await compared('top:1', 'base:1')).toEqual([
      ...['A /gone', 'A /gone/deep', 'A /gone/deep/file', 'C /replaced', 'C /swept', 'D /swept/new', 'A /swept/old'],
      ...['C /www', 'C /www/index.html'],
    ]);
    expect(await compared('top:1', 'top:1')).toEqual([]);
  });

  test('containers, running or not, and images', async () => {
    await cli('run', '-d', '--name', 'running', 'top:1', 'sh', '-c', 'echo x > /only; rm -r /swept; sleep 1000');
    await cli('create', '--name', 'made', 'base:1', 'true');
    expect(await compared('base:1', 'made')).toEqual([]);
    await cli('exec', 'running', 'test', '!', '-e', '/swept');
    expect(await compared('top:1', 'running')).toEqual(['A /only', 'D /swept']);
    expect(await compared('running', 'top:1')).toEqual([...['D /only', 'A /swept', 'A /swept/both', 'A /swept/new']]);
    expect(await compared('made', 'running')).toEqual([
      ...['D /gone', 'A /only', 'C /replaced', 'A /replaced/by', 'D /swept', 'C /www', 'C /www/index.html'],
    ]);
    await cli('rm', '-f', 'running', 'made');
  });

  test('what is neither is refused', async () => {
    expect((await engine().tare(['diff', 'base:1', 'absent'], { expect: 1 })).stderr).toContain(
      'No such container or image: absent',
    );
  });
});
