import { createHash, type Hash, randomBytes } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  fstatSync,
  fsync as fsyncCallback,
  ftruncate as ftruncateCallback,
  mkdirSync,
  openSync,
  statSync,
  write as writeCallback,
} from 'node:fs';
import { readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { TareError } from '../errors/index.ts';
import { type FileLock, startWriteback, tryFlock } from '../linux/index.ts';
import { BlobGrowth } from './blob-growth.ts';
import type { BlobInfo, BlobWriter, ContentStore, DerivedBlobs, ExpectedBlob } from './content-store.ts';
import { type Digest, DigestMismatch, digestOf, hexOf } from './digest.ts';

const fsync = promisify(fsyncCallback);
const ftruncate = promisify(ftruncateCallback);
const write = promisify(writeCallback);

const READ_LIMIT_BYTES = 8 * 1024 * 1024;
/** How much may wait in the page cache before it is sent to the disk: commit then waits for the last piece only. */
const WRITEBACK_BYTES = 8 * 1024 * 1024;
/** How long a broken download waits to be taken up again. */
const RESUMABLE_MS = 24 * 3600 * 1000;
/** How often a writer in another process is looked at. */
const CLAIM_MS = 50;

const isCode = (error: unknown, code: string): boolean => (error as { code?: unknown } | null)?.code === code;

/**
 * Opens (and makes, mode 0700) a content store in the form of an OCI image layout (image-spec, image-layout.md):
 * `blobs/sha256/HEX`, with `ingest/` beside it for blobs that are still being written.
 *
 * @param derived blobs that it has as well, written when they are read; `walk` tells of those that were
 */
export async function openContentStore(
  directory: string,
  derived?: DerivedBlobs,
): Promise<DiskContentStore & Disposable> {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true, mode: 0o700 });
  mkdirSync(join(directory, 'ingest'), { recursive: true, mode: 0o700 });
  await writeOnce(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeOnce(join(directory, 'index.json'), '{"schemaVersion":2,"manifests":[]}');
  return new DiskContentStore(directory, derived);
}

/** Publishes a small constant file; of two processes that do it at once, either wins. */
async function writeOnce(path: string, text: string): Promise<void> {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > 0) return;
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, text, { mode: 0o600, flush: true });
  await rename(draft, path);
}

/** Where blobs become visible. */
interface BlobFolder {
  readonly path: string;
  /** How many did, from here. */
  arrivals: number;
}

class DiskContentStore implements ContentStore, Disposable {
  readonly #blobs: BlobFolder;
  readonly #ingest: string;

  readonly #derived: DerivedBlobs | undefined;
  readonly #making = new Map<Digest, Promise<unknown>>();

  constructor(directory: string, derived: DerivedBlobs | undefined) {
    this.#derived = derived;
    this.#blobs = { path: join(directory, 'blobs', 'sha256'), arrivals: 0 };
    this.#ingest = join(directory, 'ingest');
  }

  get arrivals(): number {
    return this.#blobs.arrivals;
  }

