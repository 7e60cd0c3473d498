import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FileAction, FileActionSchema, FileOpSchema } from '../../protocol/index.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { fileOperation } from './file.ts';
import { openTreeStore, quietContext, type TreeStore } from './tree-store.fixture.ts';

let trees: TreeStore;

beforeAll(async () => {
  trees = await openTreeStore();
});

afterAll(() => trees[Symbol.asyncDispose]());

const tree: TreeStore['tree'] = (...made) => trees.tree(...made);

/** A tree of these files: a name that ends in a slash is a folder, one with an arrow a link. */
const files = (...names: string[]): Promise<Tree> =>
  tree((root) => {
    for (const name of names) {
      const [path, target] = name.split(' -> ') as [string, string | undefined];
      mkdirSync(name.endsWith('/') ? join(root, path) : dirname(join(root, path)), { recursive: true });
      if (target !== undefined) symlinkSync(target, join(root, path));
      else if (!name.endsWith('/')) writeFileSync(join(root, path), path);
    }
  });

async function listed(shown: Tree): Promise<string[]> {
  const target = join(trees.directory, 'shown');
  mkdirSync(target, { recursive: true });
  await using _mount = await trees.store.mountTree(shown.layers, target);
  return execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P%y %l\n'], { cwd: target, encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) =>
      line
        .replace(/d $/, '/')
        .replace(/f $/, '')
        .replace(/l (.*)$/, ' -> $1'),
    )
    .sort();
}

const run = async (actions: readonly FileAction[], ...inputs: Tree[]): Promise<Tree> => {
  const operation = fileOperation({ layers: trees.store }, create(FileOpSchema, { actions: [...actions] }), { inputs });
  const outputs = await operation.run(inputs, quietContext);
  return outputs[0]!;
};

type CopyFields = NonNullable<Extract<Parameters<typeof create<typeof FileActionSchema>>[1], object>>;
const copy = (src: string, dest: string, more: object = {}): FileAction =>
  create(FileActionSchema, {
    input: 0n,
    secondaryInput: 1n,
    output: 0n,
    action: { case: 'copy', value: { src, dest, mode: -1, timestamp: -1n, ...more } },
  } as CopyFields);

