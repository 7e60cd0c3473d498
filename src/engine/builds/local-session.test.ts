import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { FolderFilter, SentEntry, SentFolder } from '../../build/index.ts';
import { mount, unmount } from '../../linux/index.ts';
import { digestOf } from '../../storage/index.ts';
import { openLocalSession } from './local-session.ts';
import type { SessionOptions } from './session-options.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tare-session-'));
  return () => rmSync(root, { recursive: true, force: true });
});
const signal = new AbortController().signal;

function tree(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(join(root, path.split('->', 1)[0]!, '..'), { recursive: true });
    if (path.endsWith('/')) mkdirSync(join(root, path), { recursive: true });
    else if (path.includes('->')) {
      const [name, target] = path.split('->') as [string, string];
      symlinkSync(target, join(root, name));
    } else writeFileSync(join(root, path), path);
  }
}

async function sent(filter: FolderFilter, options: SessionOptions = {}): Promise<SentEntry[]> {
  await using session = openLocalSession({ folders: { context: root }, ...options });
  await using folder = await session.folder('context', filter, signal);
  return await Array.fromAsync(folder.entries);
}
const paths = async (filter: FolderFilter) => (await sent(filter)).map(({ path }) => path);

test('a folder is walked in the order of its bytes, as root owns it', async () => {
  tree('b/c', 'b!/d', 'a', 'l->b/c', 'empty/', 'ü');
  linkSync(join(root, 'a'), join(root, 'z'));
  chmodSync(join(root, 'a'), 0o640);
  const entries = await sent({});
  expect(entries.map(({ path }) => path)).toEqual(['a', 'b', 'b/c', 'b!', 'b!/d', 'empty', 'l', 'z', 'ü']);
  expect(entries[0]).toMatchObject({ mode: 0o100640, uid: 0, gid: 0, sizeBytes: 1 });
  expect(entries[6]).toMatchObject({ mode: 0o120777, linkname: 'b/c' });
  expect(entries[7]).toMatchObject({ linkname: 'a' });
});

test('files of two file systems are not one for the number that they have there', async () => {
  using mounts = new DisposableStack();
  for (const name of ['one', 'two']) {
    const folder = join(root, name);
    mkdirSync(folder);
    mount('tmpfs', folder, 'tmpfs', 0);
    mounts.defer(() => unmount(folder));
    writeFileSync(join(folder, 'f'), name);
    linkSync(join(folder, 'f'), join(folder, 'g'));
  }
  expect(statSync(join(root, 'one/f')).ino).toBe(statSync(join(root, 'two/f')).ino);
  const links = (await sent({})).map(({ path, linkname }) => [path, linkname]);
  expect(links.filter(([path]) => path!.includes('/'))).toEqual([
    ['one/f', undefined],
    ['one/g', 'one/f'],
    ['two/f', undefined],
    ['two/g', 'two/f'],
  ]);
});

test.each<{ filter: FolderFilter; want: string[] }>([
  { filter: { excludePatterns: ['b'] }, want: ['a', 'c', 'c/x', 'c/y', 'l'] },
  { filter: { excludePatterns: ['b', '!b/k/2'] }, want: ['a', 'b', 'b/k', 'b/k/2', 'c', 'c/x', 'c/y', 'l'] },
  { filter: { excludePatterns: ['*', '!c'] }, want: ['c', 'c/x', 'c/y'] },
  { filter: { includePatterns: ['b/k'] }, want: ['b', 'b/k', 'b/k/1', 'b/k/2'] },
  { filter: { includePatterns: ['*/x'] }, want: ['c', 'c/x'] },
  { filter: { includePatterns: ['c', 'a'], excludePatterns: ['**/y'] }, want: ['a', 'c', 'c/x'] },
  { filter: { followPaths: ['l/1'] }, want: ['b', 'b/k', 'b/k/1', 'l'] },
  { filter: { followPaths: ['missing'] }, want: [] },
  { filter: { followPaths: ['.'] }, want: ['a', 'b', 'b/k', 'b/k/1', 'b/k/2', 'c', 'c/x', 'c/y', 'l'] },
])('of a folder comes what $filter lets pass', async ({ filter, want }) => {
  tree('a', 'b/k/1', 'b/k/2', 'c/x', 'c/y', 'l->/b/k');
  expect(await paths(filter)).toEqual(want);
});

test('a link out of the folder is followed as if the folder were the root', async () => {
  tree('out->../../../../etc', 'etc/passwd', 'loop->loop');
  expect(await paths({ followPaths: ['out/passwd', 'loop'] })).toEqual(['etc', 'etc/passwd', 'loop', 'out']);
});

