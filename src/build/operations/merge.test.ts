import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiffOpSchema, MergeOpSchema } from '../../protocol/index.ts';
import { type LayerStore, openLayerStore } from '../../storage/index.ts';
import type { OperationContext } from '../operation.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { diffOperation } from './diff.ts';
import { mergeOperation } from './merge.ts';

const context: OperationContext = {
  signal: new AbortController().signal,
  progress: { log() {}, status() {}, warn() {} },
  sessions: () => [],
  allows: () => false,
};

let directory: string;
let store: LayerStore & AsyncDisposable;
let count = 0;

beforeAll(async () => {
  directory = execFileSync('mktemp', ['-d', '/tmp/tare-merge-op.XXXXXX'], { encoding: 'utf8' }).trim();
  store = await openLayerStore({
    directory: join(directory, 'layers'),
    snapshotDirectory: join(directory, 'snapshots'),
  });
});

afterAll(async () => {
  await store[Symbol.asyncDispose]();
  execFileSync('rm', ['-rf', directory]);
});

async function tree(work: (root: string) => void, base: Tree = emptyTree): Promise<Tree> {
  count += 1;
  const key = `made-${count}`;
  await store.prepare(key, base.layers, { isTransient: true, isBare: true });
  work(store.mount(key, { volatile: true }));
  store.unmount(key);
  return { layers: [...base.layers, await store.freeze(key)] };
}

async function contents({ layers }: Tree): Promise<Record<string, string>> {
  const target = join(directory, 'shown');
  mkdirSync(target, { recursive: true });
  await using _mount = await store.mountTree(layers, target);
  const names = readdirSync(target, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map((entry) => [
      join(entry.parentPath, entry.name).slice(target.length + 1),
      readFileSync(join(entry.parentPath, entry.name), 'utf8'),
    ]),
  );
}

const diff = async (lower: Tree, upper: Tree): Promise<Tree> => {
  const op = create(DiffOpSchema, { lower: { input: 0n }, upper: { input: 1n } });
  return (await diffOperation({ layers: store }, op, { inputs: [{}, {}] }).run([lower, upper], context))[0]!;
};
const merge = async (...trees: Tree[]): Promise<Tree> => {
  const op = create(MergeOpSchema, { inputs: trees.map((_, index) => ({ input: BigInt(index) })) });
  return (await mergeOperation({}, op, { inputs: trees }).run(trees, context))[0]!;
};

test('what a step changed is laid over another tree, deletions as well', async () => {
  const base = await tree((root) => {
    mkdirSync(join(root, 'd'));
    writeFileSync(join(root, 'd/old'), 'old');
    writeFileSync(join(root, 'd/kept'), 'kept');
  });
  const stepped = await tree((root) => {
    rmSync(join(root, 'd/old'));
    mkdirSync(join(root, 'new'));
    writeFileSync(join(root, 'new/x'), 'x');
  }, base);
  const other = await tree((root) => {
    for (const name of ['d', 'new']) mkdirSync(join(root, name));
    writeFileSync(join(root, 'd/old'), 'theirs');
    writeFileSync(join(root, 'new/y'), 'theirs');
  });
  const change = await diff(base, stepped);
  expect(change.layers).toEqual(stepped.layers.slice(1));
  // A folder that was new there is not opaque: what the other tree has in it stays.
  expect(await contents(await merge(other, change))).toEqual({ 'new/x': 'x', 'new/y': 'theirs' });
  expect((await merge(base, other)).layers).toEqual([...base.layers, ...other.layers]);
});

test('trees of different origin are compared', async () => {
  const [one, two] = [
    await tree((root) => writeFileSync(join(root, 'a'), 'one')),
    await tree((root) => writeFileSync(join(root, 'b'), 'two')),
  ];
  const change = await diff(one, two);
  expect(change.layers).toHaveLength(1);
  expect(await contents(await merge(one, change))).toEqual({ b: 'two' });
});

test('a folder made over nothing hides nothing', async () => {
  const linked = await tree((root) => {
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/mine'), 'mine');
  });
  const base = await tree((root) => {
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/theirs'), 'theirs');
  });
  expect(await contents(await merge(base, linked))).toEqual({ 'etc/mine': 'mine', 'etc/theirs': 'theirs' });
});

test('a merge of merges of the same tree does not grow without end', async () => {
  const merge = mergeOperation(undefined, create(MergeOpSchema, { inputs: [{ input: 0n }, { input: 0n }] }), {
    inputs: [0],
  });
  let doubled: Tree = await tree((root) => writeFileSync(join(root, 'a'), 'a'));
  const grow = async () => {
    for (let times = 0; times < 30; times += 1) doubled = (await merge.run([doubled], context))[0]!;
  };
  await expect(grow()).rejects.toThrow(/a merge of 16384 layers: at most 10000/);
});