test.each([
  { say: 'a file to a new name', from: ['a'], to: [], copy: ['/a', '/b'], want: ['b'] },
  { say: 'a file into a folder', from: ['a'], to: ['d/'], copy: ['/a', '/d'], want: ['d/', 'd/a'] },
  { say: 'a file over a file', from: ['a'], to: ['b'], copy: ['/a', '/b'], want: ['b'] },
  { say: 'a folder to a new name', from: ['d/x'], to: [], copy: ['/d', '/e'], want: ['e/', 'e/x'] },
  { say: 'a folder into a folder', from: ['d/x'], to: ['e/'], copy: ['/d', '/e'], want: ['e/', 'e/d/', 'e/d/x'] },
  {
    say: 'what a folder holds',
    from: ['d/x', 'd/s/y'],
    to: ['e/s/z'],
    copy: ['/d', '/e'],
    more: { dirCopyContents: true },
    want: ['e/', 'e/s/', 'e/s/y', 'e/s/z', 'e/x'],
  },
  {
    say: 'all into the root',
    from: ['x', 'd/y'],
    to: ['d/z'],
    copy: ['/', '/'],
    more: { dirCopyContents: true },
    want: ['d/', 'd/y', 'd/z', 'x'],
  },
  {
    say: 'all into a folder that is there',
    from: ['x', 'd/y'],
    to: ['e/z'],
    copy: ['/', '/e/'],
    want: ['e/', 'e/d/', 'e/d/y', 'e/x', 'e/z'],
  },
  {
    say: 'with parents made',
    from: ['a'],
    to: [],
    copy: ['/a', '/n/m/b'],
    more: { createDestPath: true },
    want: ['n/', 'n/m/', 'n/m/b'],
  },
  {
    say: 'into a folder that is made',
    from: ['a'],
    to: [],
    copy: ['/a', '/n/'],
    more: { createDestPath: true },
    want: ['n/', 'n/a'],
  },
  {
    say: 'by a pattern',
    from: ['a.c', 'b.c', 'c.h', 'd/e.c'],
    to: [],
    copy: ['/*.c', '/n/'],
    more: { createDestPath: true, allowWildcard: true },
    want: ['n/', 'n/a.c', 'n/b.c'],
  },
  {
    say: 'by a pattern in folders',
    from: ['s/a/x', 's/b/x', 's/b/y'],
    to: [],
    copy: ['/s/*/x', '/n/'],
    more: { createDestPath: true, allowWildcard: true },
    want: ['n/', 'n/x'],
  },
  {
    say: 'nothing by a pattern',
    from: ['a'],
    to: ['k'],
    copy: ['/*.c', '/n/'],
    more: { allowWildcard: true, allowEmptyWildcard: true, createDestPath: true },
    want: ['k'],
  },
  { say: 'a link as itself', from: ['a', 'l -> a'], to: [], copy: ['/l', '/b'], want: ['b -> a'] },
  {
    say: 'what a link leads to',
    from: ['a', 'l -> a'],
    to: [],
    copy: ['/l', '/b'],
    more: { followSymlink: true },
    want: ['b'],
  },
  {
    say: 'through a link of the target',
    from: ['a'],
    to: ['real/', 'l -> /real'],
    copy: ['/a', '/l/b'],
    more: { createDestPath: true },
    want: ['l -> /real', 'real/', 'real/b'],
  },
  {
    say: 'through a link that leads out, and stays in',
    from: ['a'],
    to: ['l -> ../../../../etc'],
    copy: ['/a', '/l/b'],
    more: { createDestPath: true },
    want: ['etc/', 'etc/b', 'l -> ../../../../etc'],
  },
  { say: 'onto a link to a file', from: ['a'], to: ['f', 'l -> f'], copy: ['/a', '/l'], want: ['f', 'l -> f'] },
  {
    say: 'with exclusions',
    from: ['d/a', 'd/b', 'd/s/a', 'd/s/c'],
    to: [],
    copy: ['/d', '/e'],
    more: { excludePatterns: ['a', 's/*', '!s/c'] },
    want: ['e/', 'e/b', 'e/s/', 'e/s/c'],
  },
  {
    say: 'with inclusions',
    from: ['d/a', 'd/s/a', 'd/s/t/b'],
    to: [],
    copy: ['/d', '/e'],
    more: { includePatterns: ['s/t'] },
    want: ['e/', 'e/s/', 'e/s/t/', 'e/s/t/b'],
  },
  {
    say: 'a folder over a file, replaced',
    from: ['d/x'],
    to: ['e'],
    copy: ['/d', '/e'],
    more: { alwaysReplaceExistingDestPaths: true, dirCopyContents: true },
    want: ['e/', 'e/x'],
  },
])('copy $say', async ({ from, to, copy: [src, dest], more, want }) => {
  const got = await run([copy(src!, dest!, more)], await files(...to), await files(...from));
  expect(await listed(got)).toEqual(want);
});

test.each([
  {
    say: 'a file that is not there',
    from: ['a'],
    to: [],
    copy: ['/b', '/b'],
    want: 'lstat /b: no such file or directory',
  },
  {
    say: 'a folder over a file',
    from: ['d/x'],
    to: ['e'],
    copy: ['/d', '/e'],
    more: { dirCopyContents: true },
    want: 'cannot copy to non-directory: /e',
  },
  {
    say: 'a folder over a link in the target',
    from: ['d/s/x'],
    to: ['e/s -> /etc', 'etc/'],
    copy: ['/d', '/e'],
    more: { dirCopyContents: true },
    want: 'cannot copy to non-directory: /e/s',
  },
  {
    say: 'a file over a folder',
    from: ['d/x'],
    to: ['e/x/'],
    copy: ['/d', '/e'],
    more: { dirCopyContents: true },
    want: 'cannot replace to directory /e/x with file',
  },
  {
    say: 'without parents',
    from: ['a'],
    to: [],
    copy: ['/a', '/n/a'],
    want: 'failed to stat /n/a: no such file or directory',
  },
  {
    say: 'by a pattern that takes nothing',
    from: ['a'],
    to: [],
    copy: ['/*.c', '/n'],
    more: { allowWildcard: true },
    want: '/*.c not found',
  },
])('copy refuses $say', async ({ from, to, copy: [src, dest], more, want }) => {
  const before = await trees.store.localLayers();
  const [base, source] = [await files(...to), await files(...from)];
  await expect(run([copy(src!, dest!, more)], base, source)).rejects.toThrow(want);
  expect((await trees.store.localLayers()).length).toBe(before.length + 2);
  expect(await trees.store.snapshots()).toEqual([]);
});

