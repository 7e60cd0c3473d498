import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type LocalLayer, openLayerStore } from '../../storage/index.ts';
import { killedAfter } from '../../storage/killed.fixture.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { BuildCache } from '../cache/index.ts';
import type { SentEntry } from '../session.ts';
import { localSource } from './local.ts';
import {
  contextOf,
  entryOf,
  folderOf,
  linkOf,
  openSourceParts,
  ScriptedSession,
  type SourceParts,
} from './sources.fixture.ts';

let parts: SourceParts;
beforeEach(async () => {
  const opened = await openSourceParts();
  parts = opened;
  return () => opened[Symbol.asyncDispose]();
});

let sessions = 0;

/** One build: sends the folder, and says what was asked for and where it lies. */
async function send(
  entries: readonly SentEntry[],
  options: {
    keepsOpen?: boolean;
    attributes?: Record<string, string>;
    owner?: string;
    kind?: string;
    to?: BuilderParts;
    read?: (path: string) => Iterable<Uint8Array>;
  } = {},
) {
  sessions += 1;
  const client = new ScriptedSession(`session ${sessions}`, () => entries, options.read);
  client.kind = options.kind;
  client.owner = options.owner;
  const operation = localSource(options.to ?? parts, 'context', options.attributes ?? {});
  const context = contextOf([client.session]);
  const [tree] = await operation.run([], context);
  const layer = tree!.layers[0] as LocalLayer;
  if (options.keepsOpen !== true) client.end();
  else onTestFinished(() => client.end());
  return { layer, asked: client.asked, folder: parts.layers.folder(layer), client, operation, context };
}

test('a folder arrives as it was sent, and a second time nothing is asked for', async () => {
  const entries = [
    entryOf('a', { mode: 0o104755 }),
    folderOf('b', { modifiedNs: 1_500_000_000_000_000_000n }),
    entryOf('b/c', { xattrs: { 'user.x': Buffer.from('y') } }),
    entryOf('b/d', { linkname: 'b/c' }),
    linkOf('b/e', '../a'),
    folderOf('b!'),
    entryOf('b!/ü'),
    entryOf('empty', { sizeBytes: 0 }),
    entryOf('pipe', { mode: 0o010600, sizeBytes: 0 }),
    entryOf('socket', { mode: 0o140600, sizeBytes: 0 }),
  ];
  const first = await send(entries);
  expect(first.asked).toEqual(['a', 'b/c', 'b!/ü']);
  const at = (path: string) => join(first.folder, path);
  expect(readdirSync(first.folder).sort()).toEqual(['a', 'b', 'b!', 'empty', 'pipe']);
  expect(readFileSync(at('b!/ü'), 'utf8')).toBe('b!/ü');
  expect(lstatSync(at('a')).mode).toBe(0o104755);
  expect(lstatSync(at('b')).mtimeMs).toBe(1_500_000_000_000);
  expect(lstatSync(at('b/c')).mtimeMs).toBe(1_600_000_000_000);
  expect(lstatSync(at('b/d')).ino).toBe(lstatSync(at('b/c')).ino);
  expect(readlinkSync(at('b/e'))).toBe('../a');
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
  expect(first.context.statuses.get('transferring context:')).toEqual({ current: 9, isDone: true });

  const second = await send(entries);
  expect(second.asked).toEqual([]);
  expect(second.layer).toBe(first.layer);
});

test('what one caller has sent is nothing that another one has', async () => {
  const [one, other] = [{ owner: 'uid 1000' }, { owner: 'uid 1001' }];
  const first = await send([entryOf('a')], one);
  const second = await send([entryOf('a')], other);
  expect(second.asked).toEqual(['a']);
  expect(second.layer).not.toBe(first.layer);
  expect((await send([entryOf('a')], one)).asked).toEqual([]);
});

