import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { TareError } from '../errors/index.ts';
import { type ContentStore, type Descriptor, digestOf, openContentStore } from '../storage/index.ts';
import { Downloads } from './downloads.ts';
import type { RepositoryReader } from './registry/registry.ts';

interface Lab {
  content: ContentStore;
  ingest(): string[];
}

async function lab(): Promise<Lab> {
  const path = mkdtempSync(join(tmpdir(), 'tare-downloads-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return { content: await openContentStore(path), ingest: () => readdirSync(join(path, 'ingest')) };
}

const descriptorOf = (bytes: Buffer): Descriptor => ({
  mediaType: 'application/octet-stream',
  digest: digestOf(bytes),
  size: bytes.length,
});

/** A repository that has these bytes, and counts what is asked of it. */
class Source {
  readonly offsets: number[] = [];
  /** Bytes that come before it stops until `go`; undefined: all. */
  stopAt: number | undefined;
  failAt: number | undefined;
  isStopped = false;
  #go = Promise.withResolvers<void>();
  readonly #bytes: Buffer;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  go(): void {
    this.#go.resolve();
  }
  get reader(): RepositoryReader {
    return {
      name: { domain: 'registry.test', path: 'a' },
      blob: (_: Descriptor, options?: { offset?: number; signal?: AbortSignal }) =>
        this.#blob(options?.offset ?? 0, options?.signal),
    } as unknown as RepositoryReader;
  }
  async *#blob(offset: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    this.offsets.push(offset);
    for (let at = offset; at < this.#bytes.length; at += 1000) {
      signal?.throwIfAborted();
      if (this.stopAt !== undefined && at >= this.stopAt) {
        const aborted = Promise.withResolvers<never>();
        signal?.addEventListener('abort', () => aborted.reject(signal.reason));
        this.isStopped = true;
        await Promise.race([this.#go.promise, aborted.promise]);
      }
      if (this.failAt !== undefined && at >= this.failAt) throw new TareError('Unavailable', 'the connection broke');
      yield this.#bytes.subarray(at, Math.min(at + 1000, this.#bytes.length));
    }
  }
}

const never = () => new AbortController().signal;

test('a blob that several want is fetched once, and everybody hears of it', async () => {
  const { content, ingest } = await lab();
  const bytes = randomBytes(50_000);
  const source = new Source(bytes);
  source.stopAt = 10_000;
  const downloads = new Downloads(content, 3);
  const counts: number[][] = [[], []];
  const both = [0, 1].map((who) =>
    downloads.fetch([source.reader], descriptorOf(bytes), {
      signal: never(),
      onBytes: (current) => counts[who]!.push(current),
    }),
  );
  source.go();
  await Promise.all(both);
  expect(source.offsets).toEqual([0]);
  expect(counts.map((list) => list.at(-1))).toEqual([50_000, 50_000]);
  expect((await content.read(digestOf(bytes))).equals(bytes)).toBe(true);
  expect(ingest()).toEqual([]);
});

test('one of two gives up: the other gets the blob; both give up: the download ends, and is taken up later', async () => {
  const { content, ingest } = await lab();
  const bytes = randomBytes(50_000);
  const source = new Source(bytes);
  source.stopAt = 10_000;
  const downloads = new Downloads(content, 3);
  const [first, second] = [new AbortController(), new AbortController()];
  const descriptor = descriptorOf(bytes);
  const one = downloads.fetch([source.reader], descriptor, { signal: first.signal });
  const other = downloads.fetch([source.reader], descriptor, { signal: second.signal });
  await expect.poll(() => source.isStopped).toBe(true);
  first.abort(new Error('enough'));
  await expect(one).rejects.toThrow('enough');
  second.abort(new Error('enough too'));
  await expect(other).rejects.toThrow('enough too');
  expect(ingest()).toEqual([descriptor.digest.slice(7)]);
  expect(await content.has(descriptor.digest)).toBe(false);
  source.stopAt = undefined;
  await downloads.fetch([source.reader], descriptor, { signal: never() });
  expect(source.offsets).toEqual([0, 10_000]);
  expect(await content.has(descriptor.digest)).toBe(true);
});

test('no more than the limit at once, in the order asked', async () => {
  const { content } = await lab();
  const blobs = Array.from({ length: 4 }, () => randomBytes(3000));
  const sources = blobs.map((bytes) => {
    const source = new Source(bytes);
    source.stopAt = 1000;
    return source;
  });
  const downloads = new Downloads(content, 2);
  const waited: number[] = [];
  const abort = new AbortController();
  const work = blobs.map((bytes, index) =>
    downloads.fetch([sources[index]!.reader], descriptorOf(bytes), {
      signal: index === 2 ? abort.signal : never(),
      onWaiting: () => waited.push(index),
    }),
  );
  await expect.poll(() => sources.map(({ offsets }) => offsets.length)).toEqual([1, 1, 0, 0]);
  expect(waited).toEqual([2, 3]);
  abort.abort(new Error('not any more'));
  await expect(work[2]).rejects.toThrow('not any more');
  for (const source of sources) source.go();
  await Promise.all([work[0], work[1], work[3]]);
  expect(sources.map(({ offsets }) => offsets.length)).toEqual([1, 1, 0, 1]);
  // The places are free again.
  await downloads.fetch([sources[2]!.reader], descriptorOf(blobs[2]!), { signal: never() });
});

test('what breaks or lies is asked of the next source, which goes on where it can', async () => {
  const { content } = await lab();
  const bytes = randomBytes(50_000);
  const broken = new Source(bytes);
  broken.failAt = 20_000;
  const liar = new Source(randomBytes(50_000));
  const good = new Source(bytes);
  const downloads = new Downloads(content, 1);
  const sources = [broken, liar, good].map(({ reader }) => reader);
  await downloads.fetch(sources, descriptorOf(bytes), { signal: never() });
  // The liar's bytes after the good ones fail, so does a whole blob of them; then all comes from the last.
  expect([broken.offsets, liar.offsets, good.offsets]).toEqual([[0], [20_000, 0], [0]]);
  expect((await content.read(digestOf(bytes))).equals(bytes)).toBe(true);
  const lost = randomBytes(10);
  await expect(downloads.fetch([liar.reader], descriptorOf(lost), { signal: never() })).rejects.toThrow(/longer than/);
});

test('a follower sees the bytes come, from whichever source', async () => {
  const { content } = await lab();
  const bytes = randomBytes(3_000_000);
  const broken = new Source(bytes);
  broken.failAt = 1_500_000;
  const ends: boolean[] = [];
  const growths: { isAbandoned: boolean; [Symbol.dispose](): void }[] = [];
  await new Downloads(content, 1).fetch([broken.reader, new Source(bytes).reader], descriptorOf(bytes), {
    signal: never(),
    onStart: (follow) => growths.push(follow()),
  });
  for (const growth of growths) {
    ends.push(growth.isAbandoned);
    growth[Symbol.dispose]();
  }
  expect(ends).toEqual([true, false]);
});

test('what fails at the sources of one is fetched by the other from its own', async () => {
  const { content } = await lab();
  const bytes = randomBytes(50_000);
  const [broken, whole] = [new Source(bytes), new Source(bytes)];
  broken.stopAt = 10_000;
  broken.failAt = 10_000;
  const downloads = new Downloads(content, 3);
  const one = downloads.fetch([broken.reader], descriptorOf(bytes), { signal: never() });
  one.catch(() => {});
  const sources = [whole.reader];
  const others = [0, 1].map(() => downloads.fetch(sources, descriptorOf(bytes), { signal: never() }));
  await expect.poll(() => broken.isStopped).toBe(true);
  broken.go();
  await expect(one).rejects.toThrow('the connection broke');
  await Promise.all(others);
  expect([broken.offsets, whole.offsets]).toEqual([[0], [10_000]]);
  expect((await content.read(digestOf(bytes))).equals(bytes)).toBe(true);
});

test('a manifest that lies about the size of a blob fails alone', async () => {
  const { content } = await lab();
  const bytes = randomBytes(50_000);
  const source = new Source(bytes);
  source.stopAt = 10_000;
  const downloads = new Downloads(content, 3);
  const descriptor = descriptorOf(bytes);
  const liar = downloads.fetch([source.reader], { ...descriptor, size: 40_000 }, { signal: never() });
  liar.catch(() => {});
  const honest = downloads.fetch([source.reader], descriptor, { signal: never() });
  await expect.poll(() => source.isStopped).toBe(true);
  source.go();
  await expect(liar).rejects.toThrow(/longer than the 40000 bytes announced/);
  await honest;
  expect((await content.read(descriptor.digest)).equals(bytes)).toBe(true);
});
