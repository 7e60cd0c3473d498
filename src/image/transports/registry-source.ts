import { kindOf, TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import { familiar, type Reference } from '../reference.ts';
import type {
  Credentials,
  ManifestName,
  Registries,
  RepositoryName,
  RepositoryReader,
  RequestOptions,
} from '../registry/registry.ts';
import type { BlobRange, ImageDocument, ImageSource } from './image-source.ts';

/** Who asks a registry, and until when. */
export interface RegistryOptions {
  credentials?: Credentials | undefined;
  signal?: AbortSignal | undefined;
}

/** An image in a registry, read from its mirrors first. */
export class RegistrySource implements ImageSource {
  readonly what: string;
  readonly reference: Reference;
  readonly #readers: readonly RepositoryReader[];
  readonly #request: RequestOptions;
  /** Of `#readers`: the first that answered. */
  #chosen = 0;
  #root: Promise<ImageDocument> | undefined;

  constructor(registries: Registries, reference: Reference, what: string, options: RegistryOptions = {}) {
    this.what = what;
    this.reference = reference;
    this.#readers = registries.sources(reference, options.credentials);
    this.#request = options.signal === undefined ? {} : { signal: options.signal };
  }

  /** Blobs can be mounted only inside the registry that holds them, so a mirror counts as itself. */
  get repository(): RepositoryName | undefined {
    return this.reader?.name;
  }

  get reader(): RepositoryReader | undefined {
    return this.#readers[this.#chosen];
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  root(): Promise<ImageDocument> {
    const { tag, digest } = this.reference;
    const name: ManifestName = digest === undefined ? { tag: tag! } : { digest };
    this.#root ??= this.#ask(async (reader, position) => {
      const document = await reader.manifest(name, this.#request);
      this.#chosen = position;
      return document;
    }, 0);
    return this.#root;
  }

  manifest(descriptor: Descriptor): Promise<ImageDocument> {
    return this.#ask((reader) => reader.manifest({ digest: descriptor.digest }, this.#request));
  }

  async *blob(descriptor: Descriptor, range: BlobRange = {}): AsyncGenerator<Uint8Array, void, void> {
    let offset = range.offset ?? 0;
    const readers = this.#readers.slice(this.#chosen);
    for (const [position, reader] of readers.entries()) {
      try {
        const request = range.signal === undefined ? this.#request : { signal: range.signal };
        for await (const chunk of reader.blob(descriptor, { offset, ...request })) {
          offset += chunk.byteLength;
          yield chunk;
        }
        return;
      } catch (error) {
        if (position === readers.length - 1 || !mayHaveElsewhere(error)) throw error;
      }
    }
  }

  referrers(digest: Digest): Promise<Descriptor[]> {
    // A mirror need not know what was attached since.
    return this.#readers.at(-1)!.referrers(digest, this.#request);
  }

  async tagged(tag: string): Promise<ImageDocument | undefined> {
    try {
      return await this.#readers.at(-1)!.manifest({ tag }, this.#request);
    } catch (error) {
      if (kindOf(error) === 'NotFound') return undefined;
      throw error;
    }
  }

  async signatures(): Promise<Buffer[]> {
    return [];
  }

  async #ask<T>(
    question: (reader: RepositoryReader, position: number) => Promise<T>,
    first = this.#chosen,
  ): Promise<T> {
    for (let position = first; position < this.#readers.length; position += 1) {
      try {
        return await question(this.#readers[position]!, position);
      } catch (error) {
        if (position === this.#readers.length - 1 || !mayHaveElsewhere(error)) throw error;
      }
    }
    throw new TareError('NotFound', `${familiar(this.reference)}: no registry is configured for it`);
  }
}

/** Whether another mirror, or the registry itself, may still have what this one did not give. */
function mayHaveElsewhere(error: unknown): boolean {
  return ['NotFound', 'Unavailable', 'Unauthorized', 'Forbidden', 'InvalidArgument'].includes(kindOf(error));
}