test('an entry that was sent as these bytes before is not looked into', async () => {
  const entries = ['a', 'd', 'd/1', 'd/2', 'd/3', 'e', 'f'].map((path) =>
    path === 'd' ? folderOf(path) : entryOf(path, path === 'd/3' ? { linkname: 'd/1' } : {}),
  );
  const first = await send(entries, { kind: 'one' });
  expect(first.client.unpacked).toEqual(entries.map(({ path }) => path));
  const second = await send(entries, { kind: 'one' });
  expect([second.client.unpacked, second.layer]).toEqual([[], first.layer]);
  // Bytes of another kind mean something else.
  const other = await send(entries, { kind: 'another' });
  expect([other.client.unpacked.length, other.layer]).toEqual([entries.length, first.layer]);
  await send(entries, { kind: 'one' });

  const changed = entries
    .with(2, entryOf('d/1', { modifiedNs: 1_000_000_000n }))
    .with(5, entryOf('e', { mode: 0o100600 }));
  const third = await send(changed, { kind: 'one' });
  // The link leads to another file now.
  expect(third.client.unpacked).toEqual(['d/1', 'd/3', 'e']);
  expect(third.asked).toEqual(['d/1', 'e']);
  const at = (path: string) => lstatSync(join(third.folder, path));
  expect([at('d/1').mtimeMs, at('d/3').ino]).toEqual([1000, at('d/1').ino]);
  expect(at('d').mtimeMs).toBe(1_600_000_000_000);
  expect((await send(changed, { kind: 'one' })).client.unpacked).toEqual([]);

  // A folder's time alone changes no file.
  const touched = changed.with(1, folderOf('d', { modifiedNs: 5_000_000_000n }));
  const fourth = await send(touched, { kind: 'one' });
  expect([fourth.client.unpacked, fourth.layer]).toEqual([['d'], third.layer]);
  expect((await send(touched, { kind: 'one' })).client.unpacked).toEqual([]);
  const fifth = await send(touched.slice(0, -1).toSpliced(3, 1), { kind: 'one' });
  // Behind what is gone.
  expect(fifth.client.unpacked).toEqual(['d/3']);
  expect(readdirSync(fifth.folder, { recursive: true }).sort()).toEqual(['a', 'd', 'd/1', 'd/3', 'e']);
  expect(lstatSync(join(fifth.folder, 'd')).mtimeMs).toBe(5000);
});

test('whatever comes, goes and changes, the folder is what was sent last', async () => {
  // A sequence of numbers that is always the same.
  let state = 7;
  const below = (limit: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * limit);
  };
  const paths = ['a', 'b', 'b/1', 'b/2', 'b/c', 'b/c/1', 'b/c/2', 'b!', 'b-', 'd', 'd/1', 'd/2', 'e', 'f'];
  const folders = new Set(['b', 'b/c', 'd']);
  const now = new Map(paths.map((path) => [path, 1n]));
  for (let round = 0; round < 24; round += 1) {
    for (let changes = below(4); changes > 0; changes -= 1) {
      const path = paths[below(paths.length)]!;
      if (now.get(path) !== undefined && below(2) === 0) {
        for (const one of paths) if (one === path || one.startsWith(`${path}/`)) now.delete(one);
      } else now.set(path, BigInt(1 + below(3)));
      // A folder may have become a file.
      if (now.has(path) && folders.has(path) && below(4) === 0)
        for (const one of paths) if (one.startsWith(`${path}/`)) now.delete(one);
    }
    for (const path of paths)
      if (path.includes('/') && !now.has(path.slice(0, path.lastIndexOf('/')))) now.delete(path);
    const isFolder = (path: string) => folders.has(path) && [...now.keys()].some((one) => one.startsWith(`${path}/`));
    const entries = paths
      .filter((path) => now.has(path))
      .map((path) => (isFolder(path) ? folderOf : entryOf)(path, { modifiedNs: now.get(path)! * 1_000_000_000n }));
    const { folder } = await send(entries, { kind: 'one' });
    const found = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(found.sort()).toEqual(entries.map(({ path }) => path).sort());
    for (const { path, mode, modifiedNs } of entries) {
      const status = lstatSync(join(folder, path));
      expect([path, status.mode]).toEqual([path, mode]);
      if (status.isFile()) {
        expect([path, status.mtimeMs]).toEqual([path, Number(modifiedNs / 1_000_000n)]);
        expect(readFileSync(join(folder, path), 'utf8')).toBe(path);
      }
    }
  }
});