test('owners, modes, times and hard links', async () => {
  const source = await tree((root) => {
    mkdirSync(join(root, 'd'));
    writeFileSync(join(root, 'd/a'), 'a');
    execFileSync('ln', [join(root, 'd/a'), join(root, 'd/b')]);
    chmodSync(join(root, 'd/a'), 0o640);
    utimesSync(join(root, 'd/a'), 1000, 1000);
  });
  const base = await tree((root) => {
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'staff:x:50:\n');
  });
  const named = (name: string, input = 0n) => ({ user: { case: 'byName' as const, value: { name, input } } });
  const owner = { user: named('app') };
  const plain = await run([copy('/d', '/plain')], base, source);
  // Names that are not there, as BuildKit has them.
  const missing = named('nobody-here');
  const owned = async (path: string, whose: object, to: Tree) =>
    await run([copy('/d', path, { owner: whose })], to, source);
  const ownGroup = await owned('/own-group', { ...owner, group: missing }, plain);
  const ofRoot = await owned('/of-root', { user: missing }, ownGroup);
  const ofStaff = await owned('/of-staff', { user: missing, group: named('staff') }, ofRoot);
  const dressed = await run(
    [copy('/d', '/dressed', { owner, modeStr: 'u=rwX,go=', timestamp: 5_000_000_000n })],
    ofStaff,
    source,
  );
  const target = join(trees.directory, 'shown');
  await using _mount = await trees.store.mountTree(dressed.layers, target);
  const stat = (path: string) =>
    execFileSync('stat', ['-c', '%u:%g %a %h %Y', path], { cwd: target, encoding: 'utf8' }).trim();
  expect(stat('plain/a')).toBe('0:0 640 2 1000');
  expect(stat('dressed/b')).toBe('1000:1001 600 2 5');
  expect(stat('dressed')).toMatch(/^1000:1001 700 \d+ 5$/);
  expect(stat('own-group/a')).toBe('1000:1001 640 2 1000');
  expect(stat('of-root/a')).toBe('0:0 640 2 1000');
  expect(stat('of-staff/a')).toBe('0:50 640 2 1000');
  await expect(run([copy('/d', '/x', { owner: { user: named('app', -1n) } })], base, source)).rejects.toThrow(
    'there are no users where nothing is yet: use the number of "app"',
  );
});

test('archives are unpacked, by what they hold', async () => {
  const source = await tree((root) => {
    mkdirSync(join(root, 'in'));
    writeFileSync(join(root, 'in/f'), 'f');
    for (const [name, flag] of [
      ['p', ''],
      ['z', 'z'],
      ['j', 'j'],
      ['J', 'J'],
    ]) {
      execFileSync('tar', [`-c${flag}f`, join(root, name!), '-C', join(root, 'in'), 'f']);
    }
    execFileSync('sh', ['-c', 'zstd -q < p > s'], { cwd: root });
    writeFileSync(join(root, 'no.tar'), 'not one');
  });
  for (const name of ['p', 'z', 'j', 'J', 's']) {
    const more = { attemptUnpackDockerCompatibility: true, createDestPath: true };
    expect(await listed(await run([copy(`/${name}`, '/out/', more)], emptyTree, source))).toEqual(['out/', 'out/f']);
  }
  const plain = await run(
    [copy('/no.tar', '/out/', { attemptUnpackDockerCompatibility: true, createDestPath: true })],
    emptyTree,
    source,
  );
  expect(await listed(plain)).toEqual(['out/', 'out/no.tar']);
});

