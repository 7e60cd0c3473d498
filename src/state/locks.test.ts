import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Locks } from './locks.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-locks-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('waiters are served in order, one at a time', async () => {
  const locks = new Locks(directory);
  const order: number[] = [];
  let inside = 0;
  await Promise.all(
    [1, 2, 3, 4].map(async (n) => {
      using _lock = await locks.acquire('a');
      inside += 1;
      expect(inside).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(n);
      inside -= 1;
    }),
  );
  expect(order).toEqual([1, 2, 3, 4]);
});

test('two names do not exclude each other, one name does', async () => {
  const locks = new Locks(directory);
  using _a = await locks.acquire('a');
  using b = locks.tryAcquire('b');
  expect(b).toBeDefined();
  expect(locks.tryAcquire('a')).toBeUndefined();
});

test('an aborted wait lets the next one in', async () => {
  const locks = new Locks(directory);
  const other = new Locks(directory);
  const stop = new AbortController();
  const held = await other.acquire('a');
  const aborted = locks.acquire('a', stop.signal);
  const next = locks.acquire('a');
  stop.abort();
  await expect(aborted).rejects.toThrow(/abort/);
  held[Symbol.dispose]();
  (await next)[Symbol.dispose]();
});

test("a killed process's lock is free", async () => {
  const program = `
    import { Locks } from ${JSON.stringify(new URL('./locks.ts', import.meta.url).href)};
    globalThis.held = await new Locks(${JSON.stringify(directory)}).acquire('a');
    console.log('held');
    setInterval(() => {}, 1000);
  `;
  const holder = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  const locks = new Locks(directory);
  expect(locks.tryAcquire('a')).toBeUndefined();
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  using lock = locks.tryAcquire('a');
  expect(lock).toBeDefined();
});

test('a freed lock leaves no file', async () => {
  const locks = new Locks(directory);
  (await locks.acquire('a'))[Symbol.dispose]();
  locks.tryAcquire('b')?.[Symbol.dispose]();
  expect(readdirSync(directory)).toEqual([]);
});

test('processes that come and go never hold a lock at once', async () => {
  const program = `
    import { closeSync, openSync, rmSync } from 'node:fs';
    import { Locks } from ${JSON.stringify(new URL('./locks.ts', import.meta.url).href)};
    const locks = new Locks(${JSON.stringify(directory)});
    for (let i = 0; i < 100; i++) {
      using lock = await locks.acquire('a');
      closeSync(openSync(${JSON.stringify(directory)} + '.inside', 'wx'));
      rmSync(${JSON.stringify(directory)} + '.inside');
    }
  `;
  const codes = await Promise.all(
    [1, 2, 3].map(async () => {
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'inherit' });
      const [code] = (await once(child, 'exit')) as [number];
      return code;
    }),
  );
  expect(codes).toEqual([0, 0, 0]);
});