test('only what changed is asked for, and what is gone goes', async () => {
  const before = [
    folderOf('d'),
    entryOf('d/1'),
    entryOf('d/2'),
    folderOf('e'),
    entryOf('e/1'),
    entryOf('f'),
    linkOf('g', 'f'),
  ];
  await send(before);
  const { asked, folder } = await send([
    folderOf('d', { mode: 0o040700 }),
    entryOf('d/1'),
    entryOf('d/2', { modifiedNs: 1n }),
    entryOf('d/3'),
    entryOf('e'),
    folderOf('f'),
    linkOf('f/x', 'y'),
    linkOf('g', 'h'),
  ]);
  expect(asked).toEqual(['d/2', 'd/3', 'e']);
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual(['d', 'd/1', 'd/2', 'd/3', 'e', 'f', 'f/x', 'g']);
  expect(lstatSync(join(folder, 'd')).mode).toBe(0o040700);
  expect(lstatSync(join(folder, 'd')).mtimeMs).toBe(1_600_000_000_000);
  expect(readlinkSync(join(folder, 'g'))).toBe('h');
});

test('a hard link follows its file when that is sent anew', async () => {
  await send([entryOf('a'), entryOf('b', { linkname: 'a' })]);
  const { folder } = await send([entryOf('a', { modifiedNs: 5n }), entryOf('b', { linkname: 'a' })]);
  expect(lstatSync(join(folder, 'b')).ino).toBe(lstatSync(join(folder, 'a')).ino);
});

test('without comparing, all is asked for again', async () => {
  await send([entryOf('a')]);
  expect((await send([entryOf('a')], { attributes: { 'local.differ': 'none' } })).asked).toEqual(['a']);
});

test('what is fetched again and is what it was changes nothing', async () => {
  const attributes = { 'local.differ': 'none' };
  const sent = async (text: string, modifiedNs = 5n) => {
    const change = { sizeBytes: 3, modifiedNs };
    const entries = [entryOf('Dockerfile', change), entryOf('Dockerfile.dockerignore', change)];
    return await send(entries, { attributes, read: (path) => [Buffer.from(path === 'Dockerfile' ? text : 'tmp')] });
  };
  const first = await sent('one');
  const second = await sent('one');
  expect(second.asked).toEqual(['Dockerfile', 'Dockerfile.dockerignore']);
  expect(second.layer).toBe(first.layer);
  // Another content of the same size and time.
  const third = await sent('two');
  expect(third.asked).toEqual(['Dockerfile', 'Dockerfile.dockerignore']);
  expect(third.layer).not.toBe(first.layer);
  expect(readFileSync(join(third.folder, 'Dockerfile'), 'utf8')).toBe('two');
  expect(readFileSync(join(third.folder, 'Dockerfile.dockerignore'), 'utf8')).toBe('tmp');
  expect(readFileSync(join((await sent('two', 6n)).folder, 'Dockerfile'), 'utf8')).toBe('two');
});

test('without comparing, a folder on this machine is asked for what the kernel says has changed', async () => {
  const attributes = { 'local.differ': 'none' };
  const asked = async (kind: string, uid: number) =>
    (await send([entryOf('a', { uid }), entryOf('b')], { attributes, kind })).asked;
  expect(await asked('status', 0)).toEqual(['a', 'b']);
  expect(await asked('status', 0)).toEqual([]);
  expect(await asked('status', 1)).toEqual(['a']);
  // By a client's word alone nothing is passed over.
  for (let round = 0; round < 2; round += 1) expect(await asked('of a client', 1)).toEqual(['a', 'b']);
});