test('a chain of actions makes one layer', async () => {
  const base = await files('old');
  const action = (input: bigint, output: bigint, value: object): FileAction =>
    create(FileActionSchema, { input, secondaryInput: -1n, output, action: value } as CopyFields);
  const got = await run(
    [
      action(0n, -1n, { case: 'mkdir', value: { path: '/d/e', mode: 0o755, makeParents: true, timestamp: -1n } }),
      action(1n, -1n, {
        case: 'mkfile',
        value: { path: '/d/e/f', mode: 0o600, data: Buffer.from('x'), timestamp: -1n },
      }),
      action(2n, -1n, { case: 'symlink', value: { oldpath: 'f', newpath: '/d/e/l', timestamp: -1n } }),
      action(3n, 0n, { case: 'rm', value: { path: '/ol*', allowWildcard: true } }),
    ],
    base,
  );
  expect(got.layers).toHaveLength(base.layers.length + 1);
  expect(await listed(got)).toEqual(['d/', 'd/e/', 'd/e/f', 'd/e/l -> f']);
});

const made = (input: bigint, output: bigint, path: string, more: object = {}): FileAction =>
  create(FileActionSchema, {
    ...{ input, secondaryInput: -1n, output },
    action: { case: 'mkdir', value: { path, mode: 0o755, timestamp: -1n, ...more } },
  } as CopyFields);

test.each([
  { say: 'changes its own result', actions: [made(0n, 0n, '/a')] },
  { say: 'changes a result that is made of its own', actions: [made(1n, 0n, '/a'), made(0n, -1n, '/b')] },
  { say: 'copies from its own result', actions: [{ ...copy('/', '/a'), input: -1n, secondaryInput: 0n }] },
  {
    say: 'looks for a user in its own result',
    actions: [made(-1n, 0n, '/a', { owner: { user: { user: { case: 'byName', value: { name: 'u', input: 0n } } } } })],
  },
  { say: 'needs what nothing makes', actions: [made(7n, 0n, '/a')] },
] as { say: string; actions: FileAction[] }[])('an action that $say is refused', async ({ actions }) => {
  await expect(run(actions)).rejects.toThrow(
    /^invalid file operation: action 0 needs \d+, which is not made before it$/,
  );
});

test('results that are made of each other may be many', async () => {
  const count = 4000;
  const wanted = Array.from({ length: count }, (_, index) =>
    made(BigInt(index - 1), index === count - 1 ? 0n : -1n, '/a'),
  );
  // Each is used twice, so that each is a tree of its own.
  const others = Array.from({ length: count - 1 }, (_, index) => made(BigInt(index), -1n, '/b'));
  const layers = { prepare: () => Promise.reject(new Error('the first of all')) } as unknown as TreeStore['store'];
  const actions = [...wanted, ...others];
  const operation = fileOperation({ layers }, create(FileOpSchema, { actions }), { inputs: [] });
  await expect(operation.run([], quietContext)).rejects.toThrow('the first of all');
});

test('a copy is known by what it copies, and not by where that lay or when it was made', async () => {
  const operation = (op: FileAction) =>
    fileOperation({ layers: trees.store }, create(FileOpSchema, { actions: [op] }), { inputs: [{}, {}] });
  const digest = async (op: FileAction, source: Tree) => {
    const map = await operation(op).cacheMap(quietContext);
    expect(map.dependencies[0]).toEqual({});
    return `${map.digest} ${await map.dependencies[1]!.contentDigest!(source, quietContext)}`;
  };
  const [one, other] = [await files('a/x', 'a/y'), await files('b/a/x', 'b/a/y', 'c')];
  const more = await files('a/x', 'a/z');
  expect(await digest(copy('/a', '/to'), one)).not.toBe(await digest(copy('/b/a', '/to'), other));
  const [first, second] = [
    await tree((root) => writeFileSync(join(root, 'f'), 'same')),
    await tree((root) => {
      mkdirSync(join(root, 'd'));
      writeFileSync(join(root, 'd/f'), 'same');
      utimesSync(join(root, 'd/f'), 1, 1);
    }),
  ];
  expect(await digest(copy('/f', '/to'), first)).toBe(await digest(copy('/d/f', '/to'), second));
  expect(await digest(copy('/a', '/to'), one)).not.toBe(await digest(copy('/a', '/to'), more));
  expect(await digest(copy('/a/*', '/to', { allowWildcard: true }), one)).not.toBe(
    await digest(copy('/a/*', '/to', { allowWildcard: true }), more),
  );
  await expect(digest(copy('/no', '/to'), one)).rejects.toThrow(
    /failed to calculate checksum of ref \w+: "\/no": not found/,
  );
});
