import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { toByteString } from './byte-string.ts';
import { SyscallError } from './ffi.ts';
import { statusOf } from './file-status.ts';
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH, OpenFile, openAt } from './files.ts';
import { openAt2 } from './open-at2.ts';
import { resolveInRoot } from './resolve-in-root.ts';

let around: string;
let root: OpenFile;

beforeAll(() => {
  around = mkdtempSync(join(tmpdir(), 'tare-resolve-'));
  const inside = join(around, 'root');
  mkdirSync(join(inside, 'a/b/c'), { recursive: true });
  mkdirSync(join(around, 'a'));
  for (const path of ['file', 'a/file', 'a/b/file', '../outside', '../a/file']) writeFileSync(join(inside, path), path);
  const links = {
    up: '..',
    out: '../../../outside',
    away: '/a/b',
    'a/back': '../a/b/',
    'a/b/top': '/',
    'a/b/c/far': '../../../../../../a/file',
    loop: 'loop',
    'a/round': 'b/c/round',
    'a/b/c/round': '../../round',
    broken: 'a/none',
    dot: './a/./b',
    named: 'file',
  };
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(inside, path));
  root = new OpenFile(openAt(AT_FDCWD, toByteString(inside), O_PATH | O_DIRECTORY));
});

afterAll(() => {
  root[Symbol.dispose]();
  rmSync(around, { recursive: true });
});

/** The inode, or how it is refused. */
function found(open: () => number): bigint | number | string {
  try {
    using node = new OpenFile(open());
    return statusOf(node.fd).inode;
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

test('it leads where the kernel leads', () => {
  const names = [
    'a',
    'b',
    'c',
    '.',
    '..',
    'file',
    'outside',
    'none',
    'up',
    'out',
    'away',
    'back',
    'top',
    'far',
    'loop',
    'round',
  ];
  const part = fc.constantFrom(...names, 'broken', 'dot', 'named', '');
  const path = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
  const flags = fc.constantFrom(O_PATH, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY);
  fc.assert(
    fc.property(path, flags, (way, how) => {
      fc.pre(way !== '');
      const kernels = found(() => openAt2(root.fd, way, how));
      expect([way, how, found(() => resolveInRoot(root.fd, way, how, 0))]).toEqual([way, how, kernels]);
    }),
    { numRuns: 3000, seed: 1 },
  );
});