test('a second build at the same time gets a folder of its own, and one session the same', async () => {
  const first = await send([entryOf('a')], { keepsOpen: true });
  const second = await send([entryOf('a'), entryOf('b')], { keepsOpen: true });
  expect(second.layer).not.toBe(first.layer);
  expect(readdirSync(first.folder)).toEqual(['a']);
  const [again] = await first.operation.run([], first.context);
  expect(again!.layers).toEqual([first.layer]);
  expect(first.client.filters).toHaveLength(1);
  first.client.end();
  second.client.end();
  // Both are kept, and found again.
  expect((await send([entryOf('a')])).asked).toEqual([]);
});

test.each([
  { what: 'a way out', entries: [entryOf('../x')], says: /"\.\.\/x": want a clean path/ },
  { what: 'an absolute path', entries: [entryOf('/x')], says: /want a clean path/ },
  { what: 'a dot', entries: [folderOf('a'), entryOf('a/./x')], says: /want a clean path/ },
  { what: 'the wrong order', entries: [entryOf('b'), entryOf('a')], says: /"a": it comes after "b"/ },
  { what: 'a name twice', entries: [entryOf('a'), entryOf('a')], says: /it comes after/ },
  { what: 'no folder', entries: [entryOf('a/b')], says: /its folder was not sent before it/ },
  { what: 'a file as parent', entries: [entryOf('a'), entryOf('a/b')], says: /its folder was not sent/ },
  { what: 'a link as parent', entries: [linkOf('a', '/etc'), entryOf('a/b')], says: /its folder was not sent/ },
  {
    what: 'a hard link ahead',
    entries: [entryOf('a', { linkname: 'b' })],
    says: /a hard link to "b", which comes after/,
  },
  { what: 'a hard link out', entries: [entryOf('a', { linkname: '../b' })], says: /want a clean path/ },
  {
    what: 'a hard link to a link',
    entries: [linkOf('a', '/etc/passwd'), entryOf('b', { linkname: 'a' })],
    says: /a hard link to what is no file/,
  },
  { what: 'a hard link to nothing', entries: [entryOf('b', { linkname: 'a' })], says: /not where it was said to be/ },
  { what: 'a whiteout', entries: [entryOf('a', { mode: 0o020600 })], says: /overlayfs' mark of a removed file/ },
  {
    what: 'a whiteout by numbers that are cut off',
    entries: [entryOf('a', { mode: 0o020600, deviceMajor: 2 ** 32 })],
    says: /"a": there is no device 4294967296:0/,
  },
  { what: 'no type', entries: [entryOf('a', { mode: 0o644 })], says: /of no known type/ },
  { what: 'a negative size', entries: [entryOf('a', { sizeBytes: -1 })], says: /its size -1 is none/ },
  { what: 'a NUL', entries: [entryOf('a\0b')], says: /without NUL/ },
  { what: 'half a character', entries: [entryOf('a\ud800')], says: /want 1 to/ },
  { what: 'a long name', entries: [entryOf('a'.repeat(256))], says: /longer than the file system takes/ },
  { what: 'an unknown owner', entries: [entryOf('a', { uid: -1 })], says: /its owner -1/ },
])('$what is refused', async ({ entries, says }) => {
  await expect(send(entries)).rejects.toThrow(says);
  // The next build begins anew.
  expect((await send([entryOf('ok')])).asked).toEqual(['ok']);
});

test('content beyond the size that was said is cut, and less is taken as it is', async () => {
  const client = new ScriptedSession(
    's',
    () => [entryOf('long', { sizeBytes: 3 }), entryOf('short', { sizeBytes: 200_000 })],
    function* () {
      yield Buffer.from('12345');
    },
  );
  const [tree] = await localSource(parts, 'context', {}).run([], contextOf([client.session]));
  const folder = parts.layers.folder(tree!.layers[0]!);
  expect(readFileSync(join(folder, 'long'), 'utf8')).toBe('123');
  expect(readFileSync(join(folder, 'short'), 'utf8')).toBe('12345');
  client.end();
});

test('a canceled sending leaves nothing, and the next one is right', async () => {
  const stop = new AbortController();
  const client = new ScriptedSession('s', async function* () {
    yield entryOf('a');
    stop.abort(new Error('enough'));
    yield entryOf('b');
  });
  await expect(localSource(parts, 'context', {}).run([], contextOf([client.session], stop.signal))).rejects.toThrow(
    'enough',
  );
  client.end();
  expect(await parts.layers.snapshots()).toEqual([]);
  expect((await send([entryOf('a')])).asked).toEqual(['a']);
});

test('a folder that two builds of a session wait for is sent on when one of them is canceled', async () => {
  const [asked, gate, stop] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), new AbortController()];
  const client = new ScriptedSession('s', async function* () {
    yield entryOf('a');
    asked.resolve();
    await gate.promise;
    yield entryOf('b');
  });
  const operation = localSource(parts, 'context', {});
  const first = operation.run([], contextOf([client.session], stop.signal));
  await asked.promise;
  const context = contextOf([client.session]);
  const second = operation.run([], context);
  await expect.poll(() => context.statuses.size).toBe(1);
  stop.abort(new Error('enough'));
  await expect(first).rejects.toThrow('enough');
  gate.resolve();
  const [tree] = await second;
  expect(readdirSync(parts.layers.folder(tree!.layers[0] as LocalLayer)).sort()).toEqual(['a', 'b']);
  expect([client.filters.length, client.asked]).toEqual([1, ['a', 'b']]);
  expect(context.statuses.get('transferring context:')).toMatchObject({ isDone: true });
  client.end();
});

