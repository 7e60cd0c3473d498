import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeHeader, endOfArchive, type LayerStore, openLayerStore, padding, readTar } from '../storage/index.ts';
import { type ContainerRoot, exportRoot, readArchive, statPath, writeArchive } from './archive.ts';

let base: string;
let layers: LayerStore & AsyncDisposable;
let where: ContainerRoot;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'tare-archive-'));
  const image = join(base, 'image');
  mkdirSync(join(image, 'etc/sub'), { recursive: true });
  mkdirSync(join(image, 'data'));
  writeFileSync(join(image, 'etc/file'), 'text');
  symlinkSync('/etc', join(image, 'link'));
  symlinkSync('nowhere', join(image, 'etc/broken'));
  const tar = join(base, 'image.tar');
  execFileSync('tar', ['-cf', tar, '-C', image, '.']);
  layers = await openLayerStore({ directory: join(base, 'layers'), snapshotDirectory: join(base, 'snapshots') });
  const { diffID } = await layers.apply({ path: tar, compression: 'none' });
  await layers.prepare('c', [diffID]);
  for (const name of ['volume', 'frozen']) mkdirSync(join(base, name));
  writeFileSync(join(base, 'volume/in-volume'), 'volume');
  const volume = { destination: '/data', readWrite: true };
  const frozen = { destination: '/frozen', readWrite: false };
  const binds = [
    { source: join(base, 'volume'), subpath: '', destination: '/data', readOnly: false },
    { source: join(base, 'frozen'), subpath: '', destination: '/frozen', readOnly: true },
  ];
  where = {
    ...{ id: 'c', pid: () => 0, readonlyRoot: false, mounts: [volume, frozen] },
    hold: async () => ({ binds, [Symbol.asyncDispose]: async () => undefined }),
    open: (wanted) => layers.openRoot('c', wanted),
    owner: () => ({ uid: 33, gid: 34 }),
  };
});

afterAll(async () => {
  await layers.remove('c');
  await layers[Symbol.asyncDispose]();
  rmSync(base, { recursive: true, force: true });
});

async function names(tar: AsyncIterable<Uint8Array>): Promise<string[]> {
  const all: string[] = [];
  for await (const { header } of readTar(tar)) all.push(header.path);
  return all;
}

async function* archive(path: string, body: string): AsyncGenerator<Uint8Array, void, void> {
  yield encodeHeader({ path, type: 'file', sizeBytes: body.length, uid: 5, gid: 6 });
  yield Buffer.concat([Buffer.from(body), padding(body.length), endOfArchive()]);
}

test.each([
  { path: '/etc/file', want: { name: 'file', sizeBytes: 4, linkTarget: '' } },
  { path: 'etc/../etc/file', want: { name: 'file', sizeBytes: 4 } },
  { path: '/link', want: { name: 'link', linkTarget: '/etc' } },
  { path: '/link/', want: { name: 'link', linkTarget: '' } },
  { path: '/link/file', want: { name: 'file', sizeBytes: 4 } },
  { path: '/etc/broken', want: { name: 'broken', linkTarget: '/etc/nowhere' } },
  { path: '/', want: { name: '/', linkTarget: '' } },
  { path: '/data/in-volume', want: { name: 'in-volume', sizeBytes: 6 } },
])('statPath of $path', async ({ path, want }) => {
  expect(await statPath(where, path)).toMatchObject(want);
});

test.each([
  { path: '/etc/file', want: ['file'] },
  { path: '/link', want: ['link'] },
  { path: '/etc', want: ['etc/', 'etc/broken', 'etc/file', 'etc/sub/'] },
  { path: '/link/', want: ['link/', 'link/broken', 'link/file', 'link/sub/'] },
  { path: '/etc/.', want: ['./', './broken', './file', './sub/'] },
  { path: '/data', want: ['data/', 'data/in-volume'] },
])('readArchive of $path', async ({ path, want }) => {
  expect(await names((await readArchive(where, path)).tar)).toEqual(want);
});

test.each([
  { path: '/none', kind: 'NotFound', message: /Could not find the file \/none in container c/ },
  { path: '/etc/file/x', kind: 'InvalidArgument', message: /not a directory/ },
])('$path is refused', async ({ path, kind, message }) => {
  for (const work of [statPath, readArchive]) {
    await expect(work(where, path)).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  }
});

test('what is written lands where links lead, in volumes too', async () => {
  await writeArchive(where, '/link', archive('new', 'one'));
  expect((await statPath(where, '/etc/new')).sizeBytes).toBe(3);
  await writeArchive(where, '/data', archive('new', 'two'));
  expect(readFileSync(join(base, 'volume/new'), 'utf8')).toBe('two');
  expect(lstatSync(join(base, 'volume/new'))).toMatchObject({ uid: 5, gid: 6 });
  await writeArchive(where, '/data', archive('new', 'two'), { copyUidGid: true });
  expect(lstatSync(join(base, 'volume/new'))).toMatchObject({ uid: 33, gid: 34 });
});

test.each([
  { path: '/etc/file', entry: 'x', kind: 'InvalidArgument', message: /not a directory/ },
  { path: '/none', entry: 'x', kind: 'NotFound', message: /Could not find the file/ },
  { path: '/etc', entry: '../../out', kind: 'InvalidArgument', message: /out of the root/ },
  { path: '/etc', entry: 'sub', kind: 'InvalidArgument', message: /cannot overwrite directory/ },
  { path: '/frozen', entry: 'x', kind: 'Forbidden', message: /volume is marked read-only/ },
])('writing $entry into $path is refused', async ({ path, entry, kind, message }) => {
  const work = writeArchive(where, path, archive(entry, 'x'), { noOverwriteDirNonDir: true });
  await expect(work).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
});

test('a read-only root takes nothing, its volumes do', async () => {
  const sealed = { ...where, readonlyRoot: true };
  const refused = writeArchive(sealed, '/etc', archive('x', 'x'));
  await expect(refused).rejects.toMatchObject({ kind: 'Forbidden', message: /rootfs is marked read-only/ });
  await writeArchive(sealed, '/data', archive('sealed', 'x'));
  expect(readFileSync(join(base, 'volume/sealed'), 'utf8')).toBe('x');
});

test('an export has the root without its volumes, and nothing stays mounted', async () => {
  const all = await names(exportRoot(where));
  expect(all).toContain('etc/file');
  expect(all).toContain('data/');
  expect(all).not.toContain('data/in-volume');
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(base);
});

test('a running process shows its own tree', async () => {
  const own = { ...where, pid: () => process.pid };
  expect(await statPath(own, join(base, 'volume/in-volume'))).toMatchObject({ sizeBytes: 6 });
});

test('what took the number of a process that has ended is not looked at', async () => {
  let asked = 0;
  const ended = { ...where, pid: () => (asked++ === 0 ? process.pid : 0) };
  expect(await statPath(ended, '/etc/file')).toMatchObject({ sizeBytes: 4 });
  expect(asked).toBe(2);
});
