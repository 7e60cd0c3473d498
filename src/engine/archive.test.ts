import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

async function names(tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string[]> {
  const all: string[] = [];
  for await (const { header } of readTar(Readable.from(tar))) all.push(header.path);
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

describe('a large archive', () => {
  let server: Server;
  const folder = () => join(base, 'volume/large');

  beforeAll(async () => {
    mkdirSync(folder());
    writeFileSync(join(folder(), 'big'), Buffer.alloc(3_000_001, 'what is in it '));
    for (let i = 0; i < 300; i++) writeFileSync(join(folder(), `file${i}`), `${i}\n`.repeat(i));
    server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => server.listen(join(base, 'socket'), resolve));
  });

  afterAll(() => {
    server.close();
    rmSync(folder(), { recursive: true });
  });

  /** Both ends of a connection; nobody reads yet. */
  async function connection(): Promise<{ near: Socket; far: Socket; fd: number }> {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const far = connect(join(base, 'socket')).pause();
    const [near] = await accepted;
    return { near, far, fd: (near as Socket & { _handle: { fd: number } })._handle.fd };
  }

  test('is the same when a thread writes it to a socket, as it is or in blocks', async () => {
    const whole = await buffer((await readArchive(where, '/data/large')).tar);
    expect(await names([whole])).toHaveLength(302);
    for (const isChunked of [false, true]) {
      const { near, far, fd } = await connection();
      const received = buffer(isChunked ? unchunked(far) : far);
      const { tar } = await readArchive(where, '/data/large');
      await tar.sendTo!({ fd, isChunked }, new AbortController().signal);
      near.end(isChunked ? '0\r\n\r\n' : '');
      expect((await received).equals(whole)).toBe(true);
    }
  });

  test('is given up when the reader is gone, and when it is not wanted any more', async () => {
    const gone = await connection();
    gone.far.destroy();
    const { tar } = await readArchive(where, '/data/large');
    await expect(tar.sendTo!({ fd: gone.fd, isChunked: true }, new AbortController().signal)).rejects.toThrow('EPIPE');
    const { near, far, fd } = await connection();
    const controller = new AbortController();
    const sending = (await readArchive(where, '/data/large')).tar.sendTo!({ fd, isChunked: true }, controller.signal);
    far.once('readable', () => controller.abort());
    await expect(sending).rejects.toThrow('ECANCELED');
    for (const socket of [gone.near, near, far]) socket.destroy();
  });

  test('that is not read leaves nothing open', async () => {
    const { tar } = await readArchive(where, '/data/large');
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    await tar[Symbol.asyncIterator]().return?.();
    expect(open()).toBeLessThan(before);
  });
});

/** RFC 9112, section 7.1, without trailers. */
async function* unchunked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const bytes = await buffer(source);
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (size === 0) return;
    yield bytes.subarray(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}

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
