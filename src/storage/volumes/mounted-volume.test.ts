import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OpenFile } from '../../linux/index.ts';
import { scratch } from '../scratch.fixture.ts';
import { openBeneath } from './beneath.ts';
import { openVolumeDirectories } from './folders.ts';
import { parseMountWords } from './mount-options.ts';
import { isMountPoint, mountVolume, unmountVolume } from './mounted-volume.ts';

test.each([
  ['', { flags: 0, propagation: 0, data: '' }],
  ['bind,ro', { flags: 4097, propagation: 0, data: '' }],
  ['rbind,rslave', { flags: 20480, propagation: (1 << 19) | 16384, data: '' }],
  ['ro,nosuid,rw,suid', { flags: 0, propagation: 0, data: '' }],
  ['addr=10.0.0.1,,vers=4,noexec', { flags: 8, propagation: 0, data: 'addr=10.0.0.1,vers=4' }],
  ['constructor,toString', { flags: 0, propagation: 0, data: 'constructor,toString' }],
])('mount options %j', (text, want) => expect(parseMountWords(text)).toEqual(want));

test('a removal takes off what is mounted at the volume, and leaves it as it is', async () => {
  using dir = scratch();
  const theirs = join(dir.path, 'theirs');
  mkdirSync(theirs);
  writeFileSync(join(theirs, 'precious'), '');
  const volumes = await openVolumeDirectories(join(dir.path, 'volumes'));
  const path = await volumes.createVolumeDirectory('bound');
  expect(isMountPoint(path)).toBe(false);
  await mountVolume({ type: 'none', options: 'bind', device: theirs }, path);
  await mountVolume({ type: 'none', options: 'bind', device: theirs }, path);
  expect(isMountPoint(path)).toBe(true);
  expect(readdirSync(path)).toEqual(['precious']);
  await volumes.removeVolumeDirectory('bound');
  expect(readdirSync(theirs)).toEqual(['precious']);
  expect(await volumes.volumeNames()).toEqual([]);
});

test('what the kernel refuses is told in docker’s words, without passwords', async () => {
  using dir = scratch();
  const target = join(dir.path, 'at');
  mkdirSync(target);
  await expect(mountVolume({ type: 'nope', options: 'ro,password=secret,x', device: 'd' }, target)).rejects.toThrow(
    `error while mounting volume '${target}': failed to mount local volume: mount d:${target}, flags: 0x1, data: password=********,x: no such device`,
  );
  // Options that come after the mount itself: nothing stays.
  await expect(mountVolume({ type: 'tmpfs', options: 'shared,slave', device: 't' }, target)).rejects.toThrow();
  expect(isMountPoint(target)).toBe(false);
  unmountVolume(target);
});

test('beneath a folder, links are followed as far as they stay there', () => {
  using dir = scratch();
  mkdirSync(join(dir.path, 'volume/a'), { recursive: true });
  writeFileSync(join(dir.path, 'volume/a/file'), '');
  symlinkSync('a', join(dir.path, 'volume/in'));
  symlinkSync('/a', join(dir.path, 'volume/absolute'));
  symlinkSync('../..', join(dir.path, 'volume/out'));
  symlinkSync('self', join(dir.path, 'volume/self'));
  const open = (path: string) => new OpenFile(openBeneath(join(dir.path, 'volume'), path));
  for (const path of ['a', 'in/file', 'a/../a', '.']) {
    using opened = open(path);
    expect(opened.fd).toBeGreaterThan(0);
  }
  for (const path of ['absolute', 'out', '..', 'self', 'a/../..']) expect(() => open(path)).toThrow('leads out');
  for (const path of ['nothing', 'a/file/x']) expect(() => open(path)).toThrow('no such file or directory');
});
