import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  AT_FDCWD,
  O_DIRECTORY,
  OpenFile,
  openAt,
  removeDirectoryAt,
  renameAt,
  toByteString,
} from '../../linux/index.ts';
import { collect, scratch } from '../scratch.fixture.ts';
import { compareTrees } from './compare.ts';
import { Descent } from './descent.ts';
import { writeTar } from './pack.ts';
import { removeTreeSync } from './remove.ts';
import { sizeSteps } from './size.ts';

/** Nests folders as only a program that changes into each of them can. */
function nest(path: string, depth: number, name = 'd'): void {
  const script = `use strict; for (1..${depth}) { mkdir "${name}" or die; chdir "${name}" or die } open(my $f, ">", "file") or die; print $f "x"`;
  execFileSync('perl', ['-e', script], { cwd: path });
}

const opened = (path: string): OpenFile => new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY));

/** Deeper than any removal by path can follow. */
function emptied(path: string): Disposable {
  return {
    [Symbol.dispose]: () => {
      using folder = opened(path);
      removeTreeSync(folder.fd, 'd');
    },
  };
}

test('a tree 12,000 folders deep is measured', () => {
  using dir = scratch();
  using _gone = emptied(dir.path);
  nest(dir.path, 12_000);
  using folder = opened(dir.path);
  const steps = sizeSteps(folder.fd);
  let step = steps.next();
  while (!step.done) step = steps.next();
  expect(step.value).toEqual({ sizeBytes: 1, inodes: 12_001 });
});

test('what nobody could unpack again is refused, by packing and by comparing', async () => {
  using dir = scratch();
  using _gone = emptied(dir.path);
  nest(dir.path, 5000);
  using folder = opened(dir.path);
  await expect(collect(writeTar(folder.fd))).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringMatching(/nested too deep: its path has 4097 bytes/),
  });
  const options = { deletions: 'whiteout', opaque: 'trusted.overlay.opaque' } as const;
  using again = opened(dir.path);
  expect(() => [...compareTrees(again.fd, undefined, options)]).toThrow(/nested too deep/);
});

test('the deepest tree that can be unpacked is packed, and comes back', async () => {
  using from = scratch();
  using to = scratch();
  // 2044 folders of one letter and a file of four: 4092 bytes.
  nest(from.path, 2044);
  using _gone = emptied(from.path);
  using folder = opened(from.path);
  const tar = await collect(writeTar(folder.fd));
  execFileSync('tar', ['-x'], { cwd: to.path, input: tar });
  using _alsoGone = emptied(to.path);
  using unpacked = opened(to.path);
  expect((await collect(writeTar(unpacked.fd))).equals(tar)).toBe(true);
  const options = { deletions: 'whiteout', opaque: 'trusted.overlay.opaque' } as const;
  using again = opened(from.path);
  const changes = [...compareTrees(again.fd, undefined, options)].filter((change) => change !== undefined);
  expect(changes.length).toBe(2045);
  expect(changes.at(-1)).toEqual({ path: `${'d/'.repeat(2044)}file`, kind: 'added' });
});

test('the way back does not lead through a folder that was moved', () => {
  using dir = scratch();
  nest(dir.path, 80);
  using folder = opened(dir.path);
  using descent = new Descent(folder.fd);
  for (let depth = 0; depth < 80; depth += 1) descent.enter('d');
  // The upper half is moved under another folder; the walk must notice where it comes out.
  const middle = join(dir.path, ...Array.from({ length: 40 }, () => 'd'));
  execFileSync('mkdir', [join(dir.path, 'elsewhere')]);
  {
    using around = opened(join(middle, '..'));
    using elsewhere = opened(join(dir.path, 'elsewhere'));
    renameAt(around.fd, 'd', elsewhere.fd, 'd');
  }
  const leaveAll = (): void => {
    for (let depth = 80; depth > 0; depth -= 1) descent.leave();
  };
  expect(leaveAll).toThrow(/was moved while its tree was read/);
  expect(() => removeDirectoryAt(folder.fd, 'elsewhere')).toThrow(/ENOTEMPTY/);
});
