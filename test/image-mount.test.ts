import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { throughEveryFace } from './support/faces.ts';
import { busyboxImage } from './support/image.ts';

throughEveryFace('image mount', (engine, face) => {
  const cli = (...args: string[]) => engine().cli(args);
  const tare = (...args: string[]) => engine().tare(args);
  const refused = async (...args: string[]) => (await engine().tare(args, { expect: 1 })).stderr;
  const overlays = () =>
    readFileSync(`/proc/${engine().holderPid}/mountinfo`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(engine().dataRoot) && line.includes(' - overlay '));

  test('an image is shown as it is, read-only, until it was unmounted as often as it was mounted', async () => {
    const path = (await tare('image', 'mount', busybox)).stdout.trim();
    const read = async (...argv: string[]) => (await engine().run(argv)).stdout;
    expect(await read('cat', join(path, 'www/index.html'))).toBe('Hello from Tare\n');
    // Places for a container's own mounts are no part of an image.
    expect((await read('ls', path)).split('\n').filter(Boolean)).toEqual([
      'bin',
      'data',
      'etc',
      'home',
      'root',
      'tmp',
      'www',
    ]);
    const { code } = await engine().run(['sh', '-c', `echo x > ${path}/www/x`], { expect: 'any' });
    expect(code).not.toBe(0);
    expect((await tare('image', 'mount', busybox)).stdout.trim()).toBe(path);
    expect((await tare('image', 'mount')).stdout).toBe(`${busybox}   ${path}\n`);
    const { Id } = (JSON.parse((await cli('image', 'inspect', busybox)).stdout) as { Id: string }[])[0]!;
    expect(JSON.parse((await tare('image', 'mount', '--format', 'json')).stdout)).toEqual([
      { id: Id.replace('sha256:', ''), Repositories: [busybox], mountpoint: path },
    ]);
    expect((await tare('image', 'unmount', busybox)).stdout.trim()).toBe(Id.replace('sha256:', ''));
    expect(await read('cat', join(path, 'www/index.html'))).toBe('Hello from Tare\n');
    await tare('image', 'unmount', busybox);
    expect(overlays()).toEqual([]);
    expect(existsSync(join(`/proc/${engine().holderPid}/root`, path))).toBe(false);
    expect(await refused('image', 'unmount', busybox)).toContain('is not mounted');
    expect((await tare('image', 'mount')).stdout).toBe('');
  });

  test('what is mounted is in use: kept by rmi and prune unless forced, kept by a restart', async () => {
    await cli('tag', busybox, 'other:name');
    const path = (await tare('image', 'mount', busybox)).stdout.trim();
    // One of two names may go.
    await cli('rmi', 'other:name');
    expect((await engine().cli(['rmi', busybox], { expect: 1 })).stderr).toMatch(/is mounted/);
    await cli('image', 'prune', '--all', '--force');
    expect((await cli('images', '--quiet')).stdout.trim()).not.toBe('');
    if (face !== 'in-process') {
      await engine().stopDaemon('SIGKILL');
      await engine().serve();
    }
    const seen = await engine().run(['cat', join(path, 'www/index.html')]);
    expect(seen.stdout).toBe('Hello from Tare\n');
    await cli('rmi', '--force', busybox);
    expect(overlays()).toEqual([]);
    expect((await tare('image', 'mount')).stdout).toBe('');
    await cli('load', '--input', busyboxImage().docker);
  });

  test('all are mounted and unmounted at once', async () => {
    await cli('run', '--name', 'changed', busybox, 'sh', '-c', 'echo own > /own');
    await cli('commit', 'changed', 'changed:1');
    await cli('rm', 'changed');
    const lines = (await tare('image', 'mount', '--all')).stdout.trim().split('\n');
    expect(lines.map((line) => line.split(/ +/)[0]).sort()).toEqual([busybox, 'changed:1']);
    await tare('image', 'mount', 'changed:1');
    await tare('image', 'unmount', '--all');
    expect(overlays()).toEqual([]);
    await cli('rmi', 'changed:1');
  });
});
