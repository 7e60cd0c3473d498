import type { BlobGrowth } from './blob-growth.ts';
import type { DiffID } from './digest.ts';
import type { VisibleFiles } from './layers/visible-files.ts';

/** One entry that differs between an active snapshot and the layers below it. */
export interface Change {
  /** Absolute inside the container, e.g. `/etc/hosts`. */
  path: string;
  kind: 'modified' | 'added' | 'deleted';
}

/** A layer that lies unpacked in the store. */
export interface Layer {
  diffID: DiffID;
  /** Bytes that its files occupy, counted once for hard links. */
  sizeBytes: number;
}

/** Compression of a stored layer blob. */
export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

/**
 * A layer's bytes as stored: a committed blob, or one that still comes and whose digest its writer finds. Without a
 * compression the first bytes tell it.
 */
export type LayerInput = { path: string; compression?: Compression } | { growth: BlobGrowth };

/** A tree in the store: layers merged, base first, or a snapshot with what it changed. */
export type TreeName = { layers: readonly DiffID[] } | { snapshot: string };

export interface MountOptions {
  /**
   * Nothing written needs to outlast a power cut: unmounting then waits for no disk. For containers that are removed when
   * they end.
   */
  volatile?: boolean;
  /** For looking only: nobody can write through it, and neither devices nor set-user-id bits count. */
  readOnly?: boolean;
}

/** What the snapshot of a container occupies. */
export interface SnapshotUsage {
  sizeBytes: number;
  inodes: number;
}

/** A bind mount to be seen in an opened root. */
export interface RootBind {
  source: string;
  /** Beneath the source, which a container may write to; '' is the source itself. */
  subpath: string;
  /** Absolute, in the root filesystem. */
  destination: string;
  readOnly: boolean;
}

/** An opened root filesystem; disposing gives it up. */
export interface OpenRoot extends Disposable {
  /** O_PATH descriptor of its root folder. */
  readonly fd: number;
}

/**
 * Unpacked layers (committed, shared, named by diffID) and active snapshots (one writable directory over a stack of
 * layers, named by a key such as a container's id). A layer or snapshot is visible only when complete.
 */
export interface LayerStore {
  readonly driver: 'overlay' | 'vfs' | 'fuse-overlayfs';
  /** False also for a layer that power cut off before it reached the disk: `apply` derives it again. */
  has(diffID: DiffID): Promise<boolean>;
  /** Those that `apply` has to derive (again), in the order given. */
  missing(diffIDs: readonly DiffID[]): DiffID[];
  layer(diffID: DiffID): Promise<Layer>;
  /** Where a layer's files lie, for whoever shows it; there may be none. */
  folder(diffID: DiffID): string;
  /**
   * Unpacks a layer's tar, verifying its diffID. Two calls for one diffID share the work, also across processes.
   *
   * @param expected the diffID from the image's config; undefined to accept what comes (import)
   * @throws {DigestMismatch} the uncompressed bytes are not the expected ones; nothing is kept
   * @throws {TareError} InvalidArgument: a hostile or malformed archive, naming the entry; nothing is kept
   * @throws an AbortError: the signal, or the writer of a blob that still came gave it up
   */
  apply(input: LayerInput, expected?: DiffID, signal?: AbortSignal): Promise<Layer>;
  /**
   * The files that a stack of layers shows, base first. The caller keeps the layers from being removed meanwhile.
   * @throws {TareError} NotFound: a layer is not unpacked
   */
  visibleFiles(diffIDs: readonly DiffID[]): VisibleFiles;
  /**
   * Checks an unpacked layer's record and folder; with its blob, every file, unpacking it once more beside itself.
   * @returns what is wrong with it, naming a path; undefined: nothing
   * @throws {TareError} as `apply`: the blob does not unpack to it
   */
  check(diffID: DiffID, input?: LayerInput, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Unpacks a layer again, in the place of a damaged one.
   * @throws {TareError} Conflict: a snapshot over it is mounted; as `apply`
   */
  replace(diffID: DiffID, input: LayerInput, signal?: AbortSignal): Promise<void>;
  /** @throws {TareError} Conflict: a snapshot stands on it. Repeating is safe. */
  removeLayer(diffID: DiffID): Promise<void>;
  layers(): Promise<Layer[]>;

  /**
   * Makes a writable snapshot over `parents` (base first), removed by `remove`. Repeating is safe, and repairs a snapshot
   * that a crash left half made.
   * @throws {TareError} NotFound: a parent is not unpacked; Conflict: the key has other parents
   */
  prepare(key: string, parents: readonly DiffID[]): Promise<void>;
  /** Mounts a snapshot at its own place and returns the path; a second call returns the same mount. Synchronous: on the path of start. */
  mount(key: string, options?: MountOptions): string;
  /**
   * Shows layers merged as an image's own tree, read-only, at a path that lasts until `remove(key)` or a reboot. A second
   * call shows the same.
   * @throws {TareError} as `prepare`
   */
  view(key: string, parents: readonly DiffID[]): Promise<string>;
  /**
   * Opens a snapshot's root filesystem without giving it a place in the file tree: a crash leaves no mount behind, and
   * `isMounted` does not change. With binds it is put together in a mount namespace of its own.
   */
  openRoot(key: string, binds?: readonly RootBind[]): Promise<OpenRoot>;
  /** Unmounts a snapshot if it is mounted; lazily when busy. */
  unmount(key: string): void;
  isMounted(key: string): boolean;
  /** The path `mount` would return. */
  mountPath(key: string): string;
  /** What the snapshot changed, sorted by path. Works mounted or not. */
  changes(key: string): Promise<Change[]>;
  /**
   * What the second of two trees has more, less and otherwise, sorted by path. Owner, mode, attributes and content count,
   * times do not.
   * @throws {TareError} NotFound: a layer or snapshot is not there; Conflict: a folder was moved meanwhile
   */
  compare(before: TreeName, after: TreeName): AsyncIterable<Change>;
  /** The snapshot's changes as an uncompressed layer tar (whiteouts as in image-spec, layer.md). */
  diff(key: string): AsyncIterable<Uint8Array>;
  usage(key: string): Promise<SnapshotUsage>;
  /** Unmounts and removes a snapshot. Its files go in the background, by `dispose` at the latest. Repeating is safe. */
  remove(key: string): Promise<void>;
  snapshots(): Promise<string[]>;
  /** Removes half-made layers, and snapshots for whose key `isOwned` says no. */
  reconcile(isOwned: (key: string) => boolean): Promise<void>;
  /**
   * Waits until all layers are on disk and marks them, so that they survive a loss of power. The store does it by itself
   * some seconds after an `apply`, and at its end in a process that unpacked.
   */
  settle(): Promise<void>;
}
