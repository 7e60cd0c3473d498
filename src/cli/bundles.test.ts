import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bundles } from './bundles.ts';

let root: string;
let kept: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tare-bundles-'));
  kept = join(root, 'kept', 'build');
  mkdirSync(join(root, 'dist'));
  writeFileSync(
    join(root, 'dist/first.cjs'),
    `exports.answer = () => require('./second.cjs').answer + 1; exports.path = require('node:path'); exports.folder = __dirname;`,
  );
  writeFileSync(join(root, 'dist/second.cjs'), `globalThis.loads = (globalThis.loads ?? 0) + 1; exports.answer = 41;`);
});
afterEach(() => {
  rmSync(root, { recursive: true });
  delete (globalThis as { loads?: number }).loads;
});

interface First {
  answer(): number;
  path: unknown;
  folder: string;
}
const open = () => new Bundles(join(root, 'dist'), kept);
/** One process's life: loads the bundles, uses them, ends well. */
function live(): void {
  const bundles = open();
  bundles.use('image ls');
  (bundles.load('first') as First).answer();
  bundles.keep();
}

test('bundles load each other once, and what Node.js has', async () => {
  const bundles = open();
  const first = bundles.load('first') as First;
  expect([first.answer(), first.answer()]).toEqual([42, 42]);
  expect((globalThis as { loads?: number }).loads).toBe(1);
  expect(first.path).toBe((await import('node:path')).default);
  expect(first.folder).toBe(join(root, 'dist'));
});

test('what was compiled is kept for the same command, for its user alone, a few times', () => {
  live();
  expect(readdirSync(kept).sort()).toEqual(['image-ls.first', 'image-ls.second']);
  const path = join(kept, 'image-ls.first');
  const rounds = () => readFileSync(path).readUInt32LE(4);
  const seen = [rounds()];
  for (let n = 0; n < 5; n++) {
    live();
    seen.push(rounds());
  }
  expect(seen).toEqual([1, 2, 3, 4, 4, 4]);
});

test.each([
  ['half of it', (path: string) => truncateSync(path, 200)],
  ['nothing of it', (path: string) => truncateSync(path, 0)],
  ['what is no code', (path: string) => writeFileSync(path, Buffer.alloc(4000, 1))],
  ["another user's file", (path: string) => chownSync(path, 65534, 65534)],
])('%s is not used, and written anew', (_what, spoil) => {
  live();
  live();
  const path = join(kept, 'image-ls.first');
  spoil(path);
  live();
  expect(readFileSync(path).readUInt32LE(4)).toBe(1);
});

test('where nothing can be written, nothing is kept', () => {
  writeFileSync(join(root, 'kept'), '');
  live();
  expect(readFileSync(join(root, 'kept'), 'utf8')).toBe('');
});
