import { TareError } from '../errors/index.ts';
import { fromByteString } from '../linux/index.ts';
import { type BlobIngester, type Digest, detectCompression, readTar, type TarStreamEntry } from '../storage/index.ts';
import { archiveName, folderOf, throughLinks } from './archive-names.ts';
import {
  type ArchiveBlob,
  type ArchiveSource,
  describingFiles,
  digestInName,
  MAX_DESCRIPTION_BYTES,
} from './archive-source.ts';
import { BlobIntake } from './blob-intake.ts';
import { type Progress, ProgressPace } from './progress.ts';
import type { Unpacker } from './unpack.ts';

const MAX_ENTRIES = 100_000;
const TAR_MAGIC_OFFSET = 257;
const HEAD_BYTES = TAR_MAGIC_OFFSET + 5;

/**
 * An archive in a tar, read once from front to back: describing files are kept, all others become blobs, and what looks
 * like a layer starts to unpack at once. Archives put their index last, so nobody can know better while they come.
 */
export class TarSource implements ArchiveSource, AsyncDisposable {
  readonly what: string;
  readonly #intake: BlobIntake;
  readonly #unpacker: Unpacker;
  readonly #texts = new Map<string, Buffer>();
  readonly #blobs = new Map<string, Promise<ArchiveBlob>>();
  readonly #links = new Map<string, string>();
  readonly #pace = new ProgressPace();

  constructor(what: string, content: BlobIngester, unpacker: Unpacker) {
    this.what = what;
    this.#intake = new BlobIntake(content);
    this.#unpacker = unpacker;
  }

  /** Reads the whole archive. @throws {TareError} InvalidArgument: damaged, truncated, or a blob is not what its name says */
  async *read(input: AsyncIterable<Uint8Array>): AsyncGenerator<Progress, void> {
    let entries = 0;
    for await (const entry of readTar(input)) {
      entries += 1;
      if (entries > MAX_ENTRIES) {
        throw new TareError('InvalidArgument', `${this.what}: more than ${MAX_ENTRIES} entries`);
      }
      yield* this.#take(entry);
    }
    await this.#intake.settle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#intake[Symbol.asyncDispose]();
  }

  async text(name: string): Promise<Buffer | undefined> {
    return this.#texts.get(name);
  }

  async blob(name: string): Promise<ArchiveBlob | undefined> {
    return await throughLinks(name, this.#blobs, this.#links, this.what);
  }

  async *#take({ header, body }: TarStreamEntry): AsyncGenerator<Progress, void> {
    const name = archiveName(fromByteString(header.path), this.what);
    // The last entry of a name wins, as it does for tar.
    this.#links.delete(name);
    this.#blobs.delete(name);
    if (header.type === 'link') {
      this.#links.set(name, archiveName(fromByteString(header.linkTarget), this.what, folderOf(name)));
    } else if (header.type === 'hardlink') {
      this.#links.set(name, archiveName(fromByteString(header.linkTarget), this.what));
    } else if (header.type === 'file') {
      if (describingFiles.includes(name)) this.#texts.set(name, await this.#readText(name, header.sizeBytes, body));
      else if (!isLegacyLeftover(name)) yield* this.#store(name, header.sizeBytes, body);
    }
  }

  async #readText(name: string, sizeBytes: number, body: AsyncIterable<Uint8Array>): Promise<Buffer> {
    if (sizeBytes > MAX_DESCRIPTION_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `${this.what}: ${name} has ${sizeBytes} bytes, at most ${MAX_DESCRIPTION_BYTES} are allowed`,
      );
    }
    const parts: Buffer[] = [];
    // Copied: a chunk is a view that the next one may overwrite.
    for await (const chunk of body) parts.push(Buffer.from(chunk));
    return Buffer.concat(parts);
  }

  async *#store(name: string, sizeBytes: number, body: AsyncIterable<Uint8Array>): AsyncGenerator<Progress, void> {
    const named = digestInName(name);
    const id = (named?.slice('sha256:'.length) ?? name).slice(0, 12);
    const head = Buffer.alloc(HEAD_BYTES);
    let received = 0;
    let isFollowed = false;
    await using incoming = await this.#intake.begin(sizeBytes);
    for await (const chunk of body) {
      if (received < HEAD_BYTES) head.set(chunk.subarray(0, HEAD_BYTES - received), received);
      received += chunk.byteLength;
      await incoming.write(chunk);
      if (named !== undefined && !isFollowed && received >= HEAD_BYTES && isLayer(head)) {
        this.#unpacker.follow(named, incoming.follow());
        isFollowed = true;
      }
      if (this.#pace.isDue()) yield { id, status: 'Loading layer', currentBytes: received, totalBytes: sizeBytes };
    }
    if (received !== sizeBytes) {
      throw new TareError(
        'InvalidArgument',
        `${this.what}: ${JSON.stringify(name)} is a sparse entry: make the archive without --sparse`,
      );
    }
    const compression = detectCompression(head);
    const { result } = await incoming.commit(
      ({ digest }) => ({ digest, sizeBytes, compression }),
      (digest) => {
        requireNamedDigest(name, digest, this.what);
        if (isLayer(head)) this.#unpacker.follow(digest, incoming.follow());
      },
    );
    this.#blobs.set(name, result);
    if (isLayer(head)) yield { id, status: 'Loading layer', currentBytes: received, totalBytes: sizeBytes };
  }
}

/** @throws {TareError} InvalidArgument: a file below blobs/ whose name is not its digest */
export function requireNamedDigest(name: string, digest: Digest, what: string): void {
  const named = digestInName(name);
  if (named === undefined || named === digest) return;
  throw new TareError(
    'InvalidArgument',
    `${what}: the content of blob ${named} has the digest ${digest}: it is damaged`,
  );
}

const isLayer = (head: Buffer): boolean => detectCompression(head) !== 'none' || isTar(head);
const isTar = (head: Buffer): boolean => head.toString('latin1', TAR_MAGIC_OFFSET, TAR_MAGIC_OFFSET + 5) === 'ustar';

/** Files beside each layer for docker before 1.10, which say nothing that the manifest doesn't. */
const isLegacyLeftover = (name: string): boolean => /^[^/]+\/(json|VERSION)$/.test(name);
