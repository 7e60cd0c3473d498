import { TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import type { Reference } from '../reference.ts';
import type { BlobBytes, RepositoryName } from '../registry/registry.ts';

/** What a destination can hold. */
export interface DestinationRules {
  /** Media types of manifests, the preferred one first. */
  readonly manifestTypes: readonly string[];
  /** Whether it holds an index beside single images. */
  readonly indexes: boolean;
  /** Whether it holds manifests that are no images. */
  readonly artifacts: boolean;
  /** What happens to layers unless the user says otherwise. */
  readonly layers: 'preserve' | 'compress' | 'decompress';
  /** Whether a layer may be left out that its descriptor's `urls` name instead. */
  readonly foreignLayers: boolean;
  readonly signatures: boolean;
  /** Whether it holds manifests beside the image that speak of it: signatures, bills of materials. */
  readonly referrers: boolean;
  /** The digest that the root must have, because it is part of the destination's name. */
  readonly digest?: Digest | undefined;
}

export interface PutBlobOptions {
  signal?: AbortSignal;
  /** Where the bytes come from: a registry may have them in another repository. */
  origin?: RepositoryName | undefined;
  /** Told of the bytes that were taken so far. */
  onProgress?(storedBytes: number): void;
}

/**
 * What a manifest is to the image: the one that its name stands for, a part of an index, one whose subject the image is,
 * or another tag beside it.
 */
export type ManifestRole = 'root' | 'part' | 'referrer' | { tag: string };

/**
 * Where an image goes. Blobs come first, side by side, then the manifests that name them, the root last, then `commit`.
 * Until then nobody sees a changed image; disposing before it leaves nothing but blobs that a next try takes up.
 */
export interface ImageDestination extends AsyncDisposable {
  /** As the user wrote it, for errors. */
  readonly what: string;
  readonly reference?: Reference | undefined;
  readonly rules: DestinationRules;
  /** Whether a blob lies there, whole; asked before bytes are converted in vain. */
  hasBlob(descriptor: Descriptor): Promise<boolean>;
  /**
   * Stores a blob unless it is there.
   * @throws {DigestMismatch} the bytes are not those of the descriptor; nothing is kept
   */
  putBlob(
    descriptor: Descriptor,
    bytes: BlobBytes,
    options?: PutBlobOptions,
  ): Promise<'existed' | 'mounted' | 'stored'>;
  putManifest(mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void>;
  /** Only where the rules say so. @param instance a part of the index; undefined: the root */
  putSignatures(signatures: readonly Buffer[], instance?: Digest): Promise<void>;
  /** Makes the image visible, durably. */
  commit(): Promise<void>;
}

/** For destinations that keep none. */
export function noSignatures(what: string): never {
  throw new TareError('Unsupported', `${what} cannot keep signatures: copy with --remove-signatures`);
}
