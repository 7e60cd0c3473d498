import { readlinkSync, renameSync, rmSync } from 'node:fs';
import { readFile, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AT_FDCWD, renameAt, toByteString } from '../../linux/index.ts';
import { type DiffID, isLocalLayer, type LayerName, type LocalLayer, newLocalLayer } from '../digest.ts';
import type { StoreLife } from '../store-life.ts';
import { folderNameOf, type LayerFolders } from './layer-folders.ts';
import type { LayerRecord, RootStatus } from './layer-record.ts';

const isCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes(String((error as { code?: unknown } | null)?.code));

/** Where digests of a folder's files are remembered, beside it. */
export const CONTENTS = 'file-digests';

function moveIfAny(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
}

/**
 * Layers that were made here, and that no tar was made of at first. One that was sealed has a diffID for a second name: a link
 * to its folder, until the local name is removed and the folder takes the link's place.
 */
export class LocalLayers {
  readonly #folders: LayerFolders;
  readonly #life: StoreLife;

  constructor(folders: LayerFolders, life: StoreLife) {
    this.#folders = folders;
    this.#life = life;
  }

  /**
   * Makes a folder of files a layer, taking it away from where it is. After a crash it lies where it was, or `finish` finds it.
   * @param root owner and mode of the root folder, if the layer changes them
   */
  async adopt(files: string, root: RootStatus | undefined, name = newLocalLayer()): Promise<LocalLayer> {
    const id = folderNameOf(name);
    using _lock = await this.#folders.lock(id);
    const ingest = await this.#folders.ingest(id);
    let isTaken = false;
    try {
      const record = await this.#folders.describe(ingest, { implied: [], root, maker: this.#life.id });
      moveIfAny(join(dirname(files), CONTENTS), join(ingest, CONTENTS));
      renameSync(files, join(ingest, 'diff'));
      isTaken = true;
      await this.#folders.place(ingest, name, record);
    } finally {
      if (!isTaken) await this.#folders.discard(ingest);
      await unlink(join(this.#folders.directory, 'locks', id)).catch(() => {});
    }
    return name;
  }

  /** Whether a folder of files has become this layer; one whose maker died in the middle is finished. @returns undefined: it has not */
  async finish(name: LocalLayer): Promise<LocalLayer | undefined> {
    if (this.#folders.record(name) !== undefined) return name;
    const id = folderNameOf(name);
    using _lock = await this.#folders.lock(id);
    const isPlaced = await this.#folders.placeAbandoned(name);
    await unlink(join(this.#folders.directory, 'locks', id)).catch(() => {});
    return isPlaced ? name : undefined;
  }

  /** Takes a layer's files back, to be changed. Nothing may stand on it. A crash may leave neither it nor its files. */
  async release(name: LocalLayer, files: string): Promise<void> {
    await this.#folders.remove(name, (removed) => {
      renameSync(join(removed, 'diff'), files);
      moveIfAny(join(removed, CONTENTS), join(dirname(files), CONTENTS));
    });
  }

  /** The layer's diffID, also when its files were lost since. @returns undefined: it was never sealed */
  diffID(name: LocalLayer): DiffID | undefined {
    return this.#folders.record(name)?.diffID ?? this.#folders.readRecord(name)?.diffID;
  }

  /** Makes what was packed known by its diffID too. Several builds may come to it at once, also in other processes. */
  async name(layer: LocalLayer, diffID: DiffID, packed?: { filesBytes: number; tarBytes: number }): Promise<void> {
    const own = folderNameOf(layer);
    using _own = await this.#folders.lock(own);
    const record: LayerRecord = { ...this.#folders.readRecord(layer)!, diffID };
    if (packed !== undefined) Object.assign(record, { sizeBytes: packed.filesBytes, tarBytes: packed.tarBytes });
    const path = join(this.#folders.folder(layer), 'layer.json');
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
    this.#folders.remember(layer, record);
    const id = folderNameOf(diffID);
    using _lock = await this.#folders.lock(id);
    if (this.#folders.record(diffID) === undefined) {
      this.#folders.arrivals += 1;
      await this.#folders.remove(diffID);
      await symlink(own, this.#folders.folder(diffID));
    }
    for (const held of [id, own]) await unlink(join(this.#folders.directory, 'locks', held)).catch(() => {});
  }

  /** Removes one name of a layer; its folder stays as long as another name leads to it. */
  async remove(name: LayerName): Promise<void> {
    const other = await this.#otherName(name);
    if (other === undefined) return await this.#folders.remove(name);
    const [from, to] = [this.#folders.folder(name), this.#folders.folder(other)];
    renameAt(AT_FDCWD, toByteString(from), AT_FDCWD, toByteString(to), { exchange: true });
    // What is there now is the link, and leads to itself.
    rmSync(from, { force: true });
    this.#folders.forget(name);
  }

  /** A name that is a link to the folder of this one. */
  async #otherName(name: LayerName): Promise<LayerName | undefined> {
    const own = folderNameOf(name);
    const candidates = isLocalLayer(name) ? [this.diffID(name)] : await this.list();
    return candidates.find((other) => other !== undefined && this.#linkOf(other) === own);
  }

  /** @returns undefined: it is a folder, or nothing */
  #linkOf(name: LayerName): string | undefined {
    try {
      return readlinkSync(this.#folders.folder(name));
    } catch (error) {
      if (isCode(error, 'ENOENT', 'EINVAL')) return undefined;
      throw error;
    }
  }

  async list(): Promise<LocalLayer[]> {
    return (await this.#folders.names()).filter((name): name is LocalLayer => isLocalLayer(name));
  }

  /** Removes what nobody can want any more. @param isKept what records say */
  async reconcile(isKept: (name: LocalLayer) => boolean): Promise<void> {
    for (const name of await this.list()) if (this.#isForsaken(name, isKept)) await this.remove(name);
  }

  #isForsaken(name: LocalLayer, isKept: (name: LocalLayer) => boolean): boolean {
    const record = this.#folders.readRecord(name);
    if (record === undefined) return true;
    if (record.maker !== undefined && this.#life.isAlive(record.maker)) return false;
    const isLost = this.#folders.record(name) === undefined;
    return !isKept(name) || (isLost && record.diffID === undefined);
  }

  /** The name under which a layer's files are whole; undefined: none. */
  whole(name: LayerName): LayerName | undefined {
    if (this.#folders.record(name) !== undefined) return name;
    if (!isLocalLayer(name)) return undefined;
    const diffID = this.#folders.readRecord(name)?.diffID;
    return diffID !== undefined && this.#folders.record(diffID) !== undefined ? diffID : undefined;
  }

  /** What `sizeOf` found once. */
  async rememberedSize(name: LayerName): Promise<number | undefined> {
    const text = await readFile(join(this.#folders.folder(name), 'size'), 'utf8').catch(() => '');
    return /^\d+$/.test(text) ? Number(text) : undefined;
  }
}
