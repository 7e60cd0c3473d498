import { kindOf, TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, digestOf, isDigest } from '../../storage/index.ts';
import { MAX_MANIFEST_BYTES, mediaTypes } from '../manifest.ts';
import { type BlobOptions, blobSize, downloadBlob } from './blob-download.ts';
import { type UploadOptions, uploadBlob } from './blob-upload.ts';
import type { WireResponse } from './exchange.ts';
import { listTags } from './listing.ts';
import { fetchManifest, manifestPath, manifestWord, type Place, pushScope, resolveManifest } from './manifests.ts';
import { changeFallback, listReferrers, type Referral, referralOf, referrersByApi } from './referrers.ts';
import type {
  BlobBytes,
  ManifestName,
  RemoteDocument,
  Repository,
  RepositoryName,
  RequestOptions,
} from './registry.ts';
import { RegistryError } from './registry-error.ts';
import type { RegistryHost } from './registry-host.ts';

/** A repository of a registry, spoken to by the OCI distribution API. */
export class RemoteRepository implements Repository {
  readonly name: RepositoryName;
  readonly #place: Place;
  readonly #allowsForeign: boolean;

  /** @param allowsForeign whether `blob` asks a descriptor's own URLs when nobody says otherwise */
  constructor(host: RegistryHost, name: RepositoryName, allowsForeign: boolean) {
    this.name = { domain: name.domain, path: name.path };
    this.#place = { host, name: this.name };
    this.#allowsForeign = allowsForeign;
  }

  async resolve(manifest: ManifestName, options?: RequestOptions): Promise<Descriptor> {
    return await resolveManifest(this.#place, manifest, options);
  }

  async manifest(manifest: ManifestName, options?: RequestOptions): Promise<RemoteDocument> {
    return await fetchManifest(this.#place, manifest, options);
  }

  blob(descriptor: Descriptor, options: BlobOptions = {}): AsyncIterable<Uint8Array> {
    return downloadBlob(this.#place, descriptor, { allowForeign: this.#allowsForeign, ...options });
  }

  async blobSize(digest: Digest, options?: RequestOptions): Promise<number | undefined> {
    return await blobSize(this.#place, digest, options);
  }

  tags(options?: RequestOptions): AsyncIterable<string> {
    return listTags(this.#place, options);
  }

  async referrers(digest: Digest, options?: RequestOptions & { artifactType?: string }): Promise<Descriptor[]> {
    return await listReferrers(this.#place, digest, options);
  }

  async putBlob(descriptor: Descriptor, bytes: BlobBytes, options?: UploadOptions) {
    return await uploadBlob(this.#place, descriptor, bytes, options);
  }

  async putManifest(
    manifest: ManifestName,
    mediaType: string,
    bytes: Uint8Array,
    options: RequestOptions = {},
  ): Promise<Descriptor> {
    const what = manifestWord(this.#place, manifest);
    const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
    const label = `registry ${this.name.domain}: ${what}`;
    if ('digest' in manifest && manifest.digest !== descriptor.digest) {
      throw new TareError('InvalidArgument', `${label}: the bytes to store have digest ${descriptor.digest}`);
    }
    const referral = referralOf(bytes, descriptor, label);
    const { hasReferrersApi } = await this.#put(manifest, descriptor, bytes, options);
    if (referral !== undefined && !hasReferrersApi) await this.#changeFallback(referral, 'add', options);
    return descriptor;
  }

  /** @returns whether the registry keeps referrers itself (distribution-spec, "Pushing Manifests with Subject") */
  async #put(manifest: ManifestName, descriptor: Descriptor, bytes: Uint8Array, { signal }: RequestOptions) {
    const what = manifestWord(this.#place, manifest);
    const { host } = this.#place;
    const { digest, size, mediaType } = descriptor;
    if (size > MAX_MANIFEST_BYTES) {
      const problem = `a manifest of ${size} bytes: at most ${MAX_MANIFEST_BYTES} are allowed`;
      throw new RegistryError('InvalidArgument', host.purpose(what), problem);
    }
    using response = await host.call({
      what,
      method: 'PUT',
      path: manifestPath(this.#place, manifest),
      scopes: pushScope(this.#place),
      headers: { 'content-type': mediaType },
      body: {
        sizeBytes: size,
        bytes: async function* () {
          yield bytes;
        },
      },
      wanted: [201, 200, 202],
      signal,
    });
    const stored = response.header('docker-content-digest');
    if (stored !== undefined && isDigest(stored) && stored !== digest) {
      throw new RegistryError('InvalidArgument', host.purpose(what), `it stored ${stored} instead of ${digest}`);
    }
    return { hasReferrersApi: response.header('oci-subject') !== undefined };
  }

  async #changeFallback(referral: Referral, change: 'add' | 'remove', options: RequestOptions): Promise<void> {
    const put = async (tag: string, bytes: Buffer): Promise<void> => {
      const descriptor = { mediaType: mediaTypes.index, digest: digestOf(bytes), size: bytes.length };
      await this.#put({ tag }, descriptor, bytes, options);
    };
    await changeFallback(this.#place, referral, change, put, options.signal);
  }

  async deleteManifest(manifest: ManifestName, options: RequestOptions = {}): Promise<void> {
    const { host } = this.#place;
    const what = manifestWord(this.#place, manifest);
    if ('tag' in manifest) {
      const error = await this.#delete(manifest, options);
      if (error === undefined) return;
      // What a tag names, as skopeo does: Debian's registry deletes digests alone.
      const { digest } = await resolveManifest(this.#place, manifest, options);
      return await this.deleteManifest({ digest }, options);
    }
    const referral = await this.#referral(manifest, options);
    const error = await this.#delete(manifest, options);
    if (error !== undefined) {
      const problem = 'this registry does not delete; its owner must allow it (storage.delete.enabled)';
      throw new RegistryError('Unsupported', host.purpose(what), problem, { status: error.status!, cause: error });
    }
    if (referral !== undefined) await this.#changeFallback(referral, 'remove', options);
  }

  /** What a manifest refers to, where this client keeps the list of referrers. */
  async #referral(manifest: { digest: Digest }, options: RequestOptions): Promise<Referral | undefined> {
    const label = `registry ${this.name.domain}: ${manifestWord(this.#place, manifest)}`;
    let referral: Referral | undefined;
    try {
      const { descriptor, bytes } = await fetchManifest(this.#place, manifest, options);
      referral = referralOf(bytes, descriptor, label);
    } catch (error) {
      // What cannot be read can still be deleted.
      if (!['InvalidArgument', 'Unsupported'].includes(kindOf(error))) throw error;
    }
    if (referral === undefined) return undefined;
    const byApi = await referrersByApi(this.#place, referral.subject, undefined, options.signal);
    return byApi === undefined ? referral : undefined;
  }

  /** @returns the error of a registry that does not delete such a name */
  async #delete(manifest: ManifestName, { signal }: RequestOptions): Promise<RegistryError | undefined> {
    try {
      using _response: WireResponse = await this.#place.host.call({
        what: manifestWord(this.#place, manifest),
        method: 'DELETE',
        path: manifestPath(this.#place, manifest),
        scopes: [...pushScope(this.#place), `repository:${this.name.path}:delete`],
        wanted: [202, 200, 204],
        signal,
      });
      return undefined;
    } catch (error) {
      const isUnsupported =
        error instanceof RegistryError &&
        (error.status === 405 || error.code === 'UNSUPPORTED' || (error.status === 400 && 'tag' in manifest));
      if (!isUnsupported) throw error;
      return error;
    }
  }
}