test('contents are read by position, never through a link', async () => {
  tree('a', 'b/c');
  await using session = openLocalSession({ folders: { context: root } });
  await using folder = await session.folder('context', {}, signal);
  await Array.fromAsync(folder.entries);
  expect(Buffer.concat(await Array.fromAsync(folder.read(2))).toString()).toBe('b/c');
  await expect(Array.fromAsync(folder.read(1))).rejects.toThrow(/no file of the folder/);
  rmSync(join(root, 'a'));
  symlinkSync('/etc/passwd', join(root, 'a'));
  await expect(Array.fromAsync(folder.read(0))).rejects.toThrow(/ELOOP/);
});

test('secrets come from files, variables and bytes', async () => {
  tree('s');
  writeFileSync(join(root, 'large'), Buffer.alloc(600_000));
  await using session = openLocalSession({
    secrets: {
      f: { file: join(root, 's') },
      v: { variable: 'PATH' },
      b: { bytes: Buffer.from('x') },
      l: { file: join(root, 'large') },
    },
  });
  expect(Buffer.from(await session.secret('f')).toString()).toBe('s');
  expect(Buffer.from(await session.secret('v')).toString()).toBe(process.env['PATH']);
  expect(Buffer.from(await session.secret('b')).toString()).toBe('x');
  await expect(session.secret('l')).rejects.toThrow(/larger than the 500 KiB/);
  await expect(session.secret('toString')).rejects.toThrow(/secret toString: not found/);
  await expect(session.requireSshAgent('default')).rejects.toThrow(/unset ssh forward key default/);
  await expect(session.folder('other', {}, signal)).rejects.toThrow(/no access allowed to dir "other"/);
});

const result = (entries: readonly Partial<SentEntry>[]): SentFolder => ({
  entries: (async function* () {
    for (const entry of entries)
      yield { path: '', mode: 0o100644, uid: 12, gid: 13, sizeBytes: 2, modifiedNs: 0n, ...entry } as SentEntry;
  })(),
  read: async function* () {
    yield Buffer.from('hi');
  },
  [Symbol.asyncDispose]: async () => {},
});

test("a result fills a folder, and becomes its owner's", async () => {
  tree('out/old', 'out/f');
  await using session = openLocalSession({ outputs: { 0: { folder: join(root, 'out') } } });
  const entries = [
    { path: 'd', mode: 0o040755, sizeBytes: 0 },
    { path: 'd/f' },
    { path: 'f', mode: 0o100755 },
    { path: 'l', mode: 0o120777, linkname: '/x', sizeBytes: 0 },
  ];
  await session.sendFolder('0', result(entries), signal);
  expect(readdirSync(join(root, 'out'), { recursive: true }).sort()).toEqual(['d', 'd/f', 'f', 'l', 'old']);
  expect(readFileSync(join(root, 'out/f'), 'utf8')).toBe('hi');
  expect(lstatSync(join(root, 'out/d/f')).uid).toBe(process.getuid!());
});

test.each([
  { what: 'a way out', entries: [{ path: '../evil' }], says: /\.\./ },
  { what: 'a lie about a size', entries: [{ path: 'a', sizeBytes: 1 }], says: /other than the 1 bytes/ },
])('a result with $what is refused', async ({ entries, says }) => {
  await using session = openLocalSession({ outputs: { 0: { folder: join(root, 'out') } } });
  await expect(session.sendFolder('0', result(entries), signal)).rejects.toThrow(says);
  expect(readdirSync(root)).toEqual(['out']);
});

test('links of a result lead nowhere outside of the folder', async () => {
  mkdirSync(join(root, 'victim'));
  await using session = openLocalSession({ outputs: { 0: { folder: join(root, 'out') } } });
  const link = { path: 'l', mode: 0o120777, linkname: join(root, 'victim'), sizeBytes: 0 };
  await session.sendFolder('0', result([link, { path: 'l/f' }]), signal).catch(() => {});
  expect(readdirSync(join(root, 'victim'))).toEqual([]);
});

test('a layout keeps what it is given, if it is what was said', async () => {
  await using session = openLocalSession({ contentStores: { s: join(root, 'layout') } });
  const store = session.contentStore('s');
  const digest = digestOf('bytes');
  const bytes = async function* (text: string) {
    yield Buffer.from(text);
  };
  await expect(store.write('r', { digest, sizeBytes: 5 }, bytes('other'))).rejects.toThrow(/damaged or not/);
  await expect(store.info(digest)).rejects.toThrow(/not found/);
  await store.write('r', { digest, sizeBytes: 5 }, bytes('bytes'));
  expect(await store.info(digest)).toMatchObject({ sizeBytes: 5 });
  expect(Buffer.concat(await Array.fromAsync(store.read(digest, 2))).toString()).toBe('tes');
  expect(() => session.contentStore('t')).toThrow(/unknown store ID/);
});