  async info(digest: Digest): Promise<BlobInfo> {
    // A look at one name takes microseconds; going to another thread for it takes ten times that, for each layer of an image.
    const found = statSync(this.#path(digest), { throwIfNoEntry: false });
    if (found !== undefined) return { digest, sizeBytes: found.size, modifiedMs: found.mtimeMs };
    const sizeBytes = this.#derived?.sizeOf(digest);
    if (sizeBytes === undefined) throw notFound(digest);
    return { digest, sizeBytes, modifiedMs: 0 };
  }

  async has(digest: Digest): Promise<boolean> {
    return this.#isStored(digest) || this.#derived?.sizeOf(digest) !== undefined;
  }

  async *open(digest: Digest, offset = 0): AsyncGenerator<Uint8Array, void, void> {
    const stream = createReadStream(await this.path(digest), { start: offset, highWaterMark: 256 * 1024 });
    try {
      yield* stream as AsyncIterable<Buffer>;
    } catch (error) {
      throw isCode(error, 'ENOENT') ? notFound(digest) : error;
    }
  }

  async read(digest: Digest, limitBytes = READ_LIMIT_BYTES): Promise<Buffer> {
    const { sizeBytes } = await this.info(digest);
    if (sizeBytes > limitBytes) {
      throw new TareError(
        'InvalidArgument',
        `blob ${digest} has ${sizeBytes} bytes; at most ${limitBytes} are read whole`,
      );
    }
    const bytes = await readFile(await this.path(digest));
    const actual = digestOf(bytes);
    if (actual !== digest) throw new DigestMismatch('a stored blob', digest, actual);
    return bytes;
  }

  async path(digest: Digest): Promise<string> {
    if (!this.#isStored(digest)) await this.#make(digest);
    return this.#path(digest);
  }

  #isStored(digest: Digest): boolean {
    return statSync(this.#path(digest), { throwIfNoEntry: false }) !== undefined;
  }

  async #make(digest: Digest): Promise<void> {
    const derived = this.#derived;
    if (derived?.sizeOf(digest) === undefined) throw notFound(digest);
    const known = this.#making.get(digest);
    const work = known ?? this.take(async (fd) => ({ digest, sizeBytes: await derived.write(digest, fd) }));
    this.#making.set(digest, work);
    try {
      await work;
    } finally {
      this.#making.delete(digest);
    }
  }

  async *walk(): AsyncGenerator<BlobInfo, void, void> {
    for (const digest of await this.digests()) {
      try {
        yield await this.info(digest);
      } catch (error) {
        // Deleted since the folder was read.
        if (!(error instanceof TareError && error.kind === 'NotFound')) throw error;
      }
    }
  }

  async digests(): Promise<readonly Digest[]> {
    return (await readdir(this.#blobs.path)).map((name) => `sha256:${name}` as Digest);
  }

  async writer(expected: ExpectedBlob = {}): Promise<BlobWriter> {
    const { digest } = expected;
    if (digest !== undefined) {
      const path = join(this.#ingest, hexOf(digest));
      const lock = tryFlock(path);
      // Another living writer has this blob half: we write our own copy, and whoever is first publishes.
      if (lock !== undefined) return await DiskBlobWriter.resume(lock, path, this.#blobs, expected);
    }
    const path = join(this.#ingest, `new-${randomBytes(12).toString('hex')}`);
    const lock = tryFlock(path);
    if (lock === undefined) throw new TareError('Internal', `somebody else holds ${path}`);
    return new DiskBlobWriter(lock, path, this.#blobs, expected);
  }

  async claim(expected: ExpectedBlob & { digest: Digest }, signal?: AbortSignal): Promise<BlobWriter | undefined> {
    const path = join(this.#ingest, hexOf(expected.digest));
    for (;;) {
      if (await this.has(expected.digest)) return undefined;
      const lock = tryFlock(path);
      if (lock === undefined) {
        await sleep(CLAIM_MS, undefined, signal ? { signal } : {});
        continue;
      }
      // It may have been published between the look and the lock.
      if (!(await this.has(expected.digest))) return await DiskBlobWriter.resume(lock, path, this.#blobs, expected);
      await rm(path, { force: true });
      lock[Symbol.dispose]();
    }
  }

  async take(write: (fd: number) => Promise<{ digest: Digest; sizeBytes: number }>): Promise<BlobInfo> {
    const path = join(this.#ingest, `new-${randomBytes(12).toString('hex')}`);
    using lock = tryFlock(path);
    if (lock === undefined) throw new TareError('Internal', `somebody else holds ${path}`);
    try {
      const { digest, sizeBytes } = await write(lock.fd);
      await fsync(lock.fd);
      await rename(path, this.#path(digest));
      this.#blobs.arrivals += 1;
      await syncDirectory(this.#blobs.path);
      return { digest, sizeBytes, modifiedMs: Date.now() };
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  async put(bytes: Uint8Array): Promise<BlobInfo> {
    const digest = digestOf(bytes);
    if (await this.has(digest)) return await this.info(digest);
    return await this.take(async (fd) => {
      await writeWhole(fd, bytes, 0, 'a blob');
      return { digest, sizeBytes: bytes.length };
    });
  }

  async delete(digest: Digest): Promise<void> {
    await rm(this.#path(digest), { force: true });
  }

  async reconcile(): Promise<void> {
    for (const name of await readdir(this.#ingest)) {
      const path = join(this.#ingest, name);
      // A living writer holds the lock on its file.
      using lock = tryFlock(path);
      if (lock === undefined) continue;
      const isResumable = /^[0-9a-f]{64}$/.test(name) && Date.now() - fstatSync(lock.fd).mtimeMs < RESUMABLE_MS;
      if (!isResumable) await rm(path, { force: true });
    }
  }

  [Symbol.dispose](): void {}

  #path(digest: Digest): string {
    return join(this.#blobs.path, hexOf(digest));
  }
}

const notFound = (digest: Digest): TareError => new TareError('NotFound', `no blob ${digest} in the content store`);

class DiskBlobWriter implements BlobWriter {
  readonly #lock: FileLock;
  readonly #path: string;
  readonly #blobs: BlobFolder;
  readonly #expected: ExpectedBlob;
  #hash: Hash = createHash('sha256');
  #offset = 0;
  #flushed = 0;
  #flushing: Promise<void> = Promise.resolve();
  #committed: BlobInfo | undefined;
  #isDropped = false;
  #isClosed = false;
  #verified: Digest | undefined;
  readonly #followers: BlobGrowth[] = [];

  constructor(lock: FileLock, path: string, blobs: BlobFolder, expected: ExpectedBlob) {
    this.#lock = lock;
    this.#path = path;
    this.#blobs = blobs;
    this.#expected = expected;
  }

  /** Goes on where an earlier writer stopped: its bytes are read once more for the hash. */
  static async resume(
    lock: FileLock,
    path: string,
    blobs: BlobFolder,
    expected: ExpectedBlob,
  ): Promise<DiskBlobWriter> {
    const writer = new DiskBlobWriter(lock, path, blobs, expected);
    const { size } = await stat(path);
    if (expected.sizeBytes !== undefined && size > expected.sizeBytes) {
      await ftruncate(lock.fd, 0);
    } else if (size > 0) {
      for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) writer.#hash.update(chunk);
      writer.#offset = size;
    }
    return writer;
  }

  get offset(): number {
    return this.#offset;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { sizeBytes } = this.#expected;
    if (sizeBytes !== undefined && this.#offset + chunk.length > sizeBytes) {
      await this.#drop();
      throw new TareError('InvalidArgument', `${this.#what()} is longer than the ${sizeBytes} bytes announced`);
    }
    this.#hash.update(chunk);
    await writeWhole(this.#lock.fd, chunk, this.#offset, this.#what());
    this.#offset += chunk.length;
    for (const follower of this.#followers) follower.grow(this.#offset);
    if (this.#offset - this.#flushed >= WRITEBACK_BYTES) {
      const from = this.#flushed;
      this.#flushed = this.#offset;
      this.#flushing = this.#flushing.then(() => startWriteback(this.#lock.fd, from, this.#flushed - from));
    }
  }

  follow(): BlobGrowth {
    // The number may be another file's by now.
    if (this.#isClosed) throw new TareError('Internal', `${this.#what()}: its writer is closed`);
    // By the open file: while `commit` waits for the disk, its name is another one already.
    const growth = new BlobGrowth(openSync(`/proc/self/fd/${this.#lock.fd}`, 'r'));
    growth.grow(this.#offset);
    if (this.#verified !== undefined) growth.complete(this.#verified);
    this.#followers.push(growth);
    return growth;
  }

  async verify(): Promise<Digest> {
    const { digest: expected, sizeBytes } = this.#expected;
    const digest = `sha256:${this.#hash.copy().digest('hex')}` as Digest;
    if (sizeBytes !== undefined && sizeBytes !== this.#offset) {
      await this.#drop();
      throw new TareError(
        'InvalidArgument',
        `${this.#what()} has ${this.#offset} bytes, ${sizeBytes} were announced: it is truncated`,
      );
    }
    if (expected !== undefined && expected !== digest) {
      await this.#drop();
      throw new DigestMismatch('a blob', expected, digest);
    }
    // The bytes are right: whoever reads along need not wait for the disk.
    for (const follower of this.#followers) follower.complete(digest);
    this.#verified = digest;
    return digest;
  }

  async commit(): Promise<BlobInfo> {
    if (this.#committed !== undefined) return this.#committed;
    const digest = await this.verify();
    await this.#flushing;
    await fsync(this.#lock.fd);
    await rename(this.#path, join(this.#blobs.path, hexOf(digest)));
    this.#blobs.arrivals += 1;
    await syncDirectory(this.#blobs.path);
    this.#committed = { digest, sizeBytes: this.#offset, modifiedMs: Date.now() };
    return this.#committed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const follower of this.#followers) follower.abandon();
    await this.#flushing.catch(() => {});
    const isResumable = this.#expected.digest !== undefined && this.#offset > 0;
    if (this.#committed === undefined && !isResumable) await this.#drop();
    this.#isClosed = true;
    this.#lock[Symbol.dispose]();
  }

  async discard(): Promise<void> {
    await this.#drop();
  }

  /** What was written is of no use: unlinked while the lock is held, so that nobody resumes it. */
  async #drop(): Promise<void> {
    if (this.#isDropped) return;
    this.#isDropped = true;
    await unlink(this.#path).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT')) throw error;
    });
  }

  #what(): string {
    return this.#expected.digest === undefined ? 'a blob' : `blob ${this.#expected.digest}`;
  }
}

/** @param what is stored @throws {TareError} Unavailable: no space left */
async function writeWhole(fd: number, bytes: Uint8Array, offset: number, what: string): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await write(fd, bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
  } catch (error) {
    if (!isCode(error, 'ENOSPC') && !isCode(error, 'EDQUOT')) throw error;
    const problem = `no space left on device while storing ${what}: free some space and try again`;
    throw new TareError('Unavailable', problem, { cause: error });
  }
}

/** Makes renames into a folder last. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = openSync(path, 'r');
  try {
    await fsync(fd);
  } finally {
    closeSync(fd);
  }
}
