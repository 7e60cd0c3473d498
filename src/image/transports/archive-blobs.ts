import type { Descriptor, Digest } from '../../storage/index.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { verified } from './hashed-bytes.ts';
import type { PutBlobOptions } from './image-destination.ts';
import type { TarWriter } from './tar-writer.ts';

/** Blobs of an archive that is being written, each once. */
export class ArchiveBlobs {
  readonly #tar: TarWriter;
  readonly #written = new Map<Digest, Promise<void>>();

  constructor(tar: TarWriter) {
    this.#tar = tar;
  }

  has(digest: Digest): boolean {
    return this.#written.has(digest);
  }

  /** @throws {DigestMismatch} the archive must not be published then */
  async put(
    name: string,
    descriptor: Descriptor,
    bytes: BlobBytes,
    { signal, onProgress }: PutBlobOptions = {},
  ): Promise<'existed' | 'stored'> {
    const known = this.#written.get(descriptor.digest);
    if (known !== undefined) {
      await known;
      return 'existed';
    }
    const writing = (async () => {
      const room = await this.#tar.reserve(name, descriptor.size);
      let offset = 0;
      for await (const chunk of verified(bytes(0), descriptor, `blob ${descriptor.digest}`)) {
        signal?.throwIfAborted();
        await room.write(chunk, offset);
        offset += chunk.byteLength;
        onProgress?.(offset);
      }
    })();
    this.#written.set(descriptor.digest, writing);
    await writing;
    return 'stored';
  }
}
