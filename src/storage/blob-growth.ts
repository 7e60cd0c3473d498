import { closeSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { type Digest, hexOf } from './digest.ts';

/** How long a thread that waits for bytes stays deaf to its messages. */
const WAIT_MS = 50;

const GROWING = 0;
const WHOLE = 1;
const ABANDONED = 2;

/**
 * Views of the shared memory: bytes in the file (8 bytes), then the status and a count of changes (4 bytes each), and once it is
 * whole its SHA-256.
 */
const STATE_BYTES = 16;
const HASH_BYTES = 32;
const hashOf = (state: SharedArrayBuffer) => Buffer.from(state, STATE_BYTES, HASH_BYTES);
const sizeOf = (state: SharedArrayBuffer) => new BigInt64Array(state, 0, 1);
const wordsOf = (state: SharedArrayBuffer) => new Int32Array(state, 8, 2);
const STATUS = 0;
const CHANGES = 1;

/** What a thread needs to read along: plain data, so that it can be sent there. */
export interface FollowedBlob {
  /** A descriptor of this process, open for reading until the follower has ended. */
  fd: number;
  /** Absent: the file is whole. */
  state?: SharedArrayBuffer;
}

/**
 * A blob that is still being written, for a reader that keeps pace: a layer unpacks while it arrives. What is read is not
 * verified yet; whoever uses it must compare a digest of its own, or wait for the commit.
 */
export class BlobGrowth implements Disposable {
  readonly fd: number;
  readonly state = new SharedArrayBuffer(STATE_BYTES + HASH_BYTES);
  readonly #size = sizeOf(this.state);
  readonly #words = wordsOf(this.state);

  /** @param fd the blob's file, open for reading: the growth closes it */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** The writer gave it up: its bytes will never be whole. */
  get isAbandoned(): boolean {
    return Atomics.load(this.#words, STATUS) === ABANDONED;
  }

  /** Says that so many bytes can be read. */
  grow(sizeBytes: number): void {
    Atomics.store(this.#size, 0, BigInt(sizeBytes));
    this.#tell();
  }

  /** Says that all bytes are there, and what their digest is. Of this and `abandon` the first counts. */
  complete(digest: Digest): void {
    if (Atomics.load(this.#words, STATUS) !== GROWING) return;
    hashOf(this.state).write(hexOf(digest), 'hex');
    this.#end(WHOLE);
  }

  /** Says that no more will come. */
  abandon(): void {
    this.#end(ABANDONED);
  }

  #end(status: number): void {
    Atomics.compareExchange(this.#words, STATUS, GROWING, status);
    this.#tell();
  }

  /** Call it once no follower reads any more. */
  [Symbol.dispose](): void {
    closeSync(this.fd);
  }

  #tell(): void {
    Atomics.add(this.#words, CHANGES, 1);
    Atomics.notify(this.#words, CHANGES);
  }
}

/** The digest that a blob's writer found, for whoever has read all of it; undefined: nobody wrote it meanwhile. */
export const digestFound = ({ state }: FollowedBlob): Digest | undefined =>
  state === undefined || Atomics.load(wordsOf(state), STATUS) !== WHOLE
    ? undefined
    : (`sha256:${hashOf(state).toString('hex')}` as Digest);

/** Whether whoever reads a blob may still have to wait for its writer. */
export const isGrowing = ({ state }: FollowedBlob): boolean =>
  state !== undefined && Atomics.load(wordsOf(state), STATUS) === GROWING;

/**
 * Reads the next bytes of a blob, waiting for them if it still grows. For threads: the wait blocks.
 *
 * @param position offset in the file
 * @returns bytes read, 0 at the end
 * @throws an AbortError: the writer gave the blob up, or the signal was aborted
 */
export async function readFollowed(
  blob: FollowedBlob,
  buffer: Uint8Array,
  position: number,
  signal?: AbortSignal,
): Promise<number> {
  if (blob.state === undefined) return readSync(blob.fd, buffer, 0, buffer.byteLength, position);
  const [size, words] = [sizeOf(blob.state), wordsOf(blob.state)];
  for (;;) {
    const changes = Atomics.load(words, CHANGES);
    const status = Atomics.load(words, STATUS);
    if (status === ABANDONED) throw new DOMException('the blob was given up by its writer', 'AbortError');
    const available = Number(Atomics.load(size, 0)) - position;
    if (available > 0) return readSync(blob.fd, buffer, 0, Math.min(available, buffer.byteLength), position);
    if (status === WHOLE) return 0;
    Atomics.wait(words, CHANGES, changes, WAIT_MS);
    await setImmediate(); // messages come in, a cancellation among them
    signal?.throwIfAborted();
  }
}
