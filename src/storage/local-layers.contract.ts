import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  type DiffID,
  type Digest,
  DigestMismatch,
  digestOf,
  type LayerName,
  type LocalLayer,
  newLocalLayer,
} from './digest.ts';
import { openContentStore } from './disk-content-store.ts';
import { openLayerStore } from './disk-layer-store.ts';
import { killedAfter } from './killed.fixture.ts';
import type { LayerStore } from './layer-store.ts';
import { collect, file, folder, scratch, type TestEntry, tar } from './scratch.fixture.ts';
import { listTree } from './tree-listing.fixture.ts';

interface Bench extends AsyncDisposable {
  path: string;
  store: LayerStore & AsyncDisposable;
  content: Awaited<ReturnType<typeof openContentStore>>;
  layer(...entries: TestEntry[]): Promise<DiffID>;
  /** A local layer of what a function does to a tree. */
  change(parents: readonly LayerName[], work: (root: string) => void): Promise<LocalLayer>;
  reopen(): Promise<LayerStore & AsyncDisposable>;
}

/** What every driver has to do with layers that are made here. */
export function localLayersContract(driver: 'overlay' | 'vfs'): void {
  async function bench(): Promise<Bench> {
    const dir = scratch();
    const open = () =>
      openLayerStore({ directory: join(dir.path, 'layers'), snapshotDirectory: join(dir.path, 'snapshots'), driver });
    const store = await open();
    const content = await openContentStore(join(dir.path, 'content'), store.tars);
    let count = 0;
    return {
      path: dir.path,
      store,
      content,
      reopen: open,
      async layer(...entries) {
        count += 1;
        const path = join(dir.path, `layer-${count}.tar`);
        writeFileSync(path, tar(...entries));
        return (await store.apply({ path, compression: 'none' })).diffID;
      },
      async change(parents, work) {
        count += 1;
        const key = `change-${count}`;
        await store.prepare(key, parents, { isTransient: true, isBare: true });
        work(store.mount(key, { volatile: true }));
        store.unmount(key);
        return await store.freeze(key);
      },
      async [Symbol.asyncDispose]() {
        for (const key of await store.snapshots()) await store.remove(key);
        await store[Symbol.asyncDispose]();
        content[Symbol.dispose]();
        dir[Symbol.dispose]();
      },
    };
  }
  const shown = async (b: Bench, names: readonly LayerName[]) => {
    const target = join(b.path, 'shown');
    mkdirSync(target, { recursive: true });
    await using _tree = await b.store.mountTree(names, target);
    const tree = listTree(target);
    // The root folder's time is nobody's.
    tree.get('')!.modifyNs = 0n;
    return tree;
  };

  test(`${driver}: a frozen snapshot is a layer like others, of what it changed`, async () => {
    await using b = await bench();
    const base = await b.layer(folder('d', { mode: 0o711 }), file('d/a', 'a'), file('d/gone', 'x'), folder('new'));
    const first = await b.change([base], (root) => {
      writeFileSync(join(root, 'd/b'), 'b');
      rmSync(join(root, 'd/gone'));
      rmSync(join(root, 'new'), { recursive: true });
      mkdirSync(join(root, 'new'));
      execFileSync('ln', [join(root, 'd/b'), join(root, 'd/hard')]);
      chmodSync(root, 0o700);
    });
    expect(await b.store.snapshots()).toEqual([]);
    expect(await b.store.has(first)).toBe(true);
    expect(b.store.diffIDOf(first)).toBeUndefined();
    expect(await b.store.sizeOf(first)).toBe(1);
    expect(b.store.arrivals).toBe(2);
    const second = await b.change([base, first], (root) => {
      rmSync(join(root, 'd/b'));
      writeFileSync(join(root, 'd/b'), 'other');
    });
    const tree = await shown(b, [base, first, second]);
    expect([...tree.keys()]).toEqual(['', 'd', 'd/a', 'd/b', 'd/hard', 'new']);
    expect(tree.get('')).toMatchObject({ mode: 0o700 });
    expect(tree.get('d')).toMatchObject({ mode: 0o711 });
    expect(tree.get('d/hard')?.content).toBe(digestOf('b').slice(7));
    await b.store.prepare('c', [base, first, second]);
    expect(readFileSync(join(b.store.mount('c'), 'd/b'), 'utf8')).toBe('other');
    await expect(b.store.removeLayer(first)).rejects.toMatchObject({ kind: 'Conflict' });
  });

  test(`${driver}: a sealed layer has two names, one folder, and a blob that unpacks to the same`, async () => {
    await using b = await bench();
    const base = await b.layer(folder('d'), file('d/a', 'a'), file('d/gone', 'x'), folder('opaque'), file('opaque/x'));
    const local = await b.change([base], (root) => {
      writeFileSync(join(root, 'd/b'), '1234567'.repeat(1_300_000).slice(0, 9_000_007));
      rmSync(join(root, 'd/gone'));
      rmSync(join(root, 'opaque'), { recursive: true });
      mkdirSync(join(root, 'opaque'));
      writeFileSync(join(root, 'opaque/y'), 'y');
      execFileSync('ln', [join(root, 'd/b'), join(root, 'd/hard')]);
      execFileSync('ln', ['-s', 'b', join(root, 'd/link')]);
      execFileSync('mknod', [join(root, 'dev'), 'c', '1', '3']);
      execFileSync('mkfifo', [join(root, 'pipe')]);
      execFileSync('setfattr', ['-n', 'user.k', '-v', 'v', join(root, 'd/a')]);
    });
    const before = await shown(b, [base, local]);
    const { arrivals } = b.store;
    const { diffID, sizeBytes } = await b.store.seal(local, b.content);
    await b.store.seal(local, b.content);
    expect(b.store.arrivals - arrivals).toBe(1);
    const blob = await collect(b.content.open(diffID as never));
    expect(digestOf(blob)).toBe(diffID);
    expect(blob.length).toBe(sizeBytes);
    expect(await b.store.seal(local, b.content)).toEqual({ diffID, sizeBytes });
    expect(b.store.diffIDOf(local)).toBe(diffID);
    expect(b.store.missing([local, diffID])).toEqual([]);
    expect(await b.store.layers()).toContainEqual({ diffID, sizeBytes: 9_000_008 + 1 });
    expect(lstatSync(join(b.store.folder(local), 'd/b')).ino).toBe(lstatSync(join(b.store.folder(diffID), 'd/b')).ino);
    expect(await shown(b, [base, diffID])).toEqual(before);
    expect(await shown(b, [base, local, diffID])).toEqual(before);

    // Either name may go first.
    await b.store.removeLayer(local);
    expect(b.store.missing([local, diffID])).toEqual([local]);
    expect(await shown(b, [base, diffID])).toEqual(before);
    await b.store.removeLayer(diffID);
    expect(await b.store.layers()).toHaveLength(1);
    // As another machine would.
    const path = await b.content.path(diffID as never);
    expect((await b.store.apply({ path, compression: 'none' }, diffID)).diffID).toBe(diffID);
    const after = await shown(b, [base, diffID]);
    const inSeconds = (tree: typeof before) =>
      [...tree].map(([name, node]) => [
        name,
        { ...node, modifyNs: node.type === 0o040000 ? 0n : node.modifyNs / 1_000_000_000n },
      ]);
    expect(inSeconds(after)).toEqual(inSeconds(before));
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' })).toContain('d/.wh.gone');
  });

  test(`${driver}: a layer that several processes seal at once has one diffID`, async () => {
    await using b = await bench();
    await using other = await b.reopen();
    for (let round = 0; round < 10; round += 1) {
      const local = await b.change([], (root) => writeFileSync(join(root, 'x'), `${round}`));
      const stores = [b.store, other, b.store, other];
      const sealed = await Promise.all(stores.map((store) => store.seal(local, b.content)));
      expect(sealed).toEqual(Array(stores.length).fill(sealed[0]));
      expect(b.store.missing([local, sealed[0]!.diffID])).toEqual([]);
    }
  });

  test(`${driver}: a local layer that power cut off is gone, unless its blob tells what it was`, async () => {
    await using b = await bench();
    const [lost, sealed] = [
      await b.change([], (root) => writeFileSync(join(root, 'x'), 'lost')),
      await b.change([], (root) => writeFileSync(join(root, 'x'), 'sealed')),
    ];
    const { diffID } = await b.store.seal(sealed, b.content);
    await b.content.path(diffID as never);
    // Nothing of it happens by itself any more.
    await b.store.settle();
    for (const name of [lost, sealed]) {
      rmSync(join(b.path, 'layers', name.replace(':', '-'), 'synced'), { force: true });
      const path = join(b.path, 'layers', name.replace(':', '-'), 'layer.json');
      // As after another boot, before the files reached the disk, when nobody lives who made them.
      const record = { ...JSON.parse(readFileSync(path, 'utf8')), bootId: 'an earlier one', maker: 'f'.repeat(24) };
      writeFileSync(path, JSON.stringify(record));
    }
    await using after = await b.reopen();
    expect(after.missing([lost, sealed, diffID])).toEqual([lost, sealed, diffID]);
    await expect(after.prepare('c', [lost])).rejects.toThrow(/is gone: what needs it has to be built again/);
    expect(after.diffIDOf(sealed)).toBe(diffID);
    await after.reconcile(
      () => false,
      () => true,
    );
    expect(await after.localLayers()).toEqual([sealed]);
    await after.apply({ path: await b.content.path(diffID as never), compression: 'none' }, diffID);
    expect(after.missing([sealed, diffID])).toEqual([]);
    await after.prepare('c', [sealed]);
    expect(readFileSync(join(after.mount('c'), 'x'), 'utf8')).toBe('sealed');
  });

  test(`${driver}: the tar of a sealed layer is written when it is read, and only if it is the same`, async () => {
    await using b = await bench();
    const blobs = join(b.path, 'content/blobs/sha256');
    const made = await b.change([], (root) => writeFileSync(join(root, 'x'), 'as it was'));
    const { diffID, sizeBytes } = await b.store.seal(made, b.content);
    const digest = diffID as string as Digest;
    expect(readdirSync(blobs)).toEqual([]);
    expect(await b.content.has(digest)).toBe(true);
    expect(await b.content.info(digest)).toMatchObject({ digest, sizeBytes });
    const place = join(b.store.folder(made), 'x');
    const { mtime, atime } = lstatSync(place);
    writeFileSync(place, 'damaged!!');
    utimesSync(place, atime, mtime);
    await expect(b.content.path(digest)).rejects.toThrow(DigestMismatch);
    expect(readdirSync(blobs)).toEqual([]);
    writeFileSync(place, 'as it was');
    utimesSync(place, atime, mtime);
    const read = await Promise.all([collect(b.content.open(digest)), collect(b.content.open(digest, 512))]);
    expect(digestOf(read[0]!)).toBe(digest);
    expect(Buffer.from(read[1]!)).toEqual(Buffer.from(read[0]!).subarray(512));
    expect(readdirSync(blobs)).toEqual([digest.slice('sha256:'.length)]);
    await b.content.delete(digest);
    await b.store.removeLayer(made);
    expect(await b.content.has(digest)).toBe(true);
    await b.store.removeLayer(diffID);
    expect(await b.content.has(digest)).toBe(false);
    await expect(b.content.path(digest)).rejects.toThrow(/no blob/);
  });

  test(`${driver}: a layer whose diffID was unpacked before has its tar stored`, async () => {
    await using b = await bench();
    const write = (root: string) => {
      writeFileSync(join(root, 'x'), 'the same');
      utimesSync(join(root, 'x'), 1_700_000_000, 1_700_000_000);
    };
    const [one, other] = [await b.change([], write), await b.change([], write)];
    const { diffID } = await b.store.seal(one, b.content);
    const path = await b.content.path(diffID as never);
    for (const name of [one, diffID]) await b.store.removeLayer(name);
    await b.store.apply({ path, compression: 'none' }, diffID);
    await b.content.delete(diffID as never);
    expect(await b.content.has(diffID as never)).toBe(false);
    expect((await b.store.seal(other, b.content)).diffID).toBe(diffID);
    expect(digestOf(await collect(b.content.open(diffID as never)))).toBe(diffID);
  });

  test(`${driver}: the tar of a layer is for ever the same`, async () => {
    await using b = await bench();
    const made = await b.change([], (root) => {
      mkdirSync(join(root, 'd'));
      writeFileSync(join(root, 'd/f'), 'f'.repeat(700));
      execFileSync('ln', [join(root, 'd/f'), join(root, 'd/hard')]);
      execFileSync('setfattr', ['-n', 'user.k', '-v', 'v', join(root, 'd/f')]);
      chmodSync(join(root, 'd/f'), 0o4755);
      for (const name of ['d/f', 'd']) utimesSync(join(root, name), 1_700_000_000, 1_700_000_000);
    });
    // Tars of images that were built by earlier releases are made again by this one.
    expect(await b.store.seal(made, b.content)).toEqual({
      diffID: 'sha256:beb2138519efd03d484100e578bbba60f00fc0d130d51ea64cf1bef6a5dec760',
      sizeBytes: 4608,
    });
  });

  test(`${driver}: reconciling removes local layers that nobody keeps, once their maker is gone`, async () => {
    await using b = await bench();
    await using other = await b.reopen();
    const path = (name: string) => join(b.path, name);
    await other.prepare('work', [], { isTransient: true });
    await other.prepare('step', [], { isTransient: true });
    const made = await other.freeze('step');
    await b.store.reconcile(
      () => false,
      () => false,
    );
    // Another process works with them.
    expect(await b.store.snapshots()).toEqual(['work']);
    expect(await b.store.has(made)).toBe(true);
    await other[Symbol.asyncDispose]();
    mkdirSync(path('snapshots/.removing-tree/shown'), { recursive: true });
    await b.store.reconcile(
      () => false,
      (name) => name === made,
    );
    expect(await b.store.snapshots()).toEqual([]);
    expect(await b.store.has(made)).toBe(true);
    await b.store.reconcile(() => false);
    expect(await b.store.localLayers()).toEqual([made]);
    await b.store.reconcile(
      () => false,
      () => false,
    );
    expect(await b.store.localLayers()).toEqual([]);
  });

  test(`${driver}: a freeze that was cut short is finished by the next, or by reconciling`, async () => {
    await using b = await bench();
    const name = newLocalLayer();
    await b.store.prepare('work', []);
    writeFileSync(join(b.store.mount('work'), 'f'), 'kept');
    b.store.unmount('work');
    expect(await b.store.freeze('work', name)).toBe(name);
    const [place, half] = [name.replace(':', '-'), `ingest/${name.replace(':', '-')}.0011`];
    const cut = () => renameSync(join(b.path, 'layers', place), join(b.path, 'layers', half));
    cut();
    expect(await b.store.has(name)).toBe(false);
    expect(await b.store.freeze('work', name)).toBe(name);
    expect([...(await shown(b, [name])).keys()]).toEqual(['', 'f']);
    cut();
    await b.store.reconcile(
      () => false,
      (layer) => layer === name,
    );
    expect([...(await shown(b, [name])).keys()]).toEqual(['', 'f']);
    expect(await b.store.freeze('work', name)).toBe(name);
  });

  test(`${driver}: a layer is taken back to be changed, and what is known of its files stays`, async () => {
    await using b = await bench();
    const layer = await b.change([], (root) => {
      for (let i = 0; i < 40; i += 1) writeFileSync(join(root, `f${i}`), `${i}`);
    });
    const digest = (name: LayerName) => b.store.contentDigest([name], [{ path: '/' }]);
    const before = await digest(layer);
    const index = join(b.path, 'layers', layer.replace(':', '-'), 'file-digests');
    expect(readFileSync(index).length).toBe(40 * 56);
    await b.store.thaw(layer, 'again');
    expect(await b.store.has(layer)).toBe(false);
    writeFileSync(join(b.store.files('again'), 'f1'), 'another');
    const changed = await b.store.freeze('again');
    expect(readFileSync(index.replace(layer.slice(6), changed.slice(6))).length).toBe(40 * 56);
    expect(await digest(changed)).not.toBe(before);
    await b.store.thaw(changed, 'again');
    writeFileSync(join(b.store.files('again'), 'f1'), '1');
    const back = await b.store.freeze('again');
    expect(await digest(back)).toBe(before);
    await b.store.seal(back, b.content);
    await expect(b.store.thaw(back, 'again')).rejects.toMatchObject({ kind: 'Conflict' });
  });

  test(`${driver}: killed anywhere while a layer is changed, it is whole or gone`, async () => {
    await using b = await bench();
    const make = () => b.change([], (root) => writeFileSync(join(root, 'f'), 'whole'));
    let layer = await make();
    for (let changes = 0, isDone = false; !isDone; changes += 1) {
      await using dying = await b.reopen();
      {
        using kill = killedAfter(changes);
        await dying
          .thaw(layer, 'again')
          .then(() => dying.freeze('again'))
          .catch(() => {});
        isDone = !kill.isDead;
      }
      await dying[Symbol.asyncDispose]();
      await b.store.reconcile(() => false);
      expect(await b.store.snapshots(), `after ${changes} changes`).toEqual([]);
      const left = await b.store.localLayers();
      for (const one of left)
        expect([...(await shown(b, [one])).keys()], `after ${changes} changes`).toEqual(['', 'f']);
      expect(readdirSync(join(b.path, 'layers/ingest')), `after ${changes} changes`).toEqual([]);
      layer = left[0] ?? (await make());
    }
  });

  test(`${driver}: what was found of a layer's contents is remembered, and what is no answer is not`, async () => {
    await using b = await bench();
    const layer = await b.change([], (root) => {
      mkdirSync(join(root, 'd'));
      writeFileSync(join(root, 'd', 'f'), 'f');
    });
    const digest = (path: string) => b.store.contentDigest([layer], [{ path }]);
    const [whole, part] = [await digest('/'), await digest('/d')];
    expect(whole).not.toBe(part);
    expect(await b.store.contentDigest([layer], [{ path: '/' }], { isRootless: true })).not.toBe(whole);
    const known = join(b.path, 'layers', layer.replace(':', '-'), 'content-digests');
    const questions = readFileSync(known, 'utf8')
      .split('\n')
      .filter((line) => line !== '').length;
    expect(questions).toBe(3);
    await expect(digest('/absent')).rejects.toMatchObject({ kind: 'NotFound' });
    expect([await digest('/'), await digest('/d')]).toEqual([whole, part]);
    expect(
      readFileSync(known, 'utf8')
        .split('\n')
        .filter((line) => line !== ''),
    ).toHaveLength(3);
    // Cut off in the middle of a line.
    writeFileSync(known, readFileSync(known, 'utf8').replaceAll('sha256:', 'sha').slice(0, 100));
    expect([await digest('/'), await digest('/d')]).toEqual([whole, part]);
  });

  test(`${driver}: a tree is opened, merged, or as the folder of the one plain layer that it is`, async () => {
    await using b = await bench();
    const sent = await b.change([], (root) => writeFileSync(join(root, 'sent'), 'a'));
    const removed = await b.change([sent], (root) => rmSync(join(root, 'sent')));
    const shown = async (layers: readonly LayerName[], isPlain: boolean) => {
      await using tree = await b.store.openTree(layers, { isPlain });
      return readdirSync(`/proc/self/fd/${tree.fd}`);
    };
    expect(await shown([sent], true)).toEqual(['sent']);
    expect(await shown([sent], false)).toEqual(['sent']);
    expect(await shown([sent, removed], true)).toEqual([]);
    expect(await shown([], true)).toEqual([]);
    expect(readdirSync(join(b.path, 'snapshots'))).toEqual([]);
  });

  test(`${driver}: a difference, laid over the first tree, gives the second`, async () => {
    await using b = await bench();
    const first = await b.layer(folder('d'), file('d/a', 'a'), file('d/gone', 'x'), file('f', 'file'));
    const second = await b.layer(folder('d', { mode: 0o700 }), file('d/a', 'other'), folder('f'), file('f/x', 'x'));
    const difference = await b.store.difference([first], [second]);
    expect(await shown(b, [first, difference])).toEqual(await shown(b, [second]));
    expect(await b.store.isEmpty(difference)).toBe(false);
    expect(await b.store.isEmpty(await b.store.difference([first], [first]))).toBe(true);
  });
}
