import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database, Locks } from '../../state/index.ts';
import type { LayerName } from '../../storage/index.ts';
import type { CachePrune } from '../build-types.ts';
import { BuildCache } from './build-cache.ts';
import { useCacheEntry } from './entries.ts';
import { CacheKey, outputDigest } from './key.ts';
import { CacheStore } from './store.ts';

const layer = (name: string) => `local:${name}` as LayerName;

/** A cache whose layers are names: each has 1000 bytes. */
class Bench implements AsyncDisposable {
  readonly root: string;
  readonly gone = new Set<string>();
  readonly ofImages = new Set<string>();
  nowMs = 1_000_000;
  collections = 0;
  readonly db: Database;
  readonly cache: BuildCache;
  readonly store: CacheStore;

  static async open(): Promise<Bench> {
    const root = mkdtempSync(join(tmpdir(), 'tare-cache-'));
    return new Bench(root, await Database.open(join(root, 'tare.db')));
  }

  private constructor(root: string, db: Database) {
    this.root = root;
    this.db = db;
    const layers = {
      missing: <T extends LayerName>(names: readonly T[]) => names.filter((name) => this.gone.has(name)),
      sizeOf: async () => 1000,
      // Whatever begins alike is one layer, in one folder.
      diffIDOf: (name: LayerName) => name.replace(/^local:(\w+?)\d*$/, 'sha256:$1') as never,
      folder: (name: LayerName) => join(this.root, name.replace(/^\w+:(\w+?)\d*$/, '$1'), 'diff'),
    };
    const folders = { directory: join(this.root, 'build'), execDirectory: join(this.root, 'run') };
    for (const folder of Object.values(folders)) mkdirSync(folder);
    const now = () => this.nowMs;
    this.store = new CacheStore({ db, layers, now });
    this.cache = new BuildCache({
      ...folders,
      ...{ db, layers, now, locks: new Locks(join(this.root, 'locks')) },
      imageLayers: () => this.ofImages,
      collect: async () => {
        this.collections += 1;
      },
    });
  }

  get entries() {
    return {
      directory: join(this.root, 'build'),
      execDirectory: join(this.root, 'run'),
      db: this.db,
      now: () => this.nowMs,
    };
  }

  /** Records a result, a moment after the one before. */
  async made(...names: string[]): Promise<void> {
    this.nowMs += 1000;
    const tree = { layers: names.map(layer) };
    const made = {
      type: 'regular',
      description: `makes ${names.at(-1)}`,
      inherited: new Set(tree.layers.slice(0, -1)),
    };
    await this.store.save(new CacheKey(outputDigest(`sha256:${names.join()}`, 0), []), tree, made);
  }

  async prune(request: Partial<CachePrune> = {}): Promise<string[]> {
    const gone: string[] = [];
    for await (const { description } of this.cache.prune({ filters: [], all: false, ...request }))
      gone.push(description.replace('makes ', ''));
    return gone;
  }