test('killed anywhere while a folder is changed, the next build has what it sends', async () => {
  const states = [
    [entryOf('a'), folderOf('d'), entryOf('d/1')],
    [entryOf('a', { modifiedNs: 1n }), entryOf('d')],
    [entryOf('a', { modifiedNs: 1n }), entryOf('b')],
  ];
  const cache = new BuildCache({ ...parts, imageLayers: () => new Set(), collect: async () => {} });
  const [directory, snapshotDirectory] = [join(parts.root, 'layers'), join(parts.root, 'snapshots')];
  for (let changes = 0, isDone = false; !isDone; changes += 1) {
    const [killed, next] = [0, 1].map((after) => states[(2 * changes + after) % states.length]!);
    {
      await using layers = await openLayerStore({ directory, snapshotDirectory });
      using kill = killedAfter(changes);
      await send(killed!, { to: { ...parts, layers } }).catch(() => {});
      isDone = !kill.isDead;
    }
    await cache.reconcile();
    await parts.layers.reconcile(() => false);
    const after = `after ${changes} changes`;
    expect(await parts.layers.snapshots(), after).toEqual([]);
    const { folder } = await send(next!);
    expect(readdirSync(folder, { recursive: true }).sort(), after).toEqual(next!.map(({ path }) => path));
    expect(readdirSync(join(parts.directory, 'sources')), after).toHaveLength(1);
  }
});

test('what another process left in the middle is not trusted', async () => {
  const { layer, folder } = await send([entryOf('a')]);
  await parts.layers.thaw(layer, 'elsewhere');
  writeFileSync(join(parts.layers.files('elsewhere'), 'planted'), '');
  const next = await send([entryOf('a')]);
  expect(next.asked).toEqual(['a']);
  expect(next.folder).not.toBe(folder);
  expect(readdirSync(next.folder)).toEqual(['a']);
});

test('an empty folder is a tree', async () => {
  const { folder, asked } = await send([]);
  expect(readdirSync(folder)).toEqual([]);
  expect(asked).toEqual([]);
});
