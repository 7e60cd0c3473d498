import type { BlobGrowth } from './blob-growth.ts';
import type { BlobIngester, BlobReader, DerivedBlobs } from './content-store.ts';
import type { ContentSelector } from './contents/content-selector.ts';
import type { DiffID, LayerName, LocalLayer } from './digest.ts';
import type { FileActionRequest } from './file-actions/file-action.ts';
import type { PackOptions } from './layers/pack-layer.ts';
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
export type TreeName = { layers: readonly LayerName[] } | { snapshot: string };

export interface MountOptions {
  /**
   * Nothing written needs to outlast a power cut: unmounting then waits for no disk. For containers that are removed when
   * they end.
   */
  volatile?: boolean;
  /** For looking only: nobody can write through it, and neither devices nor set-user-id bits count. */
  readOnly?: boolean;
}

export interface TreeOptions {
  /** No layer has marks of what is removed below it: one by itself is the tree, and nothing is mounted. */
  isPlain?: boolean;
}

/** An opened tree; disposing gives it up. */
export interface OpenTree extends AsyncDisposable {
  /** O_PATH descriptor of its root folder. */
  readonly fd: number;
}

export interface PrepareOptions {
  /** It belongs to this process: `reconcile` spares it as long as that lives, whatever the owner says. */
  isTransient?: boolean;
  /** Without the places for mounts that lie below every container's root. */
  isBare?: boolean;
}

/** What of a content store sealing needs. */
export type SealTarget = Pick<BlobReader, 'has' | 'info'> & Pick<BlobIngester, 'take'>;

export interface ContentOptions {
  /** The root's own owner and permissions do not count: nobody chose them. */
  isRootless?: boolean;
  signal?: AbortSignal;
}

