import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type BlobGrowth, readFollowed } from './blob-growth.ts';
import { DigestMismatch, digestOf, hexOf } from './digest.ts';
import { openContentStore } from './disk-content-store.ts';
import { collect, scratch } from './scratch.fixture.ts';

test('a blob shows once it is committed, under its digest', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const digest = digestOf('hello world');
  {
    await using writer = await store.writer({ digest, sizeBytes: 11 });
    await writer.write(Buffer.from('hello '));
    expect([await store.has(digest), store.arrivals]).toEqual([false, 0]);
    await writer.write(Buffer.from('world'));
    expect(await writer.commit()).toMatchObject({ digest, sizeBytes: 11 });
    await writer.commit();
  }
  await store.put(Buffer.from('hello world'));
  expect(store.arrivals).toBe(1);
  expect(await store.info(digest)).toMatchObject({ digest, sizeBytes: 11 });
  expect(String(await collect(store.open(digest, 6)))).toBe('world');
  expect(readFileSync(await store.path(digest), 'utf8')).toBe('hello world');
  expect(readdirSync(join(dir.path, 'ingest'))).toEqual([]);
  const all = [];
  for await (const blob of store.walk()) all.push(blob.digest);
  expect(all).toEqual([digest]);
  expect(await store.digests()).toEqual([digest]);
  await store.delete(digest);
  await store.delete(digest);
  await expect(store.info(digest)).rejects.toMatchObject({ kind: 'NotFound' });
});

test('a writer goes on where the last one stopped', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const digest = digestOf('first second');
  {
    await using writer = await store.writer({ digest });
    await writer.write(Buffer.from('first '));
  }
  await using writer = await store.writer({ digest });
  expect(writer.offset).toBe(6);
  await writer.write(Buffer.from('second'));
  await writer.commit();
  expect(String(await store.read(digest))).toBe('first second');
});

test.each([
  { problem: 'other bytes', sizeBytes: 5, write: 'wrong', message: /has digest sha256:/ },
  { problem: 'too few bytes', sizeBytes: 5, write: 'four', message: /has 4 bytes, 5 were announced/ },
  { problem: 'too many bytes', sizeBytes: 5, write: 'sixsix', message: /longer than the 5 bytes announced/ },
])('refuses $problem and drops them', async ({ sizeBytes, write, message }) => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const digest = digestOf('right');
  {
    await using writer = await store.writer({ digest, sizeBytes });
    const work = async () => {
      await writer.write(Buffer.from(write));
      await writer.commit();
    };
    await expect(work()).rejects.toThrow(message);
  }
  expect(await store.has(digest)).toBe(false);
  expect(readdirSync(join(dir.path, 'ingest'))).toEqual([]);
});

test('a damaged stored blob is noticed when it is read', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const { digest } = await store.put(Buffer.from('good'));
  writeFileSync(join(dir.path, 'blobs/sha256', hexOf(digest)), 'evil');
  await expect(store.read(digest)).rejects.toBeInstanceOf(DigestMismatch);
  await expect(store.read(digest, 3)).rejects.toThrow(/at most 3/);
});

test('reconciling spares what a living writer holds', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  using other = await openContentStore(dir.path);
  const digest = digestOf('alive');
  await using writer = await store.writer({ digest });
  await writer.write(Buffer.from('ali'));
  mkdirSync(join(dir.path, 'ingest'), { recursive: true });
  writeFileSync(join(dir.path, 'ingest/dead'), 'half a blob');
  // Another writer of the same blob does not wait, and either may publish.
  {
    await using second = await other.writer({ digest });
    expect(second.offset).toBe(0);
    await second.write(Buffer.from('alive'));
    await second.commit();
  }
  await other.reconcile();
  expect(readdirSync(join(dir.path, 'ingest'))).toEqual([hexOf(digest)]);
  await writer.write(Buffer.from('ve'));
  expect(await writer.commit()).toMatchObject({ digest });
});

test('a reader keeps pace with a writer, and sees how it ends', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const digest = digestOf('first second');
  const buffer = Buffer.alloc(100);
  const read = async (growth: BlobGrowth, position: number) => {
    const size = await readFollowed({ fd: growth.fd, state: growth.state }, buffer, position);
    return buffer.toString('latin1', 0, size);
  };
  {
    await using given = await store.writer({ digest });
    using growth = given.follow();
    await given.write(Buffer.from('first '));
    expect(await read(growth, 0)).toBe('first ');
    expect(await read(growth, 2)).toBe('rst ');
    await given[Symbol.asyncDispose]();
    expect(growth.isAbandoned).toBe(true);
    await expect(read(growth, 6)).rejects.toMatchObject({ name: 'AbortError' });
  }
  await using writer = await store.writer({ digest });
  using growth = writer.follow();
  expect(await read(growth, 0)).toBe('first ');
  await writer.write(Buffer.from('second'));
  await writer.commit();
  expect(await read(growth, 6)).toBe('second');
  expect(await read(growth, 12)).toBe('');
  expect(growth.isAbandoned).toBe(false);
});

test('who claims a blob waits for the one who writes it, and finds it stored', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  using other = await openContentStore(dir.path);
  const digest = digestOf('shared');
  const writer = await store.claim({ digest });
  await writer!.write(Buffer.from('sha'));
  const waiting = other.claim({ digest });
  await writer!.write(Buffer.from('red'));
  await writer!.commit();
  await writer![Symbol.asyncDispose]();
  expect(await waiting).toBe(undefined);
  expect(await other.claim({ digest })).toBe(undefined);

  const lost = digestOf('given up');
  const first = await store.claim({ digest: lost });
  await first!.write(Buffer.from('given'));
  const abort = new AbortController();
  const impatient = other.claim({ digest: lost }, abort.signal);
  abort.abort();
  await expect(impatient).rejects.toMatchObject({ name: 'AbortError' });
  const patient = other.claim({ digest: lost });
  await first![Symbol.asyncDispose]();
  await using second = await patient;
  expect(second?.offset).toBe(5);
});

test('reconciling keeps a broken download for a day', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  const [fresh, stale] = [digestOf('fresh'), digestOf('stale')];
  for (const digest of [fresh, stale]) {
    await using writer = await store.writer({ digest });
    await writer.write(Buffer.from('x'));
  }
  const dayAgo = new Date(Date.now() - 25 * 3600 * 1000);
  utimesSync(join(dir.path, 'ingest', hexOf(stale)), dayAgo, dayAgo);
  writeFileSync(join(dir.path, 'ingest', 'new-0123'), 'nobody knows what');
  await store.reconcile();
  expect(readdirSync(join(dir.path, 'ingest'))).toEqual([hexOf(fresh)]);
});

test('a blob is followed also when it has its last name already', async () => {
  using dir = scratch();
  using store = await openContentStore(dir.path);
  await using writer = await store.writer({ digest: digestOf('whole') });
  await writer.write(Buffer.from('whole'));
  await writer.commit();
  using growth = writer.follow();
  const buffer = Buffer.alloc(10);
  const size = await readFollowed({ fd: growth.fd, state: growth.state }, buffer, 0);
  expect(buffer.toString('latin1', 0, size)).toBe('whole');
  await writer[Symbol.asyncDispose]();
  expect(() => writer.follow()).toThrow(/its writer is closed/);
});
