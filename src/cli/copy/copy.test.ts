import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { END_OF_TAR, type TarEntry, tarHeader, tarPadding } from '../stream/tar.ts';
import { extract } from './extract.ts';
import { localDestination, localSource, placeCopy, splitCopyArgument, splitEntry } from './paths.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-copy-'));
  mkdirSync(join(folder, 'to'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Given = Partial<TarEntry> & { name: string; text?: string };

async function* tar(entries: Given[]): AsyncGenerator<Uint8Array> {
  for (const { text = '', ...entry } of entries) {
    yield tarHeader({
      type: 'file',
      mode: 0o640,
      uid: 0,
      gid: 0,
      modifiedSeconds: 1000,
      ...entry,
      sizeBytes: Buffer.byteLength(text),
    });
    yield Buffer.from(text);
    yield tarPadding(Buffer.byteLength(text));
  }
  yield END_OF_TAR;
}

const unpack = (entries: Given[], rename: { from: string; to: string | undefined } = { from: 'x', to: undefined }) =>
  extract(tar(entries), join(folder, 'to'), rename);

test.each([
  ['c:/a', { container: 'c', path: '/a' }],
  ['c:', { container: 'c', path: '' }],
  ['./c:/a', { path: './c:/a' }],
  ['/a:b', { path: '/a:b' }],
  ['a', { path: 'a' }],
  ['-', { path: '-' }],
])('the argument %s', (text, want) => expect(splitCopyArgument(text)).toEqual(want));

test.each([
  ['/a/b', '/a', 'b'],
  ['/a/b/', '/a', 'b'],
  ['/a/b/.', '/a/b', '.'],
  ['/', '/', ''],
  ['b', '.', 'b'],
])('the last name of %s', (path, parent, base) => expect(splitEntry(path)).toEqual({ folder: parent, base }));

const file = { path: '/s', exists: true, isFolder: false };
const directory = { path: '/s', exists: true, isFolder: true };
test.each([
  ['a file into a folder', file, { path: '/d', exists: true, isFolder: true }, { folder: '/d' }],
  ['a file over a file', file, { path: '/d/f', exists: true, isFolder: false }, { folder: '/d', base: 'f' }],
  ['a file to a new name', file, { path: '/d/f', exists: false, isFolder: false }, { folder: '/d', base: 'f' }],
  ['a folder into a folder', directory, { path: '/d', exists: true, isFolder: true }, { folder: '/d' }],
  ['a folder to a new name', directory, { path: '/d/n/', exists: false, isFolder: false }, { folder: '/d', base: 'n' }],
])('%s', (_, source, destination, want) => expect(placeCopy(source, destination)).toEqual(want));

test('what cannot be placed', () => {
  expect(() => placeCopy(directory, { path: '/d', exists: true, isFolder: false })).toThrow(/cannot copy the folder/);
  expect(() => placeCopy(file, { path: '/d/', exists: false, isFolder: false })).toThrow(/no such directory/);
  expect(() => localDestination(join(folder, 'no/where'))).toThrow(/does not exist/);
  expect(() => localSource(join(folder, 'no'), false)).toThrow(/no such file/);
});

test('files, folders, links and their rights', async () => {
  await unpack([
    { name: 'd/', type: 'directory', mode: 0o555 },
    { name: 'd/f', text: 'hello', mode: 0o4751 },
    { name: 'd/l', type: 'symlink', linkTarget: '/etc/passwd' },
    { name: 'd/h', type: 'hardlink', linkTarget: 'd/f' },
    { name: 'new/deep/f', text: 'x' },
  ]);
  const to = join(folder, 'to');
  expect(readFileSync(join(to, 'd/h'), 'utf8')).toBe('hello');
  expect(lstatSync(join(to, 'd/f')).mode & 0o7777).toBe(0o751);
  expect(lstatSync(join(to, 'd')).mode & 0o7777).toBe(0o555);
  expect(lstatSync(join(to, 'd')).mtimeMs).toBe(1_000_000);
  expect(readlinkSync(join(to, 'd/l'))).toBe('/etc/passwd');
});

test.each([
  [{ from: 'src', to: 'dst' }, 'src/f', 'dst/f'],
  [{ from: '.', to: 'dst' }, './f', 'dst/f'],
  [{ from: '/', to: 'dst' }, '/f', 'dst/f'],
  [{ from: 'src', to: undefined }, 'src/f', 'src/f'],
])('names are changed by %j', async (rename, name, want) => {
  await unpack([{ name, text: 'x' }], rename);
  expect(readFileSync(join(folder, 'to', want), 'utf8')).toBe('x');
});

test.each([
  ['a name that climbs out', [{ name: '../f', text: 'x' }], /leads out/],
  ['a name that climbs out later', [{ name: 'a/../../f', text: 'x' }], /leads out/],
  [
    'a link and then through it',
    [
      { name: 'l', type: 'symlink' as const, linkTarget: '..' },
      { name: 'l/f', text: 'x' },
    ],
    /symbolic link/,
  ],
  ['a hard link out', [{ name: 'h', type: 'hardlink' as const, linkTarget: '../secret' }], /leads out/],
  [
    'a hard link through a link',
    [
      { name: 'l', type: 'symlink' as const, linkTarget: '..' },
      { name: 'h', type: 'hardlink' as const, linkTarget: 'l/secret' },
    ],
    /symbolic link/,
  ],
  [
    'a folder over a file',
    [
      { name: 'f', text: 'x' },
      { name: 'f/', type: 'directory' as const },
    ],
    /no folder/,
  ],
  [
    'a file over a folder',
    [
      { name: 'f/', type: 'directory' as const },
      { name: 'f', text: 'x' },
    ],
    /cannot overwrite the folder/,
  ],
])('%s is refused', async (_, entries, message) => {
  writeFileSync(join(folder, 'secret'), 'kept');
  await expect(unpack(entries)).rejects.toThrow(message);
  expect(readFileSync(join(folder, 'secret'), 'utf8')).toBe('kept');
  expect(lstatSync(join(folder, 'f'), { throwIfNoEntry: false })).toBeUndefined();
});

test('an absolute name stays below the folder', async () => {
  await unpack([{ name: '/etc/f', text: 'x' }]);
  expect(readFileSync(join(folder, 'to/etc/f'), 'utf8')).toBe('x');
});

test('a link that stands where a file goes is replaced, not followed', async () => {
  writeFileSync(join(folder, 'secret'), 'kept');
  symlinkSync(join(folder, 'secret'), join(folder, 'to/f'));
  await unpack([{ name: 'f', text: 'new' }]);
  expect(readFileSync(join(folder, 'secret'), 'utf8')).toBe('kept');
  expect(readFileSync(join(folder, 'to/f'), 'utf8')).toBe('new');
});
