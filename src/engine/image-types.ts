import type {
  BomSubject,
  Catalogue,
  Credentials,
  ImageConfigFile,
  ImageDestination,
  ImageSource,
  Reference,
  RepositoryReader,
  ScanResult,
  SearchResult,
} from '../image/index.ts';
import type { ImageOrigin, Signature, SignedManifest } from '../image/trust/index.ts';
import type { Descriptor, Platform } from '../storage/index.ts';
import type { Filters } from './filter-types.ts';
import type { VerifyMessage, VerifyOptions } from './verify-types.ts';

export interface ImageRecord {
  /** Digest of the config. */
  id: string;
  repoTags: string[];
  repoDigests: string[];
  manifest: Descriptor;
  /** The index that its manifest was chosen from. */
  index?: Descriptor;
  config: ImageConfigFile;
  /** Digest of the config of the image that it was committed over, while that is here. */
  parent?: string;
  createdMs: number;
  /** Unpacked size of all layers. */
  sizeBytes: number;
  lastTaggedMs: number;
}

/** An image's record with what was asked for beside it. */
export interface ImageView extends ImageRecord {
  /** Folders of its unpacked layers, the topmost first; empty when they are not unpacked. */
  layerFolders: string[];
  /** Of the layer store. */
  driver: string;
  /** When asked for. */
  manifests?: ManifestSummary[];
}

/** One manifest that an image's index lists, or its only one. */
export interface ManifestSummary {
  descriptor: Descriptor;
  /** Whether all of it is here. */
  isAvailable: boolean;
  /** Of the blobs that are here. */
  contentBytes: number;
  kind: 'image' | 'attestation' | 'unknown';
  /** Of an image. */
  image?: { platform: Platform; unpackedBytes: number; containers: string[] };
  /** The manifest that an attestation speaks of. */
  attests?: string;
}

export interface ImageSummary extends Omit<ImageRecord, 'config'> {
  labels: Record<string, string>;
  /** When asked for. */
  manifests?: ManifestSummary[];
  /** Containers that use it, -1 when not counted. */
  containers: number;
  sharedSizeBytes: number;
}

export interface HistoryEntry {
  id: string;
  createdMs: number;
  createdBy: string;
  tags: string[];
  sizeBytes: number;
  comment: string;
}

/** One line of a progress stream (docker's JSONMessage without its spelling). */
export interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  currentBytes?: number;
  totalBytes?: number;
  /** An image went alone, because of what its index lists not all is here. */
  pushedInstead?: { index: Descriptor; manifest: Descriptor };
  /** What the registry has now, at the end of a push. */
  pushed?: { tag: string; digest: string; sizeBytes: number };
}

/** What a registry offers under a name, without its layers. */
export interface Distribution {
  descriptor: Descriptor;
  platforms: Platform[];
}

/** Whom to be towards a registry, and how to stop. Without credentials those of the configuration serve. */
export interface RegistryOptions {
  credentials?: Credentials;
  signal?: AbortSignal;
}

/** What images occupy on disk, blobs and unpacked layers together. */
export interface ImageUsage {
  totalBytes: number;
  /** What nothing needs that is in use by a container or a mount. */
  reclaimableBytes: number;
  /** By image id. */
  images: Map<string, { sizeBytes: number; sharedBytes: number }>;
}

export interface RemovedImage {
  untagged?: string;
  deleted?: string;
}

/** An image with what is installed in it. */
export interface CataloguedImage {
  subject: BomSubject;
  catalogue: Catalogue;
  /** When a document about it counts as made. */
  createdMs: number;
}

export interface BillOfMaterials extends CataloguedImage {
  /** SPDX 2.3 or CycloneDX 1.6, when one was asked for. */
  document?: object;
}

export interface BomOptions {
  platform?: string;
  /** Undefined: no document, the catalogue alone. */
  format?: 'spdx-json' | 'cyclonedx-json';
  signal?: AbortSignal;
}

export interface ScanOptions {
  /** A folder, a zip file or a JSON file in OSV's format. */
  database: string;
  /** Where indexes over databases are kept between scans. */
  cacheFolder: string;
  platform?: string;
  signal?: AbortSignal;
}

export interface ScanReport extends CataloguedImage, ScanResult {
  database: { path: string; records: number; unreadable: number; firstUnreadable: string };
}

/** Which of an image's platforms is meant. */
export interface LocalChoice {
  /** The index with all that it lists, rather than the image that was chosen from it. */
  all?: boolean;
  platform?: Platform | undefined;
}

/** What is known of an image that is about to be copied here. */
export interface LocalDestinationOptions {
  /** An index comes with images of other platforms, whose layers need not be unpacked. */
  all?: boolean;
  /** Where it comes from, for the signature policy; undefined: it is here already. */
  origin?: CopyOrigin | undefined;
}

/** Where an image comes from: a registry, or a file or folder as `policy.json` calls it, with its absolute path. */
export type CopyOrigin =
  | { transport: 'docker'; reference: Reference; reader: RepositoryReader }
  | { transport: 'oci' | 'oci-archive' | 'docker-archive' | 'dir'; path: string };

