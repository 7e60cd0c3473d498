import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { DiffID } from './digest.ts';
import { openLayerStore } from './disk-layer-store.ts';
import type { LayerStore } from './layer-store.ts';
import { file, folder, link, scratch, type TestEntry, tar, whiteout } from './scratch.fixture.ts';

interface Bench extends AsyncDisposable {
  path: string;
  store: LayerStore & AsyncDisposable;
  /** The blob of the layer made last. */
  blob: string;
  layer(...entries: TestEntry[]): Promise<DiffID>;
}

async function bench(driver: 'overlay' | 'vfs'): Promise<Bench> {
  const dir = scratch();
  const skeleton = { folders: ['proc'], files: ['hosts'] };
  const directory = join(dir.path, 'layers');
  const store = await openLayerStore({
    ...{ directory, snapshotDirectory: join(dir.path, 'snapshots'), driver, skeleton },
  });
  let count = 0;
  const opened: Bench = {
    path: dir.path,
    store,
    blob: '',
    async layer(...entries) {
      count += 1;
      opened.blob = join(dir.path, `layer-${count}.tar`);
      writeFileSync(opened.blob, tar(...entries));
      return (await store.apply({ path: opened.blob, compression: 'none' })).diffID;
    },
    async [Symbol.asyncDispose]() {
      for (const key of await store.snapshots()) await store.remove(key);
      await store[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
  return opened;
}

test.each(['overlay', 'vfs'] as const)('%s: a view is the layers alone, for looking only', async (driver) => {
  await using b = await bench(driver);
  const base = await b.layer(folder('etc'), file('etc/kept', 'base'), file('gone', 'x'));
  const top = await b.layer(whiteout('.wh.gone'), file('new', 'top', { mode: 0o4755 }));
  const path = await b.store.view('image-1', [base, top]);
  expect(readFileSync(join(path, 'etc/kept'), 'utf8')).toBe('base');
  expect(existsSync(join(path, 'gone'))).toBe(false);
  // Places for a container's mounts are no part of it.
  expect(existsSync(join(path, 'proc'))).toBe(false);
  expect(() => writeFileSync(join(path, 'new'), 'x')).toThrow(/EROFS|Read-only/);
  expect(() => rmSync(join(path, 'etc'), { recursive: true })).toThrow(/EROFS|Read-only/);
  expect(await b.store.view('image-1', [base, top])).toBe(path);
  await expect(b.store.view('image-1', [base])).rejects.toMatchObject({ kind: 'Conflict' });
  await expect(b.store.removeLayer(top)).rejects.toMatchObject({ kind: 'Conflict' });
  await b.store.remove('image-1');
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  await b.store.removeLayer(top);
});

test.each(['overlay', 'vfs'] as const)('%s: two trees, each layers or a snapshot', async (driver) => {
  await using b = await bench(driver);
  const base = await b.layer(folder('etc'), file('etc/kept', 'base'), file('etc/gone', 'x'), link('to', 'etc'));
  const top = await b.layer(whiteout('etc/.wh.gone'), file('new', 'top'), link('to', 'elsewhere'));
  const told = async (...[before, after]: Parameters<LayerStore['compare']>) =>
    (await Array.fromAsync(b.store.compare(before, after))).map(({ kind, path }) => `${kind[0]} ${path}`);
  const [one, two] = [{ layers: [base] }, { layers: [base, top] }];
  expect(await told(one, two)).toEqual(['m /etc', 'd /etc/gone', 'a /new', 'm /to']);
  expect(await told(two, one)).toEqual(['m /etc', 'a /etc/gone', 'd /new', 'm /to']);
  await b.store.prepare('box', [base]);
  const snapshot = { snapshot: 'box' };
  expect(await told(one, snapshot)).toEqual([]);
  const root = b.store.mount('box');
  writeFileSync(join(root, 'etc/kept'), 'BASE');
  writeFileSync(join(root, 'own'), '');
  expect(await told(one, snapshot)).toEqual(['m /etc', 'm /etc/kept', 'a /own']);
  expect(await told(snapshot, two)).toEqual(['m /etc', 'd /etc/gone', 'm /etc/kept', 'a /new', 'd /own', 'm /to']);
  await expect(told(one, { snapshot: 'absent' })).rejects.toMatchObject({ kind: 'NotFound' });
});

test.each(['overlay', 'vfs'] as const)(
  '%s: a diff has the root folder when it changed, and no false whiteouts',
  async (driver) => {
    await using b = await bench(driver);
    const base = await b.layer(folder('etc'));
    await b.store.prepare('box', [base]);
    const bytes = async () => Buffer.concat(await Array.fromAsync(b.store.diff('box')));
    expect(await bytes()).toEqual(Buffer.alloc(1024));
    const root = b.store.mount('box');
    chmodSync(root, 0o700);
    const changed = await bytes();
    expect(changed.toString('latin1', 0, 2)).toBe('./');
    expect(await bytes()).toEqual(changed);
    writeFileSync(join(root, 'etc/.wh.passwd'), '');
    await expect(bytes()).rejects.toThrow(/\/etc\/\.wh\.passwd cannot go into a layer/);
  },
);

test('a layer is compared with its blob, and unpacked again', async () => {
  await using b = await bench('overlay');
  const diffID = await b.layer(folder('etc'), file('etc/kept', 'base'));
  const input = { path: b.blob, compression: 'none' } as const;
  const kept = join(b.path, 'layers', diffID.slice(7), 'diff/etc/kept');
  expect(await b.store.check(diffID)).toBeUndefined();
  expect(await b.store.check(diffID, input)).toBeUndefined();
  writeFileSync(kept, 'BASE');
  expect(await b.store.check(diffID)).toBeUndefined();
  expect(await b.store.check(diffID, input)).toBe('/etc/kept is not as its blob has it');
  await b.store.replace(diffID, input);
  expect(readFileSync(kept, 'utf8')).toBe('base');
  expect(await b.store.check(diffID, input)).toBeUndefined();
  // A blob that unpacks to something else neither passes for the layer nor takes its place.
  writeFileSync(b.blob, tar(file('other', '')));
  await expect(b.store.check(diffID, input)).rejects.toThrow(/expected sha256/);
  await expect(b.store.replace(diffID, input)).rejects.toThrow(/expected sha256/);
  expect(readFileSync(kept, 'utf8')).toBe('base');
});
