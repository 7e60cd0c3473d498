import type { Repository, RepositoryReader } from '../image/index.ts';
import type { HostFacts, Runtime, RuntimeBinary, SeccompCache } from '../runtime/index.ts';
import type { Database, Locks } from '../state/index.ts';
import type { ContentStore, Descriptor, DiffID, Digest, LayerStore, Platform } from '../storage/index.ts';
import type { BuildSession } from './session.ts';

export type NetworkMode = 'sandbox' | 'host' | 'none';

/** A network namespace for one step at a time. */
export interface StepNetwork extends AsyncDisposable {
  /** Of the namespace; undefined: the host's. */
  readonly path: string | undefined;
  /** Text of /etc/resolv.conf inside. */
  readonly resolvConf: string;
  /** The step could have changed it: it is never lent again. */
  spoil(): void;
}

/** An image as the stores have it. */
export interface PulledImage {
  /** Layers, base first, unpacked; their blobs may be elsewhere still. */
  layers: readonly { diffID: DiffID; descriptor: Descriptor }[];
}

/** Images as a build sees them: what is stored here, and registries with the credentials of who asks. */
export interface BuildImages {
  /**
   * What a reference stands for; its documents are stored then.
   * @param options mode `default` and `local`: what is stored if it fits, else the registry's word; `pull`: always that. With a source
   *   (a layout at the client) nobody else is asked
   * @throws {TareError} NotFound, Unauthorized, Forbidden (a signature policy) … naming the reference
   */
  resolve(
    ref: string,
    options: {
      mode: 'default' | 'pull' | 'local';
      platform: Platform;
      sessions: readonly BuildSession[];
      signal: AbortSignal;
      source?: RepositoryReader;
    },
  ): Promise<{ ref: string; indexOrManifest: Digest; manifest: Descriptor; config: Uint8Array }>;
  /** Brings what `resolve` found into the stores, layers side by side. */
  pull(
    ref: string,
    manifest: Descriptor,
    options: {
      platform: Platform;
      sessions: readonly BuildSession[];
      signal: AbortSignal;
      source?: RepositoryReader;
      /** Of `sha256:…` while it comes, of `extracting sha256:…` while it is unpacked; at the end both numbers are equal. */
      progress(part: string, currentBytes: number, totalBytes: number): void;
    },
  ): Promise<PulledImage>;
  /** The manifest of an image that is here, by a name or an id; undefined: there is none. @throws as `resolve` */
  stored(ref: string): Promise<Descriptor | undefined>;
  /** A registry's repository, for pushing and for caches. */
  repository(ref: string, options: { insecure?: boolean; sessions: readonly BuildSession[] }): Promise<Repository>;
  /** Blobs that images here have a layer as, the bytes of which are stored; empty: none. */
  layerBlobs(diffID: DiffID): Promise<readonly Descriptor[]>;
  /** Paths of repositories of a registry that were seen to have a blob: it can be mounted from there. */
  blobSources(digest: Digest, domain: string): readonly string[];
  /**
   * Notes that blobs are in a registry's repository now, and what has a name there.
   * @param ref of a tag, or of a repository alone
   */
  pushed(ref: string, sent: { root: Digest; blobs: readonly Digest[] }): Promise<void>;
  /**
   * Makes an image of blobs and layers that are in the stores known by these names (none: by its id alone), and findable the images of
   * its other platforms.
   * @returns its id
   */
  record(
    image: BuiltImage,
    options?: { index?: Descriptor; others?: readonly BuiltImage[]; names?: readonly string[] },
  ): Promise<string>;
}

/** One platform's image, whose blobs and layers are in the stores. */
export interface BuiltImage {
  manifest: Descriptor;
  layers: readonly { diffID: DiffID; descriptor: Descriptor }[];
  config: Digest;
}

/** What a builder needs of the world. */
export interface BuilderParts {
  /** Own folder, 0700: cache mounts, git checkouts. */
  directory: string;
  /** Folder in memory, 0700: bundles and sockets of running steps. */
  execDirectory: string;
  instance: string;
  /** Of this program, for documents that name their tool. */
  version: string;
  db: Database;
  locks: Locks;
  content: ContentStore;
  layers: LayerStore;
  runtime: Runtime;
  runtimeBinary(): RuntimeBinary;
  facts: HostFacts;
  seccomp: SeccompCache;
  images: BuildImages;
  /** @throws {TareError} Forbidden, Unavailable */
  network(mode: NetworkMode, signal: AbortSignal): Promise<StepNetwork>;
  /** Parent cgroup of steps that name none, from the top of each hierarchy; undefined: no cgroups. */
  cgroupParent: string | undefined;
  /** Keeps all blobs and layers until it is disposed. */
  holdContent(): Promise<AsyncDisposable>;
  now(): number;
  /** Told of what fails where no caller waits. */
  report(subject: string, error: unknown): void;
}
