import type { BlobGrowth } from './blob-growth.ts';
import type { Digest } from './digest.ts';

/** A committed blob. */
export interface BlobInfo {
  digest: Digest;
  sizeBytes: number;
  /** Milliseconds since the epoch. */
  modifiedMs: number;
}

/** Read side. Ask for this when you never write. */
export interface BlobReader {
  /** @throws {TareError} NotFound: no committed blob has this digest */
  info(digest: Digest): Promise<BlobInfo>;
  has(digest: Digest): Promise<boolean>;
  /**
   * Streams the blob's bytes from `offset`.
   * @throws {TareError} NotFound
   */
  open(digest: Digest, offset?: number): AsyncIterable<Uint8Array>;
  /**
   * Reads a small blob whole (a manifest, a config) and verifies its digest.
   * @throws {TareError} NotFound; InvalidArgument: larger than `limitBytes` (default 8 MiB)
   */
  read(digest: Digest, limitBytes?: number): Promise<Buffer>;
  /** The committed blob's path, for a worker that reads it by itself. @throws {TareError} NotFound */
  path(digest: Digest): Promise<string>;
  walk(): AsyncIterable<BlobInfo>;
  /** The names alone, for whoever would look at each blob for nothing else. */
  digests(): Promise<readonly Digest[]>;
}

/** Blobs that can be made again at any time, and so are not stored before somebody reads them. */
export interface DerivedBlobs {
  /** @returns undefined: it is none of them */
  sizeOf(digest: Digest): number | undefined;
  /**
   * Writes it into an empty file.
   * @returns its size
   * @throws {DigestMismatch} what it is made of is damaged
   */
  write(digest: Digest, fd: number): Promise<number>;
}

/** What a writer knows of the blob before it has the bytes. */
export interface ExpectedBlob {
  digest?: Digest;
  sizeBytes?: number;
}

/** Write side. A blob is invisible to readers until commit. */
export interface BlobIngester {
  /** Starts writing, or (when the digest is expected) resumes where the last writer of this blob stopped. */
  writer(expected?: ExpectedBlob): Promise<BlobWriter>;
  /**
   * The same for a blob whose digest is expected, but waits while another process writes it.
   * @returns undefined: it is stored
   */
  claim(expected: ExpectedBlob & { digest: Digest }, signal?: AbortSignal): Promise<BlobWriter | undefined>;
  /**
   * Has somebody else (a thread) write a blob into an empty file and hash it on the way; what he says of it is believed.
   * Nothing is kept when he throws.
   */
  take(write: (fd: number) => Promise<{ digest: Digest; sizeBytes: number }>): Promise<BlobInfo>;
  /** Writes a small blob whole. */
  put(bytes: Uint8Array): Promise<BlobInfo>;
  /** How many blobs came in this way since the store was opened. */
  readonly arrivals: number;
}

/** Disposing without commit keeps bytes of an expected digest for a later resume, and drops others. */
export interface BlobWriter extends AsyncDisposable {
  /** Bytes already stored. */
  readonly offset: number;
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Lets a reader keep pace with what is written. Dispose it once nobody reads; disposing the writer without a commit ends
   * it as abandoned.
   */
  follow(): BlobGrowth;
  /**
   * Compares what was written with what was expected. Call it when all is written.
   * @returns its digest
   * @throws as `commit`
   */
  verify(): Promise<Digest>;
  /**
   * Verifies, syncs, publishes. Idempotent: success means "the blob is stored", not "I stored it".
   * @throws {DigestMismatch} the bytes are not the expected ones; they are dropped
   */
  commit(): Promise<BlobInfo>;
  /** Drops the bytes of an expected digest too: they turned out to be of no use. */
  discard(): Promise<void>;
}

export interface ContentStore extends BlobReader, BlobIngester {
  /** Removes a committed blob; no error when there is none. */
  delete(digest: Digest): Promise<void>;
  /**
   * Removes half-written blobs that no living process writes, but for those of an expected digest that were written to
   * within a day: their download may be taken up again. Safe beside other processes.
   */
  reconcile(): Promise<void>;
}