/** What the store holds of an image that signatures speak of. */
export interface SignedImage {
  /** The name that it was asked for by, or its first. */
  reference?: Reference;
  /** What a signature of this image is of: the index, or the manifest when it came without one. */
  root: Descriptor;
  manifests: SignedManifest[];
  signatures: Signature[];
  /** The ways that it came from elsewhere. */
  origins: ImageOrigin[];
}

export interface ImageService {
  /** Makes an image of one layer from a root filesystem's tar, compressed or not. Returns its id. */
  import(
    tar: AsyncIterable<Uint8Array>,
    options: { reference?: string; message?: string; changes?: string[]; platform?: string },
  ): Promise<string>;
  /** The same from a web server. Yields progress, last the id. @param address http(s) URL; without a scheme it is http */
  importFrom(
    address: string,
    options: {
      reference?: string;
      message?: string;
      changes?: string[];
      platform?: string;
      signal?: AbortSignal;
    },
  ): AsyncIterable<ProgressMessage>;
  /** Docker archive or OCI layout in a tar (compressed or not). Yields progress, last `Loaded image: …`. */
  load(
    tar: AsyncIterable<Uint8Array>,
    options?: { platform?: string; quiet?: boolean },
  ): AsyncIterable<ProgressMessage>;
  /** The same from an OCI layout folder or unpacked docker archive on this machine. */
  loadDirectory(path: string): AsyncIterable<ProgressMessage>;
  /** A tar that is both a docker archive and an OCI layout. */
  save(refs: string[], options?: { platform?: string }): AsyncIterable<Uint8Array>;
  /**
   * Fetches from a registry; yields progress in docker's words. Errors before the first message are about the reference,
   * the registry or the manifest.
   *
   * @param options.platform undefined: the host's where there is a choice
   * @param options.allPlatforms keep all that the index lists, so that it can be pushed and saved whole
   * @throws {TareError} NotFound `pull access denied for NAME, …` or `manifest for REF not found: …`
   */
  pull(
    ref: string,
    options?: RegistryOptions & { platform?: string; allPlatforms?: boolean; allTags?: boolean },
  ): AsyncIterable<ProgressMessage>;
  /**
   * Sends an image to the registry in its name; yields progress in docker's words. The whole index goes when all that it
   * lists is here.
   *
   * @param options.platform that one's manifest alone
   * @param options.allTags all local tags of the repository
   */
  push(
    ref: string,
    options?: RegistryOptions & { platform?: string; allTags?: boolean },
  ): AsyncIterable<ProgressMessage>;
  /** Searches `term`'s registry, or the default one. Filters: is-official, is-automated, stars. */
  search(term: string, options?: RegistryOptions & { limit?: number; filters?: Filters }): Promise<SearchResult[]>;
  /** What a registry offers under a name; nothing is stored. */
  distribution(ref: string, options?: RegistryOptions): Promise<Distribution>;
  /** Checks credentials with a registry. @throws {TareError} Unauthorized */
  authenticate(domain: string, options?: RegistryOptions): Promise<{ identityToken?: string }>;
  list(options?: {
    all?: boolean;
    filters?: Filters;
    sharedSize?: boolean;
    manifests?: boolean;
  }): Promise<ImageSummary[]>;
  /** @throws {TareError} NotFound `No such image: REF`, or not for the platform */
  inspect(ref: string, options?: { platform?: string; manifests?: boolean }): Promise<ImageView>;
  history(ref: string, options?: { platform?: string }): Promise<HistoryEntry[]>;
  tag(ref: string, target: string): Promise<void>;
  /** @param options.platforms only these of an image that is here for several */
  remove(
    ref: string,
    options?: { force?: boolean; noPrune?: boolean; platforms?: readonly string[] },
  ): Promise<RemovedImage[]>;
  /**
   * An image of this store, to be copied elsewhere. Its blobs are held until it is disposed.
   * @throws {TareError} NotFound: `No such image: REF`, not for this platform, or not all platforms are here
   */
  openSource(ref: string, choice?: LocalChoice): Promise<ImageSource>;
  /**
   * A name in this store, to copy an image to. The image is seen with its `commit`.
   * @throws {TareError} InvalidArgument: no name that an image can have; from `commit` also Forbidden: the signature policy
   */
  openDestination(ref: string, options?: LocalDestinationOptions): Promise<ImageDestination>;
  /**
   * What is installed in an image, read from its layers; nothing of it is run.
   * @throws {TareError} NotFound `No such image: REF`; InvalidArgument: a package database of it is damaged
   */
  sbom(ref: string, options?: BomOptions): Promise<BillOfMaterials>;
  /** What is here of an image and its signatures. @throws {TareError} NotFound */
  signed(ref: string): Promise<SignedImage>;
  /** Keeps a signature with an image. @throws {TareError} NotFound */
  addSignature(ref: string, signature: Signature): Promise<void>;
  /**
   * Known vulnerabilities of what is installed in an image, the worst first.
   * @throws {TareError} as `sbom`; NotFound, InvalidArgument: the database
   */
  scan(ref: string, options: ScanOptions): Promise<ScanReport>;
  prune(filters?: Filters): Promise<{ removed: RemovedImage[]; spaceReclaimedBytes: number }>;
  /** Compares everything stored with its names and records, and repairs it if asked to. @see verifyContent */
  verify(options?: VerifyOptions): AsyncIterable<VerifyMessage>;
}
