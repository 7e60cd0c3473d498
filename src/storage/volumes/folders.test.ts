import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratch } from '../scratch.fixture.ts';
import { copyUp, directorySize, openVolumeDirectories } from './folders.ts';

test('volumes are made, found and removed', async () => {
  using dir = scratch();
  const volumes = await openVolumeDirectories(dir.path);
  const path = await volumes.createVolumeDirectory('data');
  expect(path).toBe(volumes.volumePath('data'));
  writeFileSync(join(path, 'x'), '12345');
  expect(await volumes.createVolumeDirectory('data')).toBe(path);
  expect(await directorySize(path)).toBe(5);
  expect(await volumes.volumeNames()).toEqual(['data']);
  mkdirSync(join(dir.path, '.removing-dead/deep'), { recursive: true });
  await volumes.reconcile();
  await volumes.removeVolumeDirectory('data');
  await volumes.removeVolumeDirectory('data');
  expect(readdirSync(dir.path)).toEqual([]);
});

test.each(['', '..', 'a', 'a/b', '.hidden', 'x\0y'])('refuses the name %j', async (name) => {
  using dir = scratch();
  const volumes = await openVolumeDirectories(dir.path);
  expect(() => volumes.volumePath(name)).toThrow(/invalid volume name/);
});

test('copy-up takes everything as it is, through links inside the image only', async () => {
  using dir = scratch();
  const root = join(dir.path, 'root');
  const secret = join(dir.path, 'secret');
  mkdirSync(join(root, 'real/sub'), { recursive: true, mode: 0o755 });
  writeFileSync(secret, 'secret');
  writeFileSync(join(root, 'real/file'), 'text', { mode: 0o640 });
  execFileSync('chown', ['11:12', join(root, 'real/file'), join(root, 'real')]);
  execFileSync('chmod', ['1750', join(root, 'real')]);
  execFileSync('ln', [join(root, 'real/file'), join(root, 'real/sub/hard')]);
  execFileSync('mknod', [join(root, 'real/null'), 'c', '1', '3']);
  execFileSync('touch', ['-d', '@1000000000', join(root, 'real/sub')]);
  symlinkSync(secret, join(root, 'real/out'));
  symlinkSync('/real', join(root, 'data'));
  const volume = join(dir.path, 'volume');
  mkdirSync(volume);

  expect(await copyUp(root, '/data', volume)).toBe(true);
  expect(lstatSync(volume)).toMatchObject({ mode: 0o041750, uid: 11, gid: 12 });
  expect(lstatSync(join(volume, 'file'))).toMatchObject({ mode: 0o100640, uid: 11, gid: 12, nlink: 2 });
  expect(lstatSync(join(volume, 'sub/hard')).ino).toBe(lstatSync(join(volume, 'file')).ino);
  expect(lstatSync(join(volume, 'sub')).mtimeMs).toBe(1_000_000_000_000);
  expect(lstatSync(join(volume, 'null')).rdev).toBe((1 << 8) | 3);
  expect(readlinkSync(join(volume, 'out'))).toBe(secret);
  expect(readFileSync(join(volume, 'file'), 'utf8')).toBe('text');
  // A second container finds the volume in use.
  expect(await copyUp(root, '/data', volume)).toBe(false);
});

test.each(['/nothing', '/file', '/outside'])('copy-up of %s copies nothing', async (path) => {
  using dir = scratch();
  const root = join(dir.path, 'root');
  mkdirSync(root);
  mkdirSync(join(dir.path, 'volume'));
  mkdirSync(join(dir.path, 'elsewhere'));
  writeFileSync(join(root, 'file'), '');
  writeFileSync(join(dir.path, 'elsewhere/secret'), '');
  symlinkSync(join(dir.path, 'elsewhere'), join(root, 'outside'));
  expect(await copyUp(root, path, join(dir.path, 'volume'))).toBe(false);
  expect(readdirSync(join(dir.path, 'volume'))).toEqual([]);
});
