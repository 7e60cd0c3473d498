import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database } from '../../state/index.ts';
import { type CacheMountRequest, holdCaches } from './cache-mounts.ts';

test('of two steps that make a shared cache at once, neither takes the folder from under the other', async () => {
  await using undo = new AsyncDisposableStack();
  const root = mkdtempSync(join(tmpdir(), 'tare-cache-mounts-'));
  undo.defer(() => rmSync(root, { recursive: true }));
  const [directory, execDirectory] = [join(root, 'build'), join(root, 'run')];
  for (const folder of [directory, execDirectory]) mkdirSync(folder);
  const db = undo.use(await Database.open(join(root, 'tare.db')));
  const entries = { directory, execDirectory, db, now: () => 1 };
  const hasBegun = Promise.withResolvers<void>();
  const mayEnd = Promise.withResolvers<void>();
  const request = (fill: () => Promise<void>): CacheMountRequest => ({
    ...{ id: 'cache', sharing: 'shared', target: '/cache', base: { key: 'of nothing', fill } },
  });
  const signal = new AbortController().signal;
  const slow = request(() => {
    hasBegun.resolve();
    return mayEnd.promise;
  });
  const quick = request(async () => {});
  const second = holdCaches(entries, [slow], signal);
  await hasBegun.promise;
  using first = await holdCaches(entries, [quick], signal);
  const { path } = first.of(quick);
  const made = statSync(path).ino;
  mayEnd.resolve();
  using other = await second;
  expect(other.of(slow).path).toBe(path);
  expect(statSync(path).ino).toBe(made);
});
