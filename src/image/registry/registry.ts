import type { Descriptor, Digest } from '../../storage/index.ts';
import type { Reference } from '../reference.ts';

/** Who asks a registry. All of it is secret. */
export interface Credentials {
  username?: string;
  password?: string;
  /** An OAuth2 refresh token that a login gave in place of the password (docker's `identitytoken`). */
  identityToken?: string;
  /** A bearer token that is sent as it is (docker's `registrytoken`). */
  registryToken?: string;
}

/** A repository's name as its registry knows it, with what a user calls it. */
export interface RepositoryName {
  /** Registry host, with a port if one was given. */
  domain: string;
  path: string;
}

/** A document of a registry, checked against its digest. */
export interface RemoteDocument {
  descriptor: Descriptor;
  bytes: Buffer;
}

/** Names one manifest in a repository. */
export type ManifestName = { tag: string } | { digest: Digest };

export interface RequestOptions {
  signal?: AbortSignal;
}

/** Read side of one repository (distribution-spec, "Pull"). All methods retry what may pass, within bounds. */
export interface RepositoryReader {
  readonly name: RepositoryName;
  /**
   * What a tag or digest stands for: HEAD, and GET where the registry answers HEAD without a digest.
   * @throws {TareError} NotFound; Unauthorized, Forbidden; Unavailable: no answer, or too many requests
   */
  resolve(manifest: ManifestName, options?: RequestOptions): Promise<Descriptor>;
  /**
   * A manifest or index, its bytes compared with the digest that was asked for or, for a tag, that the registry named.
   * @throws {TareError} as `resolve`; InvalidArgument: too large, or of a type that is no manifest; DigestMismatch
   */
  manifest(manifest: ManifestName, options?: RequestOptions): Promise<RemoteDocument>;
  /**
   * A blob's bytes from `offset`. A connection that breaks is taken up again where it stopped, a bounded number of times.
   * The bytes are not hashed: the content store does that. Never more than `descriptor.size` bytes come out.
   * @throws {TareError} NotFound; Unavailable: it broke too often; InvalidArgument: shorter or longer than its descriptor
   */
  blob(descriptor: Descriptor, options?: RequestOptions & { offset?: number }): AsyncIterable<Uint8Array>;
  /** Size of a blob; undefined: the repository has none such. */
  blobSize(digest: Digest, options?: RequestOptions): Promise<number | undefined>;
  tags(options?: RequestOptions): AsyncIterable<string>;
  /** Manifests whose `subject` is this digest, by the API or the fallback tag (distribution-spec, "Listing Referrers"). */
  referrers(digest: Digest, options?: RequestOptions & { artifactType?: string }): Promise<Descriptor[]>;
}

/** What an upload reads from; asked again from another offset when the connection broke. */
export type BlobBytes = (offset: number) => AsyncIterable<Uint8Array>;

/** Write side (distribution-spec, "Push", "Content Management"). */
export interface RepositoryWriter {
  /**
   * Stores a blob: nothing is sent if it is there; mounted from another repository of this registry if one of `from` has it;
   * else uploaded, and taken up again where it stopped when the connection breaks.
   * @param from repositories' paths
   */
  putBlob(
    descriptor: Descriptor,
    bytes: BlobBytes,
    options?: RequestOptions & { from?: readonly string[]; onProgress?(sentBytes: number): void },
  ): Promise<'existed' | 'mounted' | 'uploaded'>;
  /** Stores a manifest under a tag or its digest; keeps the fallback tag of referrers where the registry has no API for them. */
  putManifest(
    manifest: ManifestName,
    mediaType: string,
    bytes: Uint8Array,
    options?: RequestOptions,
  ): Promise<Descriptor>;
  /** @throws {TareError} NotFound; Unsupported: the registry does not delete */
  deleteManifest(manifest: ManifestName, options?: RequestOptions): Promise<void>;
}

export interface Repository extends RepositoryReader, RepositoryWriter {}

/** A line of a search's answer. */
export interface SearchResult {
  name: string;
  description: string;
  stars: number;
  isOfficial: boolean;
  isAutomated: boolean;
}

/** Registries as this machine's configuration says to reach them. */
export interface Registries {
  /** The repository itself, for pushing and for whatever must not come from a mirror. @throws {TareError} Forbidden: blocked */
  repository(name: RepositoryName | Reference, credentials?: Credentials): Repository;
  /**
   * Where to pull a reference from, mirrors first, the repository itself last (containers-registries.conf(5)). A reference
   * without a tag or digest is taken as it is. The credentials go to the repository's own host alone; mirrors use their own.
   * @throws {TareError} Forbidden: blocked
   */
  sources(reference: Reference, credentials?: Credentials): RepositoryReader[];
  /** Names that a short name may stand for, to be tried in order (aliases, then the search list). */
  candidates(shortName: string): Reference[];
  /** Checks credentials. @returns an identity token if the registry gave one @throws {TareError} Unauthorized */
  authenticate(domain: string, credentials: Credentials, options?: RequestOptions): Promise<{ identityToken?: string }>;
  catalog(domain: string, credentials?: Credentials, options?: RequestOptions): AsyncIterable<string>;
  /** Docker's search (v1), of `term`'s registry or the default one. @throws {TareError} Unsupported: it has none */
  search(term: string, limit: number, credentials?: Credentials, options?: RequestOptions): Promise<SearchResult[]>;
}

/** Finds the credentials for a registry or a repository, `host[:port][/path]`; undefined: none. */
export type CredentialSource = (scope: string) => Promise<Credentials | undefined>;
