import { messageOf, TareError } from '../errors/index.ts';
import {
  isIndexType,
  isManifestType,
  parseReference,
  type Reference,
  type Registries,
  type RepositoryReader,
} from '../image/index.ts';
import type { DiffID, Digest } from '../storage/index.ts';
import type { ImageParts } from './image-parts.ts';
import type { RecordedImage } from './image-records.ts';
import type { VerifyOptions } from './verify-types.ts';

/** A blob to be fetched again. */
export interface LostBlob {
  digest: Digest;
  sizeBytes: number | undefined;
  mediaType: string | undefined;
  users: readonly RecordedImage[];
}

/** Makes damaged content whole, from where it came. */
export class RepairShop {
  readonly #parts: ImageParts;
  readonly #registries: Registries | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(parts: ImageParts, { registries, signal }: Pick<VerifyOptions, 'registries' | 'signal'>) {
    this.#parts = parts;
    this.#registries = registries;
    this.#signal = signal;
  }

  /**
   * Fetches a blob again, in the place of the damaged one, which stays until the new one is verified.
   *
   * @throws {TareError} NotFound: no registry is known to have it; Unavailable: none of them gave it
   */
  async fetch(blob: LostBlob): Promise<void> {
    const origins = this.#origins(blob);
    if (origins.length === 0) {
      throw new TareError('NotFound', 'no registry is known to have it: load or pull the image again');
    }
    const registries = this.#registries ?? (await this.#parts.registries());
    const failures: string[] = [];
    for (const origin of origins) {
      for (const source of registries.sources(origin)) {
        try {
          return await this.#fetchFrom(source, blob);
        } catch (error) {
          this.#signal?.throwIfAborted();
          failures.push(`${source.name.domain}/${source.name.path}: ${messageOf(error)}`);
        }
      }
    }
    throw new TareError('Unavailable', failures.join('; '));
  }

  /** Unpacks a layer again. @throws {TareError} NotFound: its blob is not here; Conflict: it is in use */
  async unpackAgain(diffID: DiffID, digest: Digest): Promise<void> {
    const { content, layers } = this.#parts;
    await layers.replace(diffID, { path: await content.path(digest) }, this.#signal);
  }

  async #fetchFrom(
    source: RepositoryReader,
    { digest, sizeBytes, mediaType = 'application/octet-stream' }: LostBlob,
  ): Promise<void> {
    const options = this.#signal === undefined ? {} : { signal: this.#signal };
    const { content } = this.#parts;
    if (isManifestType(mediaType) || isIndexType(mediaType)) {
      const { bytes } = await source.manifest({ digest }, options);
      await using writer = await content.writer({ digest, sizeBytes: bytes.byteLength });
      await writer.write(bytes.subarray(writer.offset));
      await writer.commit();
      return;
    }
    const size = sizeBytes ?? (await source.blobSize(digest, options));
    if (size === undefined) throw new TareError('NotFound', 'it has no such blob');
    await using writer = await content.writer({ digest, sizeBytes: size });
    for await (const chunk of source.blob({ mediaType, digest, size }, { ...options, offset: writer.offset })) {
      await writer.write(chunk);
    }
    await writer.commit();
  }

  /** Repositories that had the blob, or an image with it. */
  #origins({ digest, users }: LostBlob): Reference[] {
    const known = this.#parts.db.all<{ domain: string; path: string }>(
      'SELECT domain, path FROM blob_sources WHERE digest = ?',
      digest,
    );
    const named = users.flatMap(({ repoDigests }) => repoDigests.map(parseReference));
    const all = [...known, ...named].map(({ domain, path }): Reference => ({ domain, path }));
    return [...new Map(all.map((origin) => [`${origin.domain}/${origin.path}`, origin])).values()];
  }
}
