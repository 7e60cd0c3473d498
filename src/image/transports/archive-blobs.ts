import { TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { abortable, verified } from './hashed-bytes.ts';
import type { PutBlobOptions } from './image-destination.ts';
import type { TarRoom, TarWriter } from './tar-writer.ts';

/** A blob that has its place in the tar. */
interface Placed {
  room: Promise<TarRoom>;
  /** Undefined: it was tried and failed; the room is there for another try. */
  writing: Promise<void> | undefined;
  isWhole: boolean;
}

/** Blobs of an archive that is being written, each once. */
export class ArchiveBlobs {
  readonly #tar: TarWriter;
  readonly #placed = new Map<Digest, Placed>();

  constructor(tar: TarWriter) {
    this.#tar = tar;
  }

  has(digest: Digest): boolean {
    return this.#placed.get(digest)?.isWhole === true;
  }

  /** @throws {DigestMismatch} the blob is not there then, and the archive cannot be finished without it */
  async put(
    name: string,
    descriptor: Descriptor,
    bytes: BlobBytes,
    options: PutBlobOptions = {},
  ): Promise<'existed' | 'stored'> {
    let placed = this.#placed.get(descriptor.digest);
    if (placed?.writing !== undefined) {
      await placed.writing;
      return 'existed';
    }
    placed ??= { room: this.#tar.reserve(name, descriptor.size), writing: undefined, isWhole: false };
    this.#placed.set(descriptor.digest, placed);
    placed.writing = write(await placed.room, descriptor, bytes, options);
    try {
      await placed.writing;
      placed.isWhole = true;
    } catch (error) {
      placed.writing = undefined;
      throw error;
    }
    return 'stored';
  }

  /** @throws {TareError} Internal: a blob was begun and is not whole */
  requireWhole(): void {
    for (const [digest, { isWhole }] of this.#placed) {
      if (!isWhole) throw new TareError('Internal', `blob ${digest} was not written to ${this.#tar.path}`);
    }
  }
}

async function write(
  room: TarRoom,
  descriptor: Descriptor,
  bytes: BlobBytes,
  { signal, onProgress }: PutBlobOptions,
): Promise<void> {
  const checked = verified(bytes(0), descriptor, `blob ${descriptor.digest}`);
  await room.write(abortable(checked, signal), onProgress);
}
