import { TareError } from '../../errors/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import { digestOf } from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import type { BlobBytes, Registries, Repository, RequestOptions } from '../registry/registry.ts';
import { verified } from './hashed-bytes.ts';
import {
  type DestinationRules,
  type ImageDestination,
  type ManifestRole,
  noSignatures,
  type PutBlobOptions,
} from './image-destination.ts';
import type { RegistryOptions } from './registry-source.ts';

/** A tag or digest in a registry. Every manifest is visible at once, so the root comes last. */
export class RegistryDestination implements ImageDestination {
  readonly what: string;
  readonly reference: Reference;
  readonly rules: DestinationRules;
  readonly #repository: Repository;
  readonly #request: RequestOptions;

  constructor(registries: Registries, reference: Reference, what: string, options: RegistryOptions = {}) {
    this.what = what;
    this.reference = reference;
    this.#repository = registries.repository(reference, options.credentials);
    this.#request = options.signal === undefined ? {} : { signal: options.signal };
    this.rules = {
      manifestTypes: [mediaTypes.manifest, mediaTypes.dockerManifest],
      indexes: true,
      artifacts: true,
      layers: 'compress',
      foreignLayers: true,
      signatures: false,
      referrers: true,
      digest: reference.digest,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async hasBlob(descriptor: Descriptor): Promise<boolean> {
    return (await this.#repository.blobSize(descriptor.digest, this.#request)) === descriptor.size;
  }

  async putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}) {
    const { signal, origin, onProgress } = options;
    const from = origin !== undefined && origin.domain === this.reference.domain ? [origin.path] : [];
    // Hashed on the way, so that a bad source is told from a bad registry. An upload that goes on in the middle is the
    // registry's to verify, as it does with all.
    const checked: BlobBytes = (offset) =>
      offset === 0 ? verified(bytes(0), descriptor, `blob ${descriptor.digest}`) : bytes(offset);
    const result = await this.#repository.putBlob(descriptor, checked, {
      from: from.filter((path) => path !== this.reference.path),
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    return result === 'uploaded' ? 'stored' : result;
  }

  async putManifest(mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    const { tag, digest } = this.reference;
    if (role === 'part' || role === 'referrer')
      await this.#repository.putManifest({ digest: digestOf(bytes) }, mediaType, bytes, this.#request);
    else if (role !== 'root') await this.#repository.putManifest(role, mediaType, bytes, this.#request);
    else if (digest === undefined) await this.#repository.putManifest({ tag: tag! }, mediaType, bytes, this.#request);
    else if (digest === digestOf(bytes))
      await this.#repository.putManifest({ digest }, mediaType, bytes, this.#request);
    else {
      throw new TareError(
        'InvalidArgument',
        `${this.what}: the manifest has the digest ${digestOf(bytes)}: name that one, or a tag`,
      );
    }
  }

  async putSignatures(): Promise<void> {
    noSignatures(this.what);
  }

  async commit(): Promise<void> {}
}
