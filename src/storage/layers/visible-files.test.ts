import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DiffID } from '../digest.ts';
import { openLayerStore } from '../disk-layer-store.ts';
import { file, folder, link, scratch, type TestEntry, tar, whiteout } from '../scratch.fixture.ts';

async function bench() {
  const stack = new AsyncDisposableStack();
  const dir = stack.use(scratch());
  const store = stack.use(
    await openLayerStore({ directory: join(dir.path, 'layers'), snapshotDirectory: join(dir.path, 'snapshots') }),
  );
  let count = 0;
  return {
    store,
    async layer(...entries: TestEntry[]): Promise<DiffID> {
      count += 1;
      const path = join(dir.path, `${count}.tar`);
      writeFileSync(path, tar(...entries));
      return (await store.apply({ path, compression: 'none' })).diffID;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const opaque = (path: string) => whiteout(`${path}/.wh..wh..opq`);

test('what is hidden, replaced or removed does not show', async () => {
  await using b = await bench();
  const base = await b.layer(
    folder('etc'),
    file('etc/kept', 'base'),
    file('etc/changed', 'base'),
    file('etc/gone', 'base'),
    folder('opaque'),
    file('opaque/old', ''),
    folder('swapped'),
    file('swapped/x', ''),
    file('f', 'a file'),
  );
  const middle = await b.layer(
    file('etc/changed', 'middle'),
    whiteout('etc/.wh.gone'),
    folder('opaque'),
    opaque('opaque'),
    file('opaque/new', ''),
    file('swapped', 'now a file'),
    folder('f'),
    file('f/inside', ''),
  );
  const top = await b.layer(link('etc/link', '/kept'), file('opaque/top', ''));
  using files = b.store.visibleFiles([base, middle, top]);
  const seen = new Map([...files.walk()].flatMap((entry) => (entry ? [[entry.path, entry] as const] : [])));
  expect(Object.fromEntries([...seen].map(([path, { layer, type }]) => [path, `${type} ${layer}`]))).toEqual({
    'etc/kept': 'file 0',
    'etc/changed': 'file 1',
    'etc/link': 'link 2',
    'opaque/new': 'file 1',
    'opaque/top': 'file 2',
    swapped: 'file 1',
    'f/inside': 'file 1',
  });
  using changed = seen.get('etc/changed')!.open();
  expect(readFileSync(changed.fd, 'utf8')).toBe('middle');
  expect(seen.get('etc/changed')!.status()).toMatchObject({ sizeBytes: 6 });
  expect(seen.get('etc/link')!.target()).toBe('/kept');
  expect(() => seen.get('etc/link')!.open()).toThrow(/changed while it was read/);
});

test('a layer that is not unpacked is named', async () => {
  await using b = await bench();
  const absent = `sha256:${'0'.repeat(64)}` as DiffID;
  expect(() => b.store.visibleFiles([absent])).toThrow(`layer ${absent} is not unpacked`);
});

test('any layers show what the kernel shows of them', async () => {
  await using b = await bench();
  const name = fc.constantFrom('a', 'b', 'c');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const entry = fc.oneof(
    path.map((at) => ({ at, make: (n: string) => file(n, 'x') })),
    path.map((at) => ({ at, make: (n: string) => folder(n) })),
    path.map((at) => ({ at, make: (n: string) => link(n, 'nowhere') })),
    path.map((at) => ({ at, make: (n: string) => whiteout(n.replace(/[^/]+$/, '.wh.$&')) })),
    path.map((at) => ({ at, make: (n: string) => opaque(n) })),
  );
  const layer = fc.uniqueArray(entry, { maxLength: 6, selector: ({ at }) => at });
  await fc.assert(
    fc.asyncProperty(fc.array(layer, { minLength: 1, maxLength: 4 }), async (layers) => {
      const diffIDs: DiffID[] = [];
      for (const entries of layers) {
        try {
          diffIDs.push(await b.layer(...entries.map(({ at, make }) => make(at))));
        } catch (error) {
          // A file in the way of another entry of the same layer.
          expect(error).toMatchObject({ kind: 'InvalidArgument' });
        }
      }
      fc.pre(diffIDs.length > 0);
      const key = `s${Math.random().toString(36).slice(2)}`;
      await b.store.prepare(key, diffIDs);
      const root = b.store.mount(key);
      try {
        const want = execFileSync('find', ['.', '(', '-type', 'f', '-o', '-type', 'l', ')', '-printf', '%P %y\n'], {
          cwd: root,
          encoding: 'utf8',
        });
        using files = b.store.visibleFiles(diffIDs);
        const got = [...files.walk()].flatMap((at) => (at ? [`${at.path} ${at.type === 'file' ? 'f' : 'l'}`] : []));
        expect(got.sort()).toEqual(want.split('\n').filter(Boolean).sort());
      } finally {
        b.store.unmount(key);
        await b.store.remove(key);
      }
    }),
    { numRuns: 150 },
  );
});