export interface SealOptions extends PackOptions {
  signal?: AbortSignal;
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
 * Unpacked layers (committed, shared, named by diffID; local ones, that were made here, by a name of their own until a tar is
 * made of them, and then by both) and active snapshots (one writable directory over a stack of layers, named by a key such as
 * a container's id). A layer or snapshot is visible only when complete.
 */
export interface LayerStore {
  readonly driver: 'overlay' | 'vfs' | 'fuse-overlayfs';
  /** False also for a layer that power cut off before it reached the disk: `apply` derives it again, if it has a diffID. */
  has(name: LayerName): Promise<boolean>;
  /** Those that `apply` has to derive (again), in the order given. */
  missing<T extends LayerName>(names: readonly T[]): T[];
  layer(diffID: DiffID): Promise<Layer>;
  /** Where a layer's files lie, for whoever shows it; there may be none. */
  folder(name: LayerName): string;
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
  visibleFiles(names: readonly LayerName[]): VisibleFiles;
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
  /**
   * Removes a layer by one name; its files stay as long as they have another.
   * @throws {TareError} Conflict: a snapshot stands on it. Repeating is safe.
   */
  removeLayer(name: LayerName): Promise<void>;
  /** Those with a diffID, local ones among them. */
  layers(): Promise<Layer[]>;

  /**
   * Turns an unmounted snapshot, which is gone then, into a layer of what it changed, without making a tar. It is spared by
   * `reconcile` as long as this process lives, and is lost when power goes before it reached the disk (`missing` tells).
   * @param name that it is to have: whoever recorded it before may call this again after a crash, and finds the files in one of both
   * @throws {TareError} NotFound; Conflict: it is mounted
   */
  freeze(key: string, name?: LocalLayer): Promise<LocalLayer>;
  /**
   * Turns a local layer that nobody else uses back into a snapshot without parents, to be changed further.
   * @throws {TareError} NotFound; Conflict: it was sealed, or a snapshot stands on it
   */
  thaw(layer: LocalLayer, key: string): Promise<void>;
  /** Where a snapshot without parents has its files; they may be changed while it is not mounted. */
  files(key: string): string;
  localLayers(): Promise<LocalLayer[]>;
  /** How many layers, and names of layers, came since the store was opened, from here. */
  readonly arrivals: number;
  /** Tars of sealed layers, for a content store that has them made when somebody reads them. */
  readonly tars: DerivedBlobs;
  /**
   * Makes a local layer's tar, an uncompressed blob whose digest is the diffID, and lets the layer be known by that as well. The
   * tar is only hashed: `tars` makes it again, as long as the layer is here. It is stored where its times are clamped. Equal files,
   * owners, attributes and times give equal diffIDs. Repeating is safe.
   *
   * A layer without a change (`isEmpty`) has the tar without an entry; BuildKit keeps it among an image's layers, and its
   * step in the history is no `empty_layer`.
   * @param options with a clamp the tar is of another layer than this one, which gets no second name
   * @returns diffID and size of the blob
   */
  seal(layer: LocalLayer, content: SealTarget, options?: SealOptions): Promise<{ diffID: DiffID; sizeBytes: number }>;
  /** @returns undefined: a local layer that was never sealed */
  diffIDOf(name: LayerName): DiffID | undefined;
  /** Whether a layer changes nothing. */
  isEmpty(name: LayerName): Promise<boolean>;
  /** Bytes of its files, counted once for hard links. Of a local layer it is found by looking, once. */
  sizeOf(name: LayerName): Promise<number>;
  /**
   * Opens layers merged, read-only and as they are (without the places for mounts), giving them no place in the file tree: a
   * crash leaves no mount. The caller keeps the layers from being removed.
   * @throws {TareError} NotFound: a layer is missing
   */
  openTree(names: readonly LayerName[], options?: TreeOptions): Promise<OpenTree>;
  /**
   * A digest of parts of a tree: names beneath each part, types, modes, owners, attributes, targets of links, contents; not times.
   * Files are hashed in a thread; what is known of a file that did not change is remembered beside its layer, and so are answers.
   * @throws {TareError} NotFound: a part, or a layer, is not there
   */
  contentDigest(
    names: readonly LayerName[],
    selectors: readonly ContentSelector[],
    options?: ContentOptions,
  ): Promise<string>;
  /**
   * A new local layer of what the second tree has more, less and otherwise: laid over the first it gives the second.
   * @throws {TareError} NotFound
   */
  difference(before: readonly LayerName[], after: readonly LayerName[], signal?: AbortSignal): Promise<LocalLayer>;
  /** Does actions to an opened tree in a thread. @throws {TareError} as `runFileActionsHere`; the signal's reason */
  runFileActions(request: FileActionRequest, signal?: AbortSignal): Promise<void>;
  /**
   * Shows layers merged, read-only and as they are (without the places for mounts), at an empty folder of the caller's.
   * Disposing unmounts it. A crash leaves the mount to whoever owns the folder. The caller keeps the layers from being removed.
   * @throws {TareError} NotFound: a layer is missing
   */
  mountTree(names: readonly LayerName[], target: string): Promise<AsyncDisposable>;

  /**
   * Makes a writable snapshot over `parents` (base first), removed by `remove`. Repeating is safe, and repairs a snapshot
   * that a crash left half made.
   * @throws {TareError} NotFound: a parent is not unpacked; Conflict: the key has other parents
   */
  prepare(key: string, parents: readonly LayerName[], options?: PrepareOptions): Promise<void>;
  /** Mounts a snapshot at its own place and returns the path; a second call returns the same mount. Synchronous: on the path of start. */
  mount(key: string, options?: MountOptions): string;
  /**
   * Shows layers merged as an image's own tree, read-only, at a path that lasts until `remove(key)` or a reboot. A second
   * call shows the same.
   * @throws {TareError} as `prepare`
   */
  view(key: string, parents: readonly LayerName[]): Promise<string>;
  /**
   * Opens a snapshot's root filesystem without giving it a place in the file tree: a crash leaves no mount behind, and
   * `isMounted` does not change. With binds it is put together in a mount namespace of its own.
   */
  openRoot(key: string, binds?: readonly RootBind[], options?: MountOptions): Promise<OpenRoot>;
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
  /**
   * Removes half-made layers, snapshots for whose key `isOwned` says no, and local layers for which `isKept` says no (without
   * it all are kept), but for what a living process has not given to anybody yet.
   */
  reconcile(isOwned: (key: string) => boolean, isKept?: (layer: LocalLayer) => boolean): Promise<void>;
  /**
   * Waits until all layers are on disk and marks them, so that they survive a loss of power. The store does it by itself
   * some seconds after an `apply`, and at its end in a process that unpacked.
   */
  settle(): Promise<void>;
}
