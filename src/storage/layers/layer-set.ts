import { mkdirSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import type { DerivedBlobs } from '../content-store.ts';
import type { ContentSelector } from '../contents/content-selector.ts';
import { KnownContents } from '../contents/known-contents.ts';
import { type DiffID, type Digest, DigestMismatch, isLocalLayer, type LayerName, type LocalLayer } from '../digest.ts';
import type { ContentOptions, Layer, SealOptions, SealTarget } from '../layer-store.ts';
import { type LayerStack, rootOf } from '../snapshot-driver.ts';
import { StoreLife } from '../store-life.ts';
import { ThreadPool } from '../thread-pool.ts';
import type { ArchiveLimits } from '../tree/budget.ts';
import { paced } from '../tree/pace.ts';
import { LayerSide } from '../tree/side.ts';
import { sizeSteps } from '../tree/size.ts';
import { compareTwo } from '../tree/two-trees.ts';
import { CommittedLayers, missingLayer } from './committed-layers.ts';
import { layChanges, placeIn } from './lay-changes.ts';
import { LayerFolders } from './layer-folders.ts';
import type { LayerRecord } from './layer-record.ts';
import { CONTENTS, LocalLayers } from './local-layers.ts';
import { MergedFolder } from './merged-folder.ts';
import type { PackedLayer } from './pack-layer.ts';
import { RestoredLayers } from './restored-layers.ts';
import { openStack } from './stack.ts';
import { opaqueAttribute } from './whiteouts.ts';

interface LayerSetOptions {
  userXattrs: boolean;
  limits: ArchiveLimits | undefined;
  /** Folder that lies below every stack. */
  skeleton: string | undefined;
}

/** How layers are put together. */
export interface StackOptions {
  /** Without the skeleton: as the image has them. */
  isBare?: boolean;
}

/** The layers of a store, unpacked and local ones, by any of their names. */
export class LayerSet implements AsyncDisposable {
  readonly folders: LayerFolders;
  readonly committed: CommittedLayers;
  readonly local: LocalLayers;
  readonly pool = new ThreadPool();
  readonly life: StoreLife;
  readonly #restored: RestoredLayers;
  readonly #options: LayerSetOptions;
  /** Layers of images came about here, of which nothing but their files is stored. */
  #hasSealed = false;

  /** Tars of sealed layers. */
  readonly tars: DerivedBlobs = {
    sizeOf: (digest) => this.folders.record(digest as string as DiffID)?.tarBytes,
    write: async (digest, fd) => {
      const diffID = digest as string as DiffID;
      const { root } = this.record(diffID);
      const { userXattrs } = this.#options;
      const request = { directory: this.files(diffID), root, userXattrs, fd };
      const packed = await this.pool.run<PackedLayer>({ type: 'pack', request });
      if (packed.diffID === diffID) return packed.tarBytes;
      throw new DigestMismatch(`what the files of layer ${diffID} give now`, diffID, packed.diffID);
    },
  };

  static open(directory: string, options: LayerSetOptions): LayerSet {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return new LayerSet(LayerFolders.open(directory), options);
  }

  private constructor(folders: LayerFolders, options: LayerSetOptions) {
    this.folders = folders;
    this.#options = options;
    this.life = new StoreLife(join(folders.directory, 'locks'));
    this.committed = new CommittedLayers(folders, this.pool, options);
    this.local = new LocalLayers(folders, this.life);
    this.#restored = new RestoredLayers(join(folders.directory, 'restored'), opaqueAttribute(options.userXattrs));
  }

  missing<T extends LayerName>(names: readonly T[]): T[] {
    return names.filter((name) => this.local.whole(name) === undefined);
  }

  /** The folder with a layer's files; there may be none. */
  files(name: LayerName): string {
    return join(this.folders.folder(this.local.whole(name) ?? name), 'diff');
  }

  /** @throws {TareError} NotFound */
  record(name: LayerName): LayerRecord {
    const whole = this.local.whole(name);
    const record = whole && this.folders.record(whole);
    if (record === undefined) throw missingLayer(name);
    return record;
  }

  async layer(diffID: DiffID): Promise<Layer> {
    return { diffID, sizeBytes: this.record(diffID).sizeBytes ?? 0 };
  }

  async sizeOf(name: LayerName): Promise<number> {
    const { sizeBytes } = this.record(name);
    if (sizeBytes !== undefined) return sizeBytes;
    const remembered = join(this.folders.folder(name), 'size');
    const known = await this.local.rememberedSize(name);
    if (known !== undefined) return known;
    using files = new OpenFile(openAt(AT_FDCWD, toByteString(this.files(name)), O_DIRECTORY));
    const size = await paced(sizeSteps(files.fd));
    await writeFile(remembered, String(size.sizeBytes), { mode: 0o600 });
    return size.sizeBytes;
  }

  diffIDOf(name: LayerName): DiffID | undefined {
    return isLocalLayer(name) ? this.local.diffID(name) : name;
  }

  /** Whether a layer has no entry at all. */
  async isEmpty(name: LayerName): Promise<boolean> {
    return this.record(name).root === undefined && (await readdir(this.files(name))).length === 0;
  }

  async seal(
    layer: LocalLayer,
    content: SealTarget,
    { clampToSeconds, signal }: SealOptions = {},
  ): Promise<{ diffID: DiffID; sizeBytes: number }> {
    const { root, diffID: known } = this.record(layer);
    const isWhole = clampToSeconds === undefined;
    if (isWhole && known !== undefined) {
      // Whoever removed the image that needed it may have removed its name, too.
      if (this.missing([known]).length > 0) await this.local.name(layer, known);
      const sizeBytes = this.tars.sizeOf(blobOf(known)) ?? (await sizeIfAny(content, known));
      if (sizeBytes !== undefined) return { diffID: known, sizeBytes };
    }
    const { userXattrs } = this.#options;
    const clamp = isWhole ? {} : { clampToSeconds };
    const pack = (fd: number | undefined) =>
      this.pool.run<PackedLayer>(
        { type: 'pack', request: { directory: this.files(layer), root, userXattrs, fd, ...clamp } },
        signal,
      );
    if (isWhole) {
      const packed = await pack(undefined);
      await this.local.name(layer, packed.diffID, packed);
      this.#hasSealed = true;
      const { diffID, tarBytes: sizeBytes } = packed;
      // Where a layer of this diffID was unpacked before, that one is its folder, and gives maybe another tar.
      const digest = blobOf(diffID);
      if (this.tars.sizeOf(digest) !== undefined || (await content.has(digest))) return { diffID, sizeBytes };
    }
    let diffID: DiffID | undefined;
    const { sizeBytes } = await content.take(async (fd) => {
      const packed = await pack(fd);
      ({ diffID } = packed);
      return { digest: blobOf(packed.diffID), sizeBytes: packed.tarBytes };
    });
    return { diffID: diffID!, sizeBytes };
  }

  /** @param parents base first @throws {TareError} NotFound: a layer is missing */
  stack(parents: readonly LayerName[], { isBare = false }: StackOptions = {}): LayerStack {
    // The kernel refuses a folder that is listed twice (ELOOP); below itself a layer adds nothing.
    const topFirst = new Map<string, LayerRecord>();
    for (const name of [...parents].reverse()) {
      const record = this.record(name);
      const files = this.folders.real(this.local.whole(name) ?? name);
      if (!topFirst.has(files)) topFirst.set(files, record);
    }
    const records = [...topFirst.values()];
    const paths = [...topFirst.keys()];
    const restored = this.#restored.path(parents, { records, paths });
    const skeleton = isBare ? undefined : this.#options.skeleton;
    const [top, bottom] = [restored, skeleton].map((path) => (path === undefined ? [] : [path]));
    return { records, paths: [...(top ?? []), ...paths, ...(bottom ?? [])] };
  }

  async contentDigest(
    names: readonly LayerName[],
    selectors: readonly ContentSelector[],
    { signal, isRootless = false }: ContentOptions = {},
  ): Promise<string> {
    const stack = this.stack(names, { isBare: true });
    const { paths } = stack;
    const layers = paths.map((files) => ({ files, index: join(dirname(files), CONTENTS) }));
    const { userXattrs } = this.#options;
    const request = { layers, userXattrs, root: isRootless ? undefined : rootOf(stack), selectors };
    const top = names.at(-1);
    if (top === undefined) return await this.pool.run<string>({ type: 'contents', request }, signal);
    const folder = dirname(this.folders.real(this.local.whole(top) ?? top));
    const known = new KnownContents(join(folder, 'content-digests'), names, request);
    const before = known.find();
    if (before !== undefined) return before;
    const digest = await this.pool.run<string>({ type: 'contents', request }, signal);
    known.keep(digest);
    return digest;
  }

  /** @param files an absent folder to make the layer in */
  async difference(
    before: readonly LayerName[],
    after: readonly LayerName[],
    files: string,
    signal: AbortSignal | undefined,
  ): Promise<LocalLayer> {
    const opaque = opaqueAttribute(this.#options.userXattrs);
    const [lower, upper] = [this.stack(before, { isBare: true }), this.stack(after, { isBare: true })];
    await mkdir(files, { mode: 0o755 });
    {
      using target = new OpenFile(openAt(AT_FDCWD, toByteString(files), O_DIRECTORY));
      using old = openStack(lower);
      using now = openStack(upper);
      const tree = new MergedFolder(now.fds, opaque);
      const none = { [Symbol.dispose]: () => {} };
      const changes = compareTwo(new LayerSide(new MergedFolder(old.fds, opaque), none), new LayerSide(tree, none));
      await paced(
        layChanges(target.fd, changes, (path) => placeIn(tree, path)),
        signal,
      );
    }
    const [was, is] = [rootOf(lower), rootOf(upper)];
    const isSame = was.uid === is.uid && was.gid === is.gid && was.mode === is.mode;
    return await this.local.adopt(files, isSame ? undefined : is);
  }

  /** Removes what was made for stacks that are not in use. */
  async sweepRestored(used: readonly (readonly LayerName[])[]): Promise<void> {
    await this.#restored.sweep(used);
  }

  async reconcile(isKept: (layer: LocalLayer) => boolean): Promise<void> {
    await this.folders.reconcile();
    await this.local.reconcile(isKept);
    this.life.sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.folders.rest();
    await this.pool[Symbol.asyncDispose]();
    // Who unpacked waits for the disk; who only used layers leaves it to a process that lives longer.
    if (this.committed.hasUnpacked || this.#hasSealed) await this.folders.settle();
    this.life[Symbol.dispose]();
  }
}

async function sizeIfAny(content: SealTarget, diffID: DiffID): Promise<number | undefined> {
  const digest = blobOf(diffID);
  return (await content.has(digest)) ? (await content.info(digest)).sizeBytes : undefined;
}

/** An uncompressed layer is the blob of its diffID. */
const blobOf = (diffID: DiffID): Digest => diffID as string as Digest;
