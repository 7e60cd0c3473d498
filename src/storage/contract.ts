import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { AT_FDCWD, getXattrAt, O_DIRECTORY, O_RDONLY, OpenFile, openAt, openAt2, setXattrAt } from '../linux/index.ts';
import { type DiffID, DigestMismatch, digestOf } from './digest.ts';
import { openContentStore } from './disk-content-store.ts';
import { openLayerStore } from './disk-layer-store.ts';
import type { LayerStore } from './layer-store.ts';
import { collect, file, folder, hardlink, link, scratch, type TestEntry, tar, whiteout } from './scratch.fixture.ts';

interface Bench extends AsyncDisposable {
  path: string;
  store: LayerStore & AsyncDisposable;
  /** Unpacks a layer of these entries. */
  layer(...entries: TestEntry[]): Promise<DiffID>;
  /** A second store on the same folders, as another process would have it. */
  reopen(): Promise<LayerStore & AsyncDisposable>;
}

/** What every snapshot driver has to do. */
export function layerStoreContract(driver: 'overlay' | 'vfs'): void {
  async function bench(): Promise<Bench> {
    const dir = scratch();
    const open = () =>
      openLayerStore({ directory: join(dir.path, 'layers'), snapshotDirectory: join(dir.path, 'snapshots'), driver });
    const store = await open();
    let count = 0;
    return {
      path: dir.path,
      store,
      reopen: open,
      async layer(...entries) {
        count += 1;
        const path = join(dir.path, `layer-${count}.tar`);
        writeFileSync(path, tar(...entries));
        return (await store.apply({ path, compression: 'none' })).diffID;
      },
      async [Symbol.asyncDispose]() {
        for (const key of await store.snapshots()) await store.remove(key);
        await store[Symbol.asyncDispose]();
        dir[Symbol.dispose]();
      },
    };
  }
  const read = (...parts: string[]): string => readFileSync(join(...parts), 'utf8');

  test(`${driver}: a snapshot shows its layers merged`, async () => {
    await using b = await bench();
    const base = await b.layer(
      folder('etc', { mode: 0o750, uid: 9 }),
      file('etc/kept', 'base'),
      file('etc/changed', 'base'),
      file('etc/gone', 'base'),
      folder('opaque'),
      file('opaque/old', ''),
      folder('becomes-file'),
      file('becomes-file/x', ''),
      link('link', 'etc'),
    );
    const top = await b.layer(
      folder('etc', { mode: 0o700, uid: 9 }),
      file('etc/changed', 'top'),
      whiteout('etc/.wh.gone'),
      folder('opaque'),
      whiteout('opaque/.wh..wh..opq'),
      file('opaque/new', ''),
      file('becomes-file', 'yes'),
      file('hard', 'two names'),
      hardlink('hard2', 'hard'),
    );
    await b.store.prepare('c', [base, top]);
    const root = b.store.mount('c');
    expect(root).toBe(b.store.mountPath('c'));
    expect(b.store.mount('c')).toBe(root);
    expect(b.store.isMounted('c')).toBe(true);
    expect(readdirSync(root).sort()).toEqual(['becomes-file', 'etc', 'hard', 'hard2', 'link', 'opaque']);
    expect(readdirSync(join(root, 'etc')).sort()).toEqual(['changed', 'kept']);
    expect(readdirSync(join(root, 'opaque'))).toEqual(['new']);
    expect(read(root, 'etc/changed')).toBe('top');
    expect(read(root, 'becomes-file')).toBe('yes');
    expect(lstatSync(join(root, 'etc'))).toMatchObject({ mode: 0o040700, uid: 9 });
    expect(lstatSync(join(root, 'hard')).nlink).toBe(2);
    expect(await b.store.changes('c')).toEqual([]);
  });

  test(`${driver}: the root folder is as the layers say`, async () => {
    await using b = await bench();
    const layers = [await b.layer(folder('./', { mode: 0o711, uid: 4, gid: 5 }), file('a')), await b.layer(file('b'))];
    await b.store.prepare('c', layers);
    expect(statSync(b.store.mount('c'))).toMatchObject({ mode: 0o040711, uid: 4, gid: 5 });
    await b.store.prepare('none', []);
    expect(statSync(b.store.mount('none'))).toMatchObject({ mode: 0o040755, uid: 0, gid: 0 });
  });

  test(`${driver}: a layer may stand in a stack twice`, async () => {
    await using b = await bench();
    const once = await b.layer(file('a', 'once'));
    const other = await b.layer(file('a', 'other'), file('b', 'other'));
    await b.store.prepare('c', [once, other, once]);
    const root = b.store.mount('c');
    expect([read(root, 'a'), read(root, 'b')]).toEqual(['once', 'other']);
  });

  test(`${driver}: a folder that a layer does not name keeps what lower layers say`, async () => {
    await using b = await bench();
    const base = await b.layer(folder('srv', { mode: 0o750, uid: 7 }), folder('srv/in', { mode: 0o1777, gid: 8 }));
    const top = await b.layer(file('srv/in/new', 'x'), file('brand/new', 'x'));
    await b.store.prepare('c', [base, top]);
    const root = b.store.mount('c');
    expect(lstatSync(join(root, 'srv'))).toMatchObject({ mode: 0o040750, uid: 7 });
    expect(lstatSync(join(root, 'srv/in'))).toMatchObject({ mode: 0o041777, gid: 8 });
    expect(lstatSync(join(root, 'brand')).mode).toBe(0o040755);
    expect(read(root, 'srv/in/new')).toBe('x');
    expect(await b.store.changes('c')).toEqual([]);
  });

  test(`${driver}: changes are docker's`, async () => {
    await using b = await bench();
    const base = await b.layer(
      folder('d'),
      file('d/same', '1'),
      file('d/mode', '1'),
      file('d/text', '1'),
      folder('gone'),
      file('gone/x', ''),
      folder('renewed'),
      file('renewed/old', ''),
      folder('untouched'),
      file('untouched/x', ''),
      link('l', 'a'),
    );
    await b.store.prepare('c', [base]);
    const root = b.store.mount('c');
    chmodSync(join(root, 'd/mode'), 0o600);
    writeFileSync(join(root, 'd/text'), 'other');
    mkdirSync(join(root, 'new/er'), { recursive: true });
    writeFileSync(join(root, 'new/er/file'), '');
    rmSync(join(root, 'gone'), { recursive: true });
    rmSync(join(root, 'renewed'), { recursive: true });
    mkdirSync(join(root, 'renewed'));
    writeFileSync(join(root, 'renewed/new'), '');
    execFileSync('ln', ['-sfn', 'b', join(root, 'l')]);
    const want = [
      { path: '/d', kind: 'modified' },
      { path: '/d/mode', kind: 'modified' },
      { path: '/d/text', kind: 'modified' },
      { path: '/gone', kind: 'deleted' },
      { path: '/l', kind: 'modified' },
      { path: '/new', kind: 'added' },
      { path: '/new/er', kind: 'added' },
      { path: '/new/er/file', kind: 'added' },
      { path: '/renewed', kind: 'modified' },
      { path: '/renewed/new', kind: 'added' },
      { path: '/renewed/old', kind: 'deleted' },
    ];
    expect(await b.store.changes('c')).toEqual(want);
    b.store.unmount('c');
    expect(await b.store.changes('c')).toEqual(want);
  });

  test(`${driver}: a diff, applied as a layer, makes the same tree`, async () => {
    await using b = await bench();
    const base = await b.layer(folder('d'), file('d/a', 'a'), file('d/b', 'b'), folder('e'), file('e/x', 'x'));
    await b.store.prepare('c', [base]);
    const root = b.store.mount('c');
    rmSync(join(root, 'd/a'));
    rmSync(join(root, 'e'), { recursive: true });
    mkdirSync(join(root, 'e'), { mode: 0o711 });
    writeFileSync(join(root, 'e/y'), 'y'.repeat(100_000));
    execFileSync('ln', [join(root, 'e/y'), join(root, 'e/hard')]);
    execFileSync('mknod', [join(root, 'dev'), 'c', '1', '3']);
    execFileSync('mkfifo', [join(root, 'pipe')]);
    execFileSync('chown', ['70000:70000', join(root, 'd/b')]);
    {
      using parent = new OpenFile(openAt(AT_FDCWD, join(root, 'd'), O_DIRECTORY));
      setXattrAt(parent.fd, 'b', 'user.k', Buffer.from('v'));
    }
    writeFileSync(join(root, `d/${'long'.repeat(50)}`), 'long');
    const listing = (path: string) =>
      execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P %y %m %U %G %l %n %Ts\n'], {
        cwd: path,
        encoding: 'utf8',
      })
        .split('\n')
        // overlayfs counts no links of merged folders.
        .map((line) => line.replace(/^(\S+ d .*) \d+( \d+)$/, '$1$2'))
        .sort();
    const want = listing(root);

    const path = join(b.path, 'diff.tar');
    writeFileSync(path, await collect(b.store.diff('c')));
    const layer = await b.store.apply({ path, compression: 'none' });
    await b.store.prepare('again', [base, layer.diffID]);
    const copy = b.store.mount('again');
    expect(listing(copy)).toEqual(want);
    expect(read(copy, 'e/y')).toBe(read(root, 'e/y'));
    using copied = new OpenFile(openAt(AT_FDCWD, join(copy, 'd'), O_DIRECTORY));
    expect(String(getXattrAt(copied.fd, 'b', 'user.k'))).toBe('v');
    // GNU tar reads it, too.
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' })).toContain('e/.wh.x');
  });

  test(`${driver}: usage counts what was written, a hard link once`, async () => {
    await using b = await bench();
    await b.store.prepare('c', [await b.layer(file('base', 'x'.repeat(500)))]);
    const before = await b.store.usage('c');
    const root = b.store.mount('c');
    writeFileSync(join(root, 'new'), 'y'.repeat(1000));
    execFileSync('ln', [join(root, 'new'), join(root, 'hard')]);
    const after = await b.store.usage('c');
    expect(after.sizeBytes - before.sizeBytes).toBe(1000);
    expect(after.inodes - before.inodes).toBe(1);
  });

  test(`${driver}: what is written stays when it is mounted again, and goes with the snapshot`, async () => {
    await using b = await bench();
    const base = await b.layer(file('x', 'base'));
    await b.store.prepare('c', [base]);
    writeFileSync(join(b.store.mount('c'), 'x'), 'mine');
    b.store.unmount('c');
    expect(read(b.store.mount('c'), 'x')).toBe('mine');
    await b.store.remove('c');
    await b.store.remove('c');
    expect(await b.store.snapshots()).toEqual([]);
    expect(() => b.store.mount('c')).toThrow(/no snapshot c/);
    await b.store.prepare('c', [base]);
    expect(read(b.store.mount('c'), 'x')).toBe('base');
  });

  test(`${driver}: an opened root has no place, and shows binds where links lead`, async () => {
    await using b = await bench();
    await b.store.prepare('c', [await b.layer(folder('real'), file('real/x', 'image'), link('data', '/real'))]);
    {
      using root = await b.store.openRoot('c');
      using opened = new OpenFile(openAt2(root.fd, '/data/x', O_RDONLY));
      expect(readFileSync(opened.fd, 'utf8')).toBe('image');
    }
    const volume = join(b.path, 'volume');
    mkdirSync(volume);
    writeFileSync(join(volume, 'x'), 'volume');
    const binds = [{ source: volume, subpath: '', destination: '/data', readOnly: true }];
    {
      using root = await b.store.openRoot('c', binds);
      using opened = new OpenFile(openAt2(root.fd, '/real/x', O_RDONLY));
      expect(readFileSync(opened.fd, 'utf8')).toBe('volume');
      expect(() => openAt2(root.fd, '/real/new', 0o102, 0x10n, 0o600)).toThrow(/EROFS/);
    }
    expect(execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' })).not.toContain(b.path);
  });

  test(`${driver}: preparing is repeatable, refuses other parents, and repairs`, async () => {
    await using b = await bench();
    const base = await b.layer(file('x'));
    const other = await b.layer(file('y'));
    await b.store.prepare('c', [base]);
    await b.store.prepare('c', [base]);
    await expect(b.store.prepare('c', [other])).rejects.toMatchObject({ kind: 'Conflict' });
    await expect(b.store.prepare('../c', [base])).rejects.toMatchObject({ kind: 'InvalidArgument' });
    // As a crash leaves it: the folder without its record.
    rmSync(join(b.path, 'snapshots/c/parents.json'));
    expect(() => b.store.mount('c')).toThrow(/prepare it first/);
    await b.store.prepare('c', [base]);
    expect(readdirSync(b.store.mount('c'))).toEqual(['x']);
  });

  test(`${driver}: a layer in use is not removed; a missing one is named`, async () => {
    await using b = await bench();
    const base = await b.layer(file('x'));
    await b.store.prepare('c', [base]);
    await expect(b.store.removeLayer(base)).rejects.toMatchObject({ kind: 'Conflict' });
    await b.store.remove('c');
    await b.store.removeLayer(base);
    await b.store.removeLayer(base);
    expect(await b.store.has(base)).toBe(false);
    expect(b.store.missing([base])).toEqual([base]);
    await expect(b.store.prepare('c', [base])).rejects.toThrow(`layer ${base} is not unpacked`);
    expect(await b.store.layers()).toEqual([]);
  });

  test(`${driver}: a layer is verified, shared between callers and stores, and complete or absent`, async () => {
    await using b = await bench();
    const bytes = tar(file('x', 'shared'));
    const path = join(b.path, 'layer.tgz');
    writeFileSync(path, gzipSync(bytes));
    const wrong = `sha256:${'0'.repeat(64)}` as DiffID;
    const failure = await b.store.apply({ path, compression: 'gzip' }, wrong).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(DigestMismatch);
    expect(failure).toMatchObject({ kind: 'InvalidArgument', expected: wrong });
    expect(await b.store.layers()).toEqual([]);

    const { diffID } = await b.store.apply({ path, compression: 'gzip' });
    await b.store.removeLayer(diffID);
    await using second = await b.reopen();
    const all = await Promise.all(
      [b.store, b.store, second, second].map((store) => store.apply({ path, compression: 'gzip' }, diffID)),
    );
    expect(all).toEqual(all.map(() => ({ diffID, sizeBytes: 6 })));
    expect(await second.has(diffID)).toBe(true);
    for (const name of ['ingest', 'removing']) expect(readdirSync(join(b.path, 'layers', name))).toEqual([]);
  });

  test(`${driver}: an aborted unpack leaves nothing`, async () => {
    await using b = await bench();
    const path = join(b.path, 'big.tar');
    writeFileSync(path, tar({ path: 'big', type: 'file', body: Buffer.alloc(64 * 1024 * 1024) }));
    const abort = new AbortController();
    const work = b.store.apply({ path, compression: 'none' }, undefined, abort.signal);
    setTimeout(() => abort.abort(), 60);
    await expect(work).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(join(b.path, 'layers/ingest'))).toEqual([]);
    expect(await b.store.layers()).toEqual([]);
  });

  test(`${driver}: a layer unpacks while its blob arrives, and not if the blob is given up`, async () => {
    await using b = await bench();
    using content = await openContentStore(join(b.path, 'content'));
    const bytes = gzipSync(tar(file('early', 'first'), { path: 'late', type: 'file', body: randomBytes(300_000) }));
    const digest = digestOf(bytes);
    {
      await using writer = await content.writer({ digest });
      using growth = writer.follow();
      const work = b.store.apply({ growth });
      work.catch(() => {});
      await writer.write(bytes.subarray(0, 100_000));
      await vi.waitFor(() => {
        const [name] = readdirSync(join(b.path, 'layers/ingest'));
        expect(read(join(b.path, 'layers/ingest', name!), 'diff/early')).toBe('first');
      }, 10_000);
      await writer[Symbol.asyncDispose]();
      await expect(work).rejects.toMatchObject({ name: 'AbortError' });
      expect(readdirSync(join(b.path, 'layers/ingest'))).toEqual([]);
      expect(await b.store.layers()).toEqual([]);
    }
    await using writer = await content.writer({ digest });
    using growth = writer.follow();
    const work = b.store.apply({ growth });
    await writer.write(bytes.subarray(writer.offset));
    await writer.commit();
    const { diffID } = await work;
    expect(diffID).toBe(digestOf(gunzipSync(bytes)));
  });

  test(`${driver}: a layer whose blob is here does not wait for blobs that come slowly; who waits may leave`, async () => {
    await using b = await bench();
    using content = await openContentStore(join(b.path, 'content'));
    await using slow = new AsyncDisposableStack();
    const writers = await Promise.all(Array.from({ length: 8 }, async () => slow.use(await content.writer({}))));
    const [last, ...others] = writers.map((writer) => {
      const abort = new AbortController();
      const growth = slow.use(writer.follow());
      const work = b.store.apply({ growth }, undefined, abort.signal);
      work.catch(() => {});
      return { abort, work };
    });
    await vi.waitFor(() => expect(readdirSync(join(b.path, 'layers/ingest'))).toHaveLength(8));
    for (const name of ['one', 'two']) {
      const path = join(b.path, `${name}.tar`);
      writeFileSync(path, tar(file(name, 'here')));
      expect(await b.store.apply({ path, compression: 'none' })).toMatchObject({ sizeBytes: 4 });
    }
    for (const { abort, work } of [...others.reverse(), last!]) {
      abort.abort();
      await expect(work).rejects.toMatchObject({ name: 'AbortError' });
    }
    expect(readdirSync(join(b.path, 'layers/ingest'))).toEqual([]);
  });

  test(`${driver}: a blob that is not the layer it was taken for stops nobody who has the right one`, async () => {
    await using b = await bench();
    const [right, wrong] = ['right', 'wrong'].map((name) => join(b.path, `${name}.tar`)) as [string, string];
    writeFileSync(right, tar(file('a', 'right')));
    writeFileSync(wrong, tar({ path: 'a', type: 'file', body: Buffer.alloc(4 << 20) }));
    const diffID = digestOf(readFileSync(right)) as string as DiffID;
    const first = b.store.apply({ path: wrong, compression: 'none' }, diffID);
    const second = b.store.apply({ path: right, compression: 'none' }, diffID);
    await expect(first).rejects.toBeInstanceOf(DigestMismatch);
    expect(await second).toEqual({ diffID, sizeBytes: 5 });
  });

  test(`${driver}: a layer that power cut off is missing, and derived again`, async () => {
    await using b = await bench();
    const path = join(b.path, 'layer.tar');
    writeFileSync(path, tar(file('x', 'whole')));
    const { diffID } = await b.store.apply({ path, compression: 'none' });
    const folderOf = join(b.path, 'layers', diffID.slice(7));
    const record = JSON.parse(read(folderOf, 'layer.json'));
    // As after another boot, before the files reached the disk.
    await b.store.settle();
    rmSync(join(folderOf, 'synced'));
    writeFileSync(join(folderOf, 'layer.json'), JSON.stringify({ ...record, bootId: 'an earlier one' }));
    writeFileSync(join(folderOf, 'diff/x'), '');
    await using after = await b.reopen();
    expect(await after.has(diffID)).toBe(false);
    expect(await after.layers()).toEqual([]);
    await after.apply({ path, compression: 'none' }, diffID);
    expect(read(folderOf, 'diff/x')).toBe('whole');

    // Once settled it survives.
    await after.settle();
    writeFileSync(join(folderOf, 'layer.json'), JSON.stringify({ ...record, bootId: 'an earlier one' }));
    await using later = await b.reopen();
    expect(await later.has(diffID)).toBe(true);
  });

  test(`${driver}: reconciling removes what nobody owns, and spares what lives`, async () => {
    await using b = await bench();
    const base = await b.layer(file('x'));
    await b.store.prepare('owned', [base]);
    await b.store.prepare('stray', [base]);
    b.store.mount('stray');
    for (const stale of ['layers/ingest/dead/diff', 'layers/removing/dead/x', 'snapshots/.removing-dead/x']) {
      mkdirSync(join(b.path, stale), { recursive: true });
    }
    const path = join(b.path, 'big.tar');
    writeFileSync(path, tar({ path: 'big', type: 'file', body: Buffer.alloc(32 * 1024 * 1024) }));
    const living = b.store.apply({ path, compression: 'none' });
    await using other = await b.reopen();
    await other.reconcile((key) => key === 'owned');
    expect((await living).sizeBytes).toBe(32 * 1024 * 1024);
    expect(await b.store.snapshots()).toEqual(['owned']);
    for (const name of ['ingest', 'removing']) expect(readdirSync(join(b.path, 'layers', name))).toEqual([]);
    expect(readdirSync(join(b.path, 'snapshots'))).toEqual(['owned']);
  });
}
