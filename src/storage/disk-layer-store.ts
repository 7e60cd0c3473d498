import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
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
import type { DiffID } from './digest.ts';
import { type DriverOptions, snapshotDriver } from './drivers.ts';
import type {
  Change,
  Layer,
  LayerInput,
  LayerStore,
  MountOptions,
  OpenRoot,
  RootBind,
  SnapshotUsage,
  TreeName,
} from './layer-store.ts';
import { CommittedLayers, missingLayer } from './layers/committed-layers.ts';
import { MergedFolder } from './layers/merged-folder.ts';
import { packChanges, type RootStatus } from './layers/pack-changes.ts';
import { RestoredLayers } from './layers/restored-layers.ts';
import { openStack } from './layers/stack.ts';
import { type VisibleFiles, walkVisible } from './layers/visible-files.ts';
import { opaqueAttribute } from './layers/whiteouts.ts';
import { assembleRoot } from './roots/assemble.ts';
import { makeSkeleton, type Skeleton } from './skeleton.ts';
import { type LayerStack, rootOf, type SnapshotDriver } from './snapshot-driver.ts';
import type { ArchiveLimits } from './tree/budget.ts';
import { compareTrees } from './tree/compare.ts';
import { paced } from './tree/pace.ts';
import { archiveOf } from './tree/pack.ts';
import { removeSteps } from './tree/remove.ts';
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
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await mkdir(snapshotDirectory, { recursive: true, mode: 0o700 });
  const committed = await CommittedLayers.open(directory, { userXattrs, limits });
  const emptyLayer = join(directory, 'empty');
  const skeleton = options.skeleton && makeSkeleton(join(directory, 'skeleton'), options.skeleton);
  return new DiskLayerStore(committed, snapshotDirectory, driver, { emptyLayer, userXattrs }, skeleton);
}

const keyPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;

/** How long comparing may hold the event loop in one go. */
const SLICE_MS = 4;

/** How layers are put together. */
interface StackOptions {
  /** Without the skeleton: as the image has them. */
  isBare?: boolean;
}

/** Snapshots being removed have a name that no key can have. */
const REMOVING = '.removing-';

class DiskLayerStore implements LayerStore, AsyncDisposable {
  readonly #committed: CommittedLayers;
  readonly #directory: string;
  readonly #driver: SnapshotDriver;
  readonly #driverOptions: DriverOptions;
  readonly #opaque: string;

  readonly #restored: RestoredLayers;
  readonly #skeleton: string | undefined;
  /** Removed snapshots whose files are still going. */
  #emptying: Promise<void> = Promise.resolve();

  constructor(
    committed: CommittedLayers,
    directory: string,
    driver: SnapshotDriver['name'],
    options: DriverOptions,
    skeleton: string | undefined,
  ) {
    this.#skeleton = skeleton;
    this.#committed = committed;
    this.#directory = directory;
    this.#driver = snapshotDriver(driver, options);
    this.#driverOptions = options;
    this.#opaque = opaqueAttribute(options.userXattrs);
    this.#restored = new RestoredLayers(join(committed.directory, 'restored'), this.#opaque);
  }

  get driver(): 'overlay' | 'vfs' {
    return this.#driver.name;
  }

  async has(diffID: DiffID): Promise<boolean> {
    return this.#committed.record(diffID) !== undefined;
  }

