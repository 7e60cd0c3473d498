import { mkdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import {
  AT_FDCWD,
  type FileLock,
  fromByteString,
  O_DIRECTORY,
  OpenFile,
  openAt,
  toByteString,
  tryFlock,
} from '../linux/index.ts';
import type { DerivedBlobs } from './content-store.ts';
import type { DiffID, LayerName, LocalLayer } from './digest.ts';
import { type DriverOptions, snapshotDriver } from './drivers.ts';
import type { FileActionRequest } from './file-actions/file-action.ts';
import type {
  Change,
  Layer,
  LayerInput,
  LayerStore,
  MountOptions,
  OpenRoot,
  OpenTree,
  PrepareOptions,
  RootBind,
  SealOptions,
  SealTarget,
  SnapshotUsage,
  TreeName,
} from './layer-store.ts';
import { missingLayer } from './layers/committed-layers.ts';
import type { RootStatus } from './layers/layer-record.ts';
import { LayerSet } from './layers/layer-set.ts';
import { MergedFolder } from './layers/merged-folder.ts';
import { packChanges } from './layers/pack-changes.ts';
import { spread } from './layers/spread.ts';
import { openStack } from './layers/stack.ts';
import { type VisibleFiles, walkVisible } from './layers/visible-files.ts';
import { opaqueAttribute } from './layers/whiteouts.ts';
import { assembleRoot } from './roots/assemble.ts';
import { ShownTrees } from './shown-trees.ts';
import { makeSkeleton, type Skeleton } from './skeleton.ts';
import { changedRoot, type LayerStack, rootOf, type SnapshotDriver } from './snapshot-driver.ts';
import { SnapshotFolders } from './snapshot-folders.ts';
import type { ArchiveLimits } from './tree/budget.ts';
import { compareTrees } from './tree/compare.ts';
import { paced } from './tree/pace.ts';
import { archiveOf } from './tree/pack.ts';
import { LayerSide, LiveSide, type TreeSide } from './tree/side.ts';
import { sizeSteps } from './tree/size.ts';
import { compareTwo } from './tree/two-trees.ts';

export interface LayerStoreOptions {
  /** Unpacked layers. */
  directory: string;
  /** Writable snapshots; on the same file system where the driver is overlay. */
  snapshotDirectory: string;
  driver?: 'overlay' | 'vfs';
  /** Mark whiteouts with user.overlay.*: inside a user namespace trusted.* is not ours to set. */
  userXattrs?: boolean;
  limits?: ArchiveLimits;
  /** What lies below every image. */
  skeleton?: Skeleton;
}

/** Opens (and makes, mode 0700) a store of layers and snapshots. Several processes may have it open. */
export async function openLayerStore(options: LayerStoreOptions): Promise<LayerStore & AsyncDisposable> {
  const { directory, snapshotDirectory, driver = 'overlay', userXattrs = false, limits } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  mkdirSync(snapshotDirectory, { recursive: true, mode: 0o700 });
  spread(snapshotDirectory);
  const skeleton = options.skeleton && makeSkeleton(join(directory, 'skeleton'), options.skeleton);
  const layers = LayerSet.open(directory, { userXattrs, limits, skeleton });
  const emptyLayer = join(directory, 'empty');
  return new DiskLayerStore(layers, snapshotDirectory, driver, { emptyLayer, userXattrs });
}

/** How long comparing may hold the event loop in one go. */
const SLICE_MS = 4;

class DiskLayerStore implements LayerStore, AsyncDisposable {
  readonly tars: DerivedBlobs;
  readonly #layers: LayerSet;
  readonly #snapshots: SnapshotFolders;
  readonly #driver: SnapshotDriver;
  readonly #driverOptions: DriverOptions;
  readonly #shown: ShownTrees;
  readonly #opaque: string;

  constructor(layers: LayerSet, directory: string, driver: SnapshotDriver['name'], options: DriverOptions) {
    this.#layers = layers;
    this.tars = layers.tars;
    this.#snapshots = new SnapshotFolders(directory);
    this.#driver = snapshotDriver(driver, options);
    this.#driverOptions = options;
    this.#shown = new ShownTrees(layers, this.#snapshots, this.#driver);
    this.#opaque = opaqueAttribute(options.userXattrs);
  }

  get driver(): 'overlay' | 'vfs' {
    return this.#driver.name;
  }

  async has(name: LayerName): Promise<boolean> {
    return this.missing([name]).length === 0;
  }

  missing<T extends LayerName>(names: readonly T[]): T[] {
    return this.#layers.missing(names);
  }

  folder(name: LayerName): string {
    return this.#layers.files(name);
  }

  async layer(diffID: DiffID): Promise<Layer> {
    return await this.#layers.layer(diffID);
  }

  async sizeOf(name: LayerName): Promise<number> {
    return await this.#layers.sizeOf(name);
  }

  diffIDOf(name: LayerName): DiffID | undefined {
    return this.#layers.diffIDOf(name);
  }

  async isEmpty(name: LayerName): Promise<boolean> {
    return await this.#layers.isEmpty(name);
  }

  async apply(input: LayerInput, expected?: DiffID, signal?: AbortSignal): Promise<Layer> {
    return await this.#layers.committed.apply(input, expected, signal);
  }

  async check(diffID: DiffID, input?: LayerInput, signal?: AbortSignal): Promise<string | undefined> {
    return await this.#layers.committed.check(diffID, input, signal);
  }

  async seal(
    layer: LocalLayer,
    content: SealTarget,
    options?: SealOptions,
  ): Promise<{ diffID: DiffID; sizeBytes: number }> {
    return await this.#layers.seal(layer, content, options);
  }

  async replace(diffID: DiffID, input: LayerInput, signal?: AbortSignal): Promise<void> {
    using _alone = await this.#useLock('exclusive');
    for (const key of await this.snapshots()) {
      // A mounted overlay must not lose what it stands on.
      if (this.#driver.deletions === 'absence' || !this.#snapshots.find(key)?.parents.includes(diffID)) continue;
      if (!this.#driver.isMounted(this.#snapshots.path(key))) continue;
      throw new TareError(
        'Conflict',
        `layer ${diffID} is in use by ${key}, which runs or is mounted: stop or unmount that first`,
      );
    }
    await this.#layers.committed.replace(diffID, input, signal);
  }

  layers(): Promise<Layer[]> {
    return this.#layers.committed.list();
  }

  get arrivals(): number {
    return this.#layers.folders.arrivals;
  }

  localLayers(): Promise<LocalLayer[]> {
    return this.#layers.local.list();
  }

  visibleFiles(names: readonly LayerName[]): VisibleFiles {
    const missing = this.missing(names)[0];
    if (missing !== undefined) throw missingLayer(missing);
    const opened = openStack({ records: [], paths: names.map((name) => this.folder(name)).reverse() });
    const layers = opened.fds.map((fd, index) => ({ fd, index: names.length - 1 - index }));
    const opaque = this.#opaque;
    return { walk: () => walkVisible(layers, opaque), [Symbol.dispose]: () => opened[Symbol.dispose]() };
  }

  async removeLayer(name: LayerName): Promise<void> {
    using _alone = await this.#useLock('exclusive');
    await this.#requireUnused(name);
    await this.#layers.local.remove(name);
    await this.#sweepRestored();
  }

  /** @throws {TareError} Conflict: a snapshot stands on the layer */
  async #requireUnused(name: LayerName): Promise<void> {
    for (const key of await this.snapshots()) {
      if (this.#snapshots.find(key)?.parents.includes(name)) {
        throw new TareError('Conflict', `layer ${name} is in use by snapshot ${key}: remove that first`);
      }
    }
  }

  async freeze(key: string, name?: LocalLayer): Promise<LocalLayer> {
    let layer = name && (await this.#layers.local.finish(name));
    if (layer === undefined) {
      const stack = this.#stackOf(key);
      const files = await this.#driver.changed(this.#snapshots.path(key), stack);
      layer = await this.#layers.local.adopt(files, changedRoot(files, stack), name);
    }
    await this.remove(key);
    return layer;
  }

  async thaw(layer: LocalLayer, key: string): Promise<void> {
    using _alone = await this.#useLock('exclusive');
    await this.#requireUnused(layer);
    const { diffID, root } = this.#layers.record(layer);
    if (diffID !== undefined) {
      throw new TareError('Conflict', `layer ${layer} is ${diffID}, too, and can no longer be changed`);
    }
    const directory = this.#snapshots.path(key);
    this.#snapshots.lend(key, this.#layers.life.id);
    await this.#driver.create(directory, { records: [{ implied: [], root }], paths: [] });
    await rmdir(this.#driver.written(directory));
    await this.#layers.local.release(layer, this.#driver.written(directory));
    this.#snapshots.write(key, { parents: [], isBare: true });
  }

  files(key: string): string {
    if (this.#snapshots.record(key).parents.length > 0) {
      throw new TareError('Conflict', `snapshot ${key} stands on layers: mount it to see its files`);
    }
    return this.#driver.written(this.#snapshots.path(key));
  }

  async openTree(...asked: Parameters<LayerStore['openTree']>): Promise<OpenTree> {
    return await this.#shown.open(...asked);
  }

  contentDigest(...asked: Parameters<LayerStore['contentDigest']>): Promise<string> {
    return this.#layers.contentDigest(...asked);
  }

  async difference(
    before: readonly LayerName[],
    after: readonly LayerName[],
    signal?: AbortSignal,
  ): Promise<LocalLayer> {
    const directory = this.#snapshots.hidden(this.#layers.life.id);
    try {
      return await this.#layers.difference(before, after, join(directory, 'files'), signal);
    } finally {
      await this.#snapshots.discard(directory);
    }
  }

  async runFileActions(request: FileActionRequest, signal?: AbortSignal): Promise<void> {
    await this.#layers.pool.run({ type: 'files', request }, signal);
  }

  async mountTree(names: readonly LayerName[], target: string): Promise<AsyncDisposable> {
    return await this.#shown.mount(names, target);
  }

  async prepare(
    key: string,
    parents: readonly LayerName[],
    { isBare = false, isTransient = false }: PrepareOptions = {},
  ): Promise<void> {
    const directory = this.#snapshots.path(key);
    const existing = this.#snapshots.find(key);
    if (existing !== undefined) {
      if (existing.parents.join() === parents.join()) return;
      throw new TareError('Conflict', `snapshot ${key} exists already, over other layers`);
    }
    // Held until the record says which layers are in use, so that none of them is removed before.
    using _shared = await this.#useLock('shared');
    const stack = this.#layers.stack(parents, { isBare });
    this.#snapshots.make(key, isTransient ? this.#layers.life.id : undefined);
    await this.#driver.create(directory, stack);
    this.#snapshots.write(key, { parents, ...(isBare ? { isBare } : {}) });
  }

  async view(key: string, parents: readonly LayerName[]): Promise<string> {
    await this.prepare(key, parents, { isBare: true });
    const stack = this.#layers.stack(parents, { isBare: true });
    return this.#driver.mount(this.#snapshots.path(key), stack, { readOnly: true });
  }

  mount(key: string, options?: MountOptions): string {
    const directory = this.#snapshots.path(key);
    const record = this.#snapshots.record(key);
    if (this.#driver.isMounted(directory)) return this.#driver.root(directory);
    return this.#driver.mount(directory, this.#layers.stack(record.parents, record), options);
  }

  async openRoot(key: string, binds: readonly RootBind[] = [], options: MountOptions = {}): Promise<OpenRoot> {
    const [directory, stack] = [this.#snapshots.path(key), this.#stackOf(key)];
    if (binds.length === 0) return new OpenFile(this.#driver.open(directory, stack, options));
    const { name: driver } = this.#driver;
    return await assembleRoot({ driver, directory, stack, binds: [...binds], ...this.#driverOptions });
  }

  unmount(key: string): void {
    this.#driver.unmount(this.#snapshots.path(key));
  }

  isMounted(key: string): boolean {
    return this.#driver.isMounted(this.#snapshots.path(key));
  }

  mountPath(key: string): string {
    return this.#driver.root(this.#snapshots.path(key));
  }

  async changes(key: string): Promise<Change[]> {
    const changes: Change[] = [];
    const collect = function* (steps: ReturnType<typeof compareTrees>): Generator<void, void, void> {
      for (const change of steps) {
        if (change !== undefined) changes.push({ path: `/${fromByteString(change.path)}`, kind: change.kind });
        yield;
      }
    };
    using opened = this.#open(key);
    await paced(collect(this.#compare(opened, false)));
    return changes;
  }

  async *compare(before: TreeName, after: TreeName): AsyncGenerator<Change, void, void> {
    // A snapshot's root has the skeleton in it: then the other side needs it as well.
    const isBare = !('snapshot' in before || 'snapshot' in after);
    using old = this.#side(before, isBare);
    using now = this.#side(after, isBare);
    let until = performance.now() + SLICE_MS;
    for (const change of compareTwo(old, now)) {
      if (change !== undefined) yield { path: `/${fromByteString(change.path)}`, kind: change.kind };
      if (performance.now() < until) continue;
      await setImmediate();
      until = performance.now() + SLICE_MS;
    }
  }

  async *diff(key: string): AsyncGenerator<Uint8Array, void, void> {
    using opened = this.#open(key);
    yield* archiveOf(packChanges(opened.writtenFd, opened.root, this.#compare(opened, true)));
  }

  async usage(key: string): Promise<SnapshotUsage> {
    this.#snapshots.record(key);
    using written = new OpenFile(this.#openWritten(key));
    return await paced(sizeSteps(written.fd));
  }

  async remove(key: string): Promise<void> {
    this.#driver.unmount(this.#snapshots.path(key));
    this.#snapshots.remove(key);
  }

  async snapshots(): Promise<string[]> {
    return await this.#snapshots.keys();
  }

  async reconcile(
    isOwned: (key: string) => boolean,
    isKept: (layer: LocalLayer) => boolean = () => true,
  ): Promise<void> {
    const { life } = this.#layers;
    await this.#snapshots.sweep((maker) => life.isAlive(maker));
    for (const key of await this.snapshots()) {
      if (isOwned(key)) continue;
      const maker = this.#snapshots.maker(key);
      if (maker === undefined || !life.isAlive(maker)) await this.remove(key);
    }
    await this.#snapshots.rest();
    using _alone = await this.#useLock('exclusive');
    // After the snapshots that stand on them.
    const used = new Set((await this.#parentLists()).flat());
    await this.#layers.reconcile((layer) => used.has(layer) || isKept(layer));
    await this.#sweepRestored();
  }

  async settle(): Promise<void> {
    await this.#layers.folders.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#snapshots.rest();
    await this.#layers[Symbol.asyncDispose]();
  }

  #stackOf(key: string): LayerStack {
    const record = this.#snapshots.record(key);
    return this.#layers.stack(record.parents, record);
  }

  async #parentLists(): Promise<(readonly LayerName[])[]> {
    return (await this.snapshots()).map((key) => this.#snapshots.find(key)?.parents ?? []);
  }

  async #sweepRestored(): Promise<void> {
    await this.#layers.sweepRestored(await this.#parentLists());
  }

  #side(tree: TreeName, isBare: boolean): TreeSide {
    if ('snapshot' in tree) {
      const [path, stack] = [this.#snapshots.path(tree.snapshot), this.#stackOf(tree.snapshot)];
      return new LiveSide(new OpenFile(this.#driver.open(path, stack)));
    }
    const layers = openStack(this.#layers.stack(tree.layers, { isBare }));
    return new LayerSide(new MergedFolder(layers.fds, this.#opaque), layers);
  }

  #openWritten(key: string): number {
    return openAt(AT_FDCWD, toByteString(this.#driver.written(this.#snapshots.path(key))), O_DIRECTORY);
  }

  #open(key: string): Disposable & { writtenFd: number; below: MergedFolder; root: RootStatus } {
    using opened = new DisposableStack();
    const stack = this.#stackOf(key);
    const layers = opened.use(openStack(stack));
    const written = opened.use(new OpenFile(this.#openWritten(key)));
    const owned = opened.move();
    const below = new MergedFolder(layers.fds, this.#opaque);
    return { writtenFd: written.fd, below, root: rootOf(stack), [Symbol.dispose]: () => owned.dispose() };
  }

  #compare(opened: { writtenFd: number; below: MergedFolder }, everything: boolean): ReturnType<typeof compareTrees> {
    const { deletions } = this.#driver;
    return compareTrees(opened.writtenFd, opened.below, {
      deletions,
      opaque: this.#opaque,
      // A whole tree holds what never changed, too.
      everything: everything && deletions === 'whiteout',
    });
  }

  /** Preparing snapshots and removing layers exclude each other, across processes. */
  async #useLock(mode: 'exclusive' | 'shared'): Promise<FileLock> {
    const path = join(this.#layers.folders.directory, 'locks', 'in-use');
    for (;;) {
      const lock = tryFlock(path, mode);
      if (lock !== undefined) return lock;
      await sleep(2);
    }
  }
}
