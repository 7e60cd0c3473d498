import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiffOpSchema, MergeOpSchema } from '../../protocol/index.ts';
import type { Tree } from '../tree.ts';
import { diffOperation } from './diff.ts';
import { mergeOperation } from './merge.ts';
import { openTreeStore, quietContext, type TreeStore } from './tree-store.fixture.ts';

let trees: TreeStore;

beforeAll(async () => {
  trees = await openTreeStore();
});

afterAll(() => trees[Symbol.asyncDispose]());

const tree: TreeStore['tree'] = (...made) => trees.tree(...made);

async function contents({ layers }: Tree): Promise<Record<string, string>> {
  const target = join(trees.directory, 'shown');
  mkdirSync(target, { recursive: true });
  await using _mount = await trees.store.mountTree(layers, target);
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
  return (await diffOperation({ layers: trees.store }, op, { inputs: [{}, {}] }).run([lower, upper], quietContext))[0]!;
};
const merge = async (...trees: Tree[]): Promise<Tree> => {
  const op = create(MergeOpSchema, { inputs: trees.map((_, index) => ({ input: BigInt(index) })) });
  return (await mergeOperation({}, op, { inputs: trees }).run(trees, quietContext))[0]!;
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
    for (let times = 0; times < 30; times += 1) doubled = (await merge.run([doubled], quietContext))[0]!;
  };
  await expect(grow()).rejects.toThrow(/a merge of 16384 layers: at most 10000/);
});
