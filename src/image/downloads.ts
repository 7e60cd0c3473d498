import { kindOf, TareError } from '../errors/index.ts';
import {
  type BlobGrowth,
  type BlobWriter,
  type ContentStore,
  type Descriptor,
  type Digest,
  DigestMismatch,
} from '../storage/index.ts';
import { newPieces, PieceWriter } from './piece-writer.ts';
import type { RepositoryReader } from './registry/registry.ts';

/** What somebody wants to hear of a download, and how to give it up. */
export interface DownloadFollower {
  signal: AbortSignal;
  /** All places for downloads are taken. */
  onWaiting?(): void;
  /** Bytes come in. The growth is the follower's to dispose. May be called again, when another source had to be taken. */
  onStart?(follow: () => BlobGrowth): void;
  onBytes?(currentBytes: number): void;
  /** All bytes are here; they go to the disk. */
  onVerifying?(): void;
}

interface Download {
  sources: readonly RepositoryReader[];
  followers: Set<DownloadFollower>;
  abort: AbortController;
  writer: BlobWriter | undefined;
  isWaiting: boolean;
  done: Promise<void>;
}

/**
 * Fetches blobs into the content store: side by side up to a limit, each once however many pulls want it, and from the
 * byte where an earlier attempt stopped.
 */
export class Downloads {
  readonly #content: ContentStore;
  /** Blobs at once; those under way are not stopped when it falls. */
  limit: number;
  readonly #running = new Map<Digest, Download>();
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(content: ContentStore, limit: number) {
    this.#content = content;
    this.limit = limit;
  }

  /**
   * Makes a blob be in the store. The sources are tried in their order, unless somebody else's have given it by then.
   *
   * @throws {TareError} as `RepositoryReader.blob`; DigestMismatch; the signal's reason
   */
  async fetch(sources: readonly RepositoryReader[], descriptor: Descriptor, follower: DownloadFollower): Promise<void> {
    follower.signal.throwIfAborted();
    const running = this.#running.get(descriptor.digest);
    if (running === undefined || running.abort.signal.aborted) {
      return await this.#untilDone(this.#begin(sources, descriptor, follower), follower);
    }
    try {
      this.#join(running, follower);
      return await this.#untilDone(running, follower);
    } catch (error) {
      // What went wrong at the sources of others, or with what their manifest says of the blob, need not go wrong at ours.
      if (follower.signal.aborted || running.sources === sources) throw error;
    }
    await this.fetch(sources, descriptor, follower);
  }

  async #untilDone({ followers, abort, done }: Download, follower: DownloadFollower): Promise<void> {
    const left = Promise.withResolvers<never>();
    left.promise.catch(() => {}); // nobody waits any more
    const leave = () => {
      followers.delete(follower);
      if (followers.size === 0) abort.abort(follower.signal.reason);
      left.reject(follower.signal.reason);
    };
    follower.signal.addEventListener('abort', leave, { once: true });
    try {
      await Promise.race([done, left.promise]);
    } finally {
      follower.signal.removeEventListener('abort', leave);
      // The last one stays until the file is closed, so that nothing is written after a pull has ended.
      if (abort.signal.aborted) await done.catch(() => {});
    }
  }

  #join(download: Download, follower: DownloadFollower): void {
    download.followers.add(follower);
    const { writer } = download;
    if (download.isWaiting) follower.onWaiting?.();
    if (writer !== undefined) follower.onStart?.(() => writer.follow());
  }

  #begin(sources: readonly RepositoryReader[], descriptor: Descriptor, first: DownloadFollower): Download {
    const download: Download = {
      sources,
      followers: new Set([first]),
      abort: new AbortController(),
      writer: undefined,
      isWaiting: false,
      done: Promise.resolve(),
    };
    this.#running.set(descriptor.digest, download);
    download.done = this.#run(sources, descriptor, download).finally(() => {
      if (this.#running.get(descriptor.digest) === download) this.#running.delete(descriptor.digest);
    });
    download.done.catch(() => {}); // every follower awaits it
    return download;
  }

  async #run(sources: readonly RepositoryReader[], descriptor: Descriptor, download: Download): Promise<void> {
    using _place = await this.#place(download);
    let failure: unknown;
    for (const source of sources) {
      try {
        await this.#download(source, descriptor, download);
        return;
      } catch (error) {
        download.abort.signal.throwIfAborted();
        if (kindOf(error) === 'Internal') throw error;
        failure = error instanceof DigestMismatch ? named(error, source) : error;
      }
    }
    throw failure ?? new TareError('NotFound', `nobody to ask for blob ${descriptor.digest}`);
  }

  async #download(source: RepositoryReader, descriptor: Descriptor, download: Download): Promise<void> {
    const { signal } = download.abort;
    for (;;) {
      const expected = { digest: descriptor.digest, sizeBytes: descriptor.size };
      await using writer = await this.#content.claim(expected, signal);
      if (writer === undefined) return;
      const offset = writer.offset;
      download.writer = writer;
      try {
        for (const { onStart } of download.followers) onStart?.(() => writer.follow());
        await receive(source, descriptor, writer, download);
        return;
      } catch (error) {
        // What an earlier attempt left may be the wrong part: power can cut a file off where it was not synced.
        if (error instanceof DigestMismatch && offset > 0) continue;
        // Who lies about a blob's length has sent nothing worth going on from.
        if (kindOf(error) === 'InvalidArgument') await writer.discard();
        throw error;
      } finally {
        download.writer = undefined;
      }
    }
  }

  /** A place among those that may run at once. */
  async #place(download: Download): Promise<Disposable> {
    if (this.#active >= this.limit) {
      download.isWaiting = true;
      for (const { onWaiting } of download.followers) onWaiting?.();
      const { signal } = download.abort;
      const turn = Promise.withResolvers<void>();
      const leave = () => {
        const position = this.#queue.indexOf(turn.resolve);
        if (position < 0) return; // it has the place already, and gives it back
        this.#queue.splice(position, 1);
        turn.reject(signal.reason);
      };
      this.#queue.push(turn.resolve);
      signal.addEventListener('abort', leave, { once: true });
      await turn.promise;
      signal.removeEventListener('abort', leave);
      download.isWaiting = false;
    } else this.#active += 1;
    return {
      [Symbol.dispose]: () => {
        const next = this.#queue.shift();
        if (next === undefined) this.#active -= 1;
        else next();
      },
    };
  }
}

const named = (error: DigestMismatch, { name }: RepositoryReader): TareError =>
  new TareError('InvalidArgument', `registry ${name.domain}: ${name.path}: ${error.message}`, { cause: error });

async function receive(
  source: RepositoryReader,
  descriptor: Descriptor,
  writer: BlobWriter,
  { followers, abort: { signal } }: Download,
): Promise<void> {
  const pieces = new PieceWriter(writer, newPieces());
  let received = writer.offset;
  try {
    if (received < descriptor.size) {
      for await (const chunk of source.blob(descriptor, { offset: received, signal })) {
        received += chunk.byteLength;
        await pieces.write(chunk);
        for (const { onBytes } of followers) onBytes?.(received);
      }
    }
    await pieces.finish();
  } catch (error) {
    // What came so far is worth keeping for the next attempt.
    await pieces.finish().catch(() => {});
    throw error;
  }
  for (const { onVerifying } of followers) onVerifying?.();
  await writer.commit();
}