  missing(diffIDs: readonly DiffID[]): DiffID[] {
    return diffIDs.filter((diffID) => this.#committed.record(diffID) === undefined);
  }

  folder(diffID: DiffID): string {
    return this.#committed.path(diffID);
  }

  async layer(diffID: DiffID): Promise<Layer> {
    const record = this.#committed.record(diffID);
    if (record === undefined) throw missingLayer(diffID);
    return { diffID, sizeBytes: record.sizeBytes };
  }

  async apply(input: LayerInput, expected?: DiffID, signal?: AbortSignal): Promise<Layer> {
    return await this.#committed.apply(input, expected, signal);
  }

  async check(diffID: DiffID, input?: LayerInput, signal?: AbortSignal): Promise<string | undefined> {
    return await this.#committed.check(diffID, input, signal);
  }

  async replace(diffID: DiffID, input: LayerInput, signal?: AbortSignal): Promise<void> {
    using _alone = await this.#useLock('exclusive');
    for (const key of await this.snapshots()) {
      // A mounted overlay must not lose what it stands on.
      if (this.#driver.deletions === 'absence' || !this.#readParents(key)?.includes(diffID)) continue;
      if (!this.#driver.isMounted(this.#snapshot(key))) continue;
      throw new TareError(
        'Conflict',
        `layer ${diffID} is in use by ${key}, which runs or is mounted: stop or unmount that first`,
      );
    }
    await this.#committed.replace(diffID, input, signal);
  }

  async layers(): Promise<Layer[]> {
    return await this.#committed.list();
  }

  visibleFiles(diffIDs: readonly DiffID[]): VisibleFiles {
    const missing = this.missing(diffIDs)[0];
    if (missing !== undefined) throw missingLayer(missing);
    const topFirst = [...diffIDs].reverse();
    const opened = openStack({ records: [], paths: topFirst.map((diffID) => this.#committed.path(diffID)) });
    const layers = opened.fds.map((fd, index) => ({ fd, index: diffIDs.length - 1 - index }));
    const opaque = this.#opaque;
    return { walk: () => walkVisible(layers, opaque), [Symbol.dispose]: () => opened[Symbol.dispose]() };
  }

  async removeLayer(diffID: DiffID): Promise<void> {
    using _alone = await this.#useLock('exclusive');
    for (const key of await this.snapshots()) {
      if (this.#readParents(key)?.includes(diffID)) {
        throw new TareError('Conflict', `layer ${diffID} is in use by snapshot ${key}: remove that first`);
      }
    }
    await this.#committed.remove(diffID);
    await this.#sweepRestored();
  }

  async prepare(key: string, parents: readonly DiffID[]): Promise<void> {
    await this.#prepare(key, parents);
  }

  async view(key: string, parents: readonly DiffID[]): Promise<string> {
    const bare = { isBare: true };
    await this.#prepare(key, parents, bare);
    const directory = this.#snapshot(key);
    return this.#driver.mount(directory, this.#stack(parents, bare), { readOnly: true });
  }

  async #prepare(key: string, parents: readonly DiffID[], options: StackOptions = {}): Promise<void> {
    const directory = this.#snapshot(key);
    const existing = this.#readParents(key);
    if (existing !== undefined) {
      if (existing.join() === parents.join()) return;
      throw new TareError('Conflict', `snapshot ${key} exists already, over other layers`);
    }
    // Held until the record says which layers are in use, so that none of them is removed before.
    using _shared = await this.#useLock('shared');
    const stack = this.#stack(parents, options);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    await this.#driver.create(directory, stack);
    const record = join(directory, 'parents.json');
    writeFileSync(`${record}.new`, JSON.stringify(parents), { mode: 0o600 });
    renameSync(`${record}.new`, record);
  }

  mount(key: string, options?: MountOptions): string {
    const directory = this.#snapshot(key);
    const parents = this.#parents(key);
    if (this.#driver.isMounted(directory)) return this.#driver.root(directory);
    return this.#driver.mount(directory, this.#stack(parents), options);
  }

  async openRoot(key: string, binds: readonly RootBind[] = []): Promise<OpenRoot> {
    const directory = this.#snapshot(key);
    const stack = this.#stack(this.#parents(key));
    if (binds.length === 0) return new OpenFile(this.#driver.open(directory, stack));
    const { name: driver } = this.#driver;
    return await assembleRoot({ driver, directory, stack, binds: [...binds], ...this.#driverOptions });
  }

  unmount(key: string): void {
    this.#driver.unmount(this.#snapshot(key));
  }

  isMounted(key: string): boolean {
    return this.#driver.isMounted(this.#snapshot(key));
  }

  mountPath(key: string): string {
    return this.#driver.root(this.#snapshot(key));
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
    this.#parents(key);
    using written = new OpenFile(this.#openWritten(key));
    return await paced(sizeSteps(written.fd));
  }

  async remove(key: string): Promise<void> {
    const directory = this.#snapshot(key);
    if (!existsSync(directory)) return;
    this.#driver.unmount(directory);
    const name = `${REMOVING}${randomBytes(8).toString('hex')}`;
    try {
      renameSync(directory, join(this.#directory, name));
    } catch (error) {
      // Another process was quicker.
      if ((error as { code?: unknown }).code === 'ENOENT') return;
      throw error;
    }
    // Nobody waits for the files; what a crash leaves of them, reconcile() removes.
    this.#emptying = this.#emptying.then(() => this.#empty(name)).catch(() => {});
  }

  async snapshots(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => !name.startsWith(REMOVING));
  }

  async reconcile(isOwned: (key: string) => boolean): Promise<void> {
    await this.#committed.reconcile();
    for (const name of await readdir(this.#directory)) {
      if (name.startsWith(REMOVING)) await this.#empty(name);
      else if (keyPattern.test(name) && !isOwned(name)) await this.remove(name);
    }
    await this.#emptying;
    using _alone = await this.#useLock('exclusive');
    await this.#sweepRestored();
  }

  async settle(): Promise<void> {
    await this.#committed.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#emptying;
    await this.#committed[Symbol.asyncDispose]();
  }

  #snapshot(key: string): string {
    if (!keyPattern.test(key)) {
      throw new TareError(
        'InvalidArgument',
        `invalid snapshot key ${JSON.stringify(key)}: want letters, digits, _, . and -`,
      );
    }
    return join(this.#directory, key);
  }

  /** @returns undefined: no snapshot, or one that was never completed */
  #readParents(key: string): DiffID[] | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#snapshot(key), 'parents.json'), 'utf8')) as DiffID[];
    } catch (error) {
      // SyntaxError: power went before the record reached the disk; `prepare` writes it again.
      if ((error as { code?: unknown }).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  #parents(key: string): DiffID[] {
    const parents = this.#readParents(key);
    if (parents === undefined) throw new TareError('NotFound', `no snapshot ${key}: prepare it first`);
    return parents;
  }

  /** @throws {TareError} NotFound: a layer is missing */
  #stack(parents: readonly DiffID[], { isBare = false }: StackOptions = {}): LayerStack {
    // The kernel refuses a folder that is listed twice (ELOOP); below itself a layer adds nothing.
    const topFirst = [...new Set([...parents].reverse())];
    const records = topFirst.map((diffID) => {
      const record = this.#committed.record(diffID);
      if (record === undefined) throw missingLayer(diffID);
      return record;
    });
    const paths = topFirst.map((diffID) => this.#committed.path(diffID));
    const restored = this.#restored.path(parents, { records, paths });
    const skeleton = isBare ? undefined : this.#skeleton;
    const [top, bottom] = [restored, skeleton].map((path) => (path === undefined ? [] : [path]));
    return { records, paths: [...(top ?? []), ...paths, ...(bottom ?? [])] };
  }

  async #sweepRestored(): Promise<void> {
    const keys = await this.snapshots();
    await this.#restored.sweep(keys.map((key) => this.#readParents(key) ?? []));
  }

  #side(tree: TreeName, isBare: boolean): TreeSide {
    if ('snapshot' in tree) {
      const stack = this.#stack(this.#parents(tree.snapshot));
      return new LiveSide(new OpenFile(this.#driver.open(this.#snapshot(tree.snapshot), stack)));
    }
    const layers = openStack(this.#stack(tree.layers, { isBare }));
    return new LayerSide(new MergedFolder(layers.fds, this.#opaque), layers);
  }

  #openWritten(key: string): number {
    return openAt(AT_FDCWD, toByteString(this.#driver.written(this.#snapshot(key))), O_DIRECTORY);
  }

  #open(key: string): Disposable & { writtenFd: number; below: MergedFolder; root: RootStatus } {
    using opened = new DisposableStack();
    const stack = this.#stack(this.#parents(key));
    const layers = opened.use(openStack(stack));
    const written = opened.use(new OpenFile(this.#openWritten(key)));
    const owned = opened.move();
    return {
      writtenFd: written.fd,
      below: new MergedFolder(layers.fds, this.#opaque),
      root: rootOf(stack),
      [Symbol.dispose]: () => owned.dispose(),
    };
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
    const path = join(this.#committed.directory, 'locks', 'in-use');
    for (;;) {
      const lock = tryFlock(path, mode);
      if (lock !== undefined) return lock;
      await sleep(2);
    }
  }

  async #empty(name: string): Promise<void> {
    using directory = new OpenFile(openAt(AT_FDCWD, toByteString(this.#directory), O_DIRECTORY));
    await paced(removeSteps(directory.fd, name));
  }
}