  async left(): Promise<string[]> {
    return (await this.cache.usage([])).map(({ description }) => description.replace('makes ', '')).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

let bench: Bench;
beforeEach(async () => {
  bench = await Bench.open();
});
afterEach(() => bench[Symbol.asyncDispose]());

test('what was unused for longest goes first, tips before what they stand on, as far as it takes', async () => {
  await bench.made('base');
  await bench.made('base', 'a');
  await bench.made('base', 'a', 'aa');
  await bench.made('base', 'b');
  expect(await bench.prune({ maxUsedSpaceBytes: 4000 })).toEqual([]);
  expect(await bench.prune({ maxUsedSpaceBytes: 2500 })).toEqual(['aa', 'a']);
  expect(await bench.left()).toEqual(['b', 'base']);
  expect(await bench.prune({ maxUsedSpaceBytes: 1, reservedSpaceBytes: 1500 })).toEqual(['b']);
  expect(await bench.prune()).toEqual(['base']);
  expect(bench.db.all('SELECT * FROM build_results')).toEqual([]);
});

test('what is used lately, in use, shared, or not meant, stays', async () => {
  await bench.made('base');
  await bench.made('base', 'old');
  await bench.made('base', 'new');
  bench.nowMs += 10_000;
  await bench.store.touch([layer('new')]);
  expect(await bench.prune({ keepDurationMs: 5000 })).toEqual(['old']);
  bench.cache.layersInUse = () => new Set([layer('new')]);
  expect(await bench.prune()).toEqual([]);
  bench.cache.layersInUse = () => new Set();
  bench.ofImages.add('sha256:new');
  expect(await bench.prune()).toEqual([]);
  expect(await bench.prune({ filters: ['description~=never'], all: true })).toEqual([]);
  expect(await bench.prune({ all: true })).toEqual(['new', 'base']);
});

test('a layer on record by two names is one object, and goes by both', async () => {
  for (const name of ['base', 'x']) mkdirSync(join(bench.root, name));
  await bench.made('base');
  await bench.made('base', 'x1');
  await bench.made('base', 'x2');
  const [, one] = await bench.cache.usage([]);
  expect(await bench.left()).toEqual(['base', 'x1']);
  expect(one).toMatchObject({ sizeBytes: 1000, description: 'makes x1' });
  expect(await bench.prune({ filters: ['description=="makes x1"'] })).toEqual(['x1']);
  expect(bench.db.all('SELECT layer FROM build_records')).toEqual([{ layer: 'local:base' }]);
});

test('a folder is measured when it is listed, and stays while somebody uses it', async () => {
  const entry = {
    id: 'cache-mount.c',
    type: 'exec.cachemount',
    description: 'cached',
    folder: 'cache-mounts/c',
  } as const;
  const use = await useCacheEntry(bench.entries, { ...entry, isMeasuredLater: true });
  mkdirSync(use.path, { recursive: true });
  writeFileSync(join(use.path, 'file'), 'x'.repeat(700));
  expect(await bench.cache.usage([])).toMatchObject([{ sizeBytes: 700, isInUse: true, isMutable: true }]);
  expect(await bench.prune({ all: true })).toEqual([]);
  use[Symbol.dispose]();
  expect(await bench.prune({ maxUsedSpaceBytes: 700 })).toEqual([]);
  expect(await bench.prune({ maxUsedSpaceBytes: 699 })).toEqual(['cached']);
  expect(await bench.left()).toEqual([]);
});

test('a result whose record was rolled back is found by the next one', async () => {
  const { db, nowMs } = bench;
  let isFull = true;
  const write: Database['write'] = (body) =>
    db.write((tx) => {
      const result = body(tx);
      if (isFull) throw new Error('the disk is full');
      return result;
    });
  const parts = { all: db.all.bind(db), get: db.get.bind(db), write } as Database;
  const layers = { missing: () => [], sizeOf: async () => 1000 };
  const store = new CacheStore({ db: parts, layers, now: () => nowMs });
  const keyOf = () => new CacheKey('step', [[{ selector: '', key: new CacheKey('source', []) }]]);
  const made = { type: 'regular', description: 'a step', inherited: new Set<LayerName>() };
  const key = keyOf();
  await expect(store.save(key, { layers: [layer('a')] }, made)).rejects.toThrow('the disk is full');
  isFull = false;
  await store.save(key, { layers: [layer('a')] }, made);
  const found = bench.store.result(bench.store.find(keyOf()));
  expect(found?.tree).toEqual({ layers: [layer('a')] });
});

test('what was pruned is collected, once, and nothing is where there was nothing to prune', async () => {
  await bench.prune();
  expect(bench.collections).toBe(0);
  await bench.made('base');
  await bench.made('base', 'a');
  await bench.prune();
  expect(bench.collections).toBe(1);
});

test('reconcile forgets results whose layers are lost, records without folders, and folders and drafts without records', async () => {
  await bench.made('base');
  await bench.made('base', 'lost');
  bench.gone.add('local:lost');
  const kept = { id: 'git-1', type: 'source.git.checkout', description: 'kept', folder: 'sources/git-1' } as const;
  const use = await useCacheEntry(bench.entries, kept);
  for (const name of ['sources/git-1/work-x', 'sources/nobody', 'cache-mounts/c.new-0a', 'removing/x'])
    mkdirSync(join(bench.root, 'build', name), { recursive: true });
  (await useCacheEntry(bench.entries, { ...kept, id: 'git-2', folder: 'sources/git-2' }))[Symbol.dispose]();
  await bench.cache.reconcile();
  const ls = (path: string) => readdirSync(join(bench.root, 'build', path));
  expect(await bench.left()).toEqual(['base', 'kept']);
  expect(ls('sources')).toEqual(['git-1']);
  // Somebody is at work there.
  expect(ls('sources/git-1')).toEqual(['work-x']);
  expect([ls('cache-mounts'), ls('removing')]).toEqual([[], []]);
  use[Symbol.dispose]();
  await bench.cache.reconcile();
  expect(ls('sources/git-1')).toEqual([]);
});
