import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, DigestMismatch, digestOf } from '../../storage/index.ts';
import { MAX_MANIFEST_BYTES } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import type { RemoteDocument, RepositoryName, RepositoryReader } from '../registry/registry.ts';

/** A manifest or an index, its bytes compared with its digest. */
export type ImageDocument = RemoteDocument;

export interface BlobRange {
  /** Where to begin; 0 unless given. */
  offset?: number;
  signal?: AbortSignal;
}

/** An image, or an index of several, wherever it lies. What comes out is foreign, but documents match their digests. */
export interface ImageSource extends AsyncDisposable {
  /** As the user wrote it, for errors. */
  readonly what: string;
  /** What the image is called, where its transport knows names. */
  readonly reference?: Reference | undefined;
  /** Where it lies, for registries that can mount blobs from one repository into another. */
  readonly repository?: RepositoryName | undefined;
  /** Who answered for the root, where a registry did: signatures are asked of it. */
  readonly reader?: RepositoryReader | undefined;
  /** @throws {TareError} NotFound: there is no such image; InvalidArgument: what lies there is none, or is damaged */
  root(): Promise<ImageDocument>;
  /** A manifest that an index names. @throws {TareError} as `root`; DigestMismatch */
  manifest(descriptor: Descriptor): Promise<ImageDocument>;
  /**
   * The bytes of a config or a layer. They are not hashed: whoever stores them does that.
   * @throws {TareError} NotFound: it is missing; InvalidArgument: its size is not the descriptor's
   */
  blob(descriptor: Descriptor, range?: BlobRange): AsyncIterable<Uint8Array>;
  /** Manifests whose `subject` is this digest; none where the transport keeps no such. */
  referrers(digest: Digest): Promise<Descriptor[]>;
  /** What another tag beside this image stands for: signatures lie there. Undefined: there is none. */
  tagged(tag: string): Promise<ImageDocument | undefined>;
  /** Simple signatures stored beside a manifest, or beside the root. */
  signatures(instance?: Digest): Promise<Buffer[]>;
}

/** Compares a document with the descriptor that named it. @throws {TareError} DigestMismatch; InvalidArgument: the size */
export function checkedDocument(bytes: Buffer, descriptor: Descriptor, what: string): ImageDocument {
  const actual = digestOf(bytes);
  if (actual !== descriptor.digest) throw new DigestMismatch(what, descriptor.digest, actual);
  if (bytes.byteLength !== descriptor.size) {
    throw new TareError(
      'InvalidArgument',
      `${what} has ${bytes.byteLength} bytes, its descriptor says ${descriptor.size}`,
    );
  }
  return { descriptor, bytes };
}

/** @throws {TareError} InvalidArgument: larger than any manifest may be */
export function requireManifestSize(sizeBytes: number, what: string): void {
  if (sizeBytes <= MAX_MANIFEST_BYTES) return;
  throw new TareError(
    'InvalidArgument',
    `${what} has ${sizeBytes} bytes, at most ${MAX_MANIFEST_BYTES} are allowed for a manifest`,
  );
}
