import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AT_FDCWD,
  type FileLock,
  O_DIRECTORY,
  OpenFile,
  openAt,
  syncFileSystem,
  toByteString,
  tryFlock,
} from '../../linux/index.ts';
import { hexOf, isLocalLayer, type LayerName } from '../digest.ts';
import { syncDirectory } from '../disk-content-store.ts';
import { paced } from '../tree/pace.ts';
import { removeSteps } from '../tree/remove.ts';
import { bootId } from './boot.ts';
import type { LayerRecord } from './layer-record.ts';
import { spread } from './spread.ts';

const isCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes(String((error as { code?: unknown } | null)?.code));

/** Through links; one that leads to itself, what a removal leaves when it is cut short, leads to nothing. */
function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (isCode(error, 'ELOOP')) return false;
    throw error;
  }
}

/** How long after the last new layer the file system is synced. */
const SETTLE_MS = 2000;

const layerPattern = /^(local-[0-9a-f]{32}|[0-9a-f]{64})$/;

function readRecordAt(folder: string): LayerRecord | undefined {
  try {
    return JSON.parse(readFileSync(`${folder}/layer.json`, 'utf8')) as LayerRecord;
  } catch (error) {
    // SyntaxError: an empty record, which power cut off before it was written. ELOOP: a removal that was cut short.
    if (isCode(error, 'ENOENT', 'ELOOP') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The name of a layer's folder. */
export const folderNameOf = (name: LayerName): string => (isLocalLayer(name) ? name.replace(':', '-') : hexOf(name));
const layerNameOf = (folder: string): LayerName =>
  (folder.startsWith('local-') ? folder.replace('-', ':') : `sha256:${folder}`) as LayerName;

/**
 * Folders of layers on disk, each independent of what lies below it.
 *
 * ```
 * HEX/diff        the layer in overlayfs' form        HEX/layer.json  what is known of it
 * HEX/synced      its files have reached the disk     ingest/ID.RANDOM  being made
 * locks/ID        held (flock) while ingest/ID.* lives  removing/ID     on its way out
 * local-HEX       the same of a local layer; HEX → local-HEX once it has a diffID
 * ```
 *
 * No file of a layer is synced by itself. Instead the record carries the boot id, and `synced` is made after one
 * syncfs; a layer of an earlier boot without it may hold empty files, and counts as missing.
 */
export class LayerFolders {
  readonly directory: string;
  readonly bootId = bootId();
  /** Records change only when a local layer gets its diffID. */
  readonly #records = new Map<string, LayerRecord>();
  /** How many layers got a name here. */
  arrivals = 0;
  readonly #unsynced = new Set<string>();
  #settleTimer: NodeJS.Timeout | undefined;
  #settling: Promise<void> = Promise.resolve();

  static open(directory: string): LayerFolders {
    for (const name of ['ingest', 'locks', 'removing', 'empty']) {
      mkdirSync(join(directory, name), { recursive: true, mode: 0o700 });
    }
    spread(join(directory, 'ingest'));
    return new LayerFolders(directory);
  }

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** The folder of a layer with its record. */
  folder(name: LayerName): string {
    return join(this.directory, folderNameOf(name));
  }

  /** @returns undefined: there is no such layer, or power went before it reached the disk */
  record(name: LayerName): LayerRecord | undefined {
    const folder = folderNameOf(name);
    // Asked for hundreds of times by each build, and `join` looks at each character.
    const path = `${this.directory}/${folder}`;
    const known = this.#records.get(folder);
    // Another process may have removed it meanwhile.
    if (known !== undefined && exists(path)) return known;
    this.#records.delete(folder);
    const record = readRecordAt(path);
    if (record === undefined) return undefined;
    if (!exists(`${path}/synced`)) {
      if (record.bootId !== this.bootId) return undefined;
      this.#settleLater(folder);
    }
    this.#records.set(folder, record);
    return record;
  }

  /** The folder with a layer's files, by the one name that is no link. */
  real(name: LayerName): string {
    const folder = folderNameOf(name);
    try {
      return join(this.directory, readlinkSync(join(this.directory, folder)), 'diff');
    } catch (error) {
      if (isCode(error, 'EINVAL', 'ENOENT')) return join(this.directory, folder, 'diff');
      throw error;
    }
  }

  /** What a layer's record says now, whether or not its files are whole. */
  readRecord(name: LayerName): LayerRecord | undefined {
    return readRecordAt(this.folder(name));
  }

  /** Names of the layers that there are; some may not be whole. */
  async names(): Promise<LayerName[]> {
    return (await readdir(this.directory)).filter((name) => layerPattern.test(name)).map(layerNameOf);
  }

  /** An empty folder for a layer that is being made; the caller holds the lock of the id. */
  async ingest(id: string): Promise<string> {
    const path = join(this.directory, 'ingest', `${id}.${randomBytes(8).toString('hex')}`);
    await mkdir(path, { mode: 0o700 });
    return path;
  }

  /** Makes an ingested folder a layer, unless it is one already. */
  async publish(ingest: string, name: LayerName, made: Omit<LayerRecord, 'bootId'>): Promise<void> {
    await this.place(ingest, name, await this.describe(ingest, made));
  }

  /** Writes the record of a layer that is being made. */
  async describe(ingest: string, made: Omit<LayerRecord, 'bootId'>): Promise<LayerRecord> {
    const record: LayerRecord = { ...made, bootId: this.bootId };
    await writeFile(join(ingest, 'layer.json'), JSON.stringify(record), { mode: 0o600 });
    return record;
  }

  /** Makes an ingested folder with its record a layer, unless it is one already. */
  async place(ingest: string, name: LayerName, record: LayerRecord): Promise<void> {
    if (this.record(name)) return;
    this.arrivals += 1;
    // A layer that power cut off may lie in its place.
    await this.discard(this.folder(name));
    try {
      await rename(ingest, this.folder(name));
    } catch (error) {
      if (!isCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error;
    }
    this.remember(name, record);
    this.#settleLater(folderNameOf(name));
  }

  /**
   * Places a local layer that has all its files and its record, and whose maker died before it had its place. The caller holds the lock
   * of its id.
   * @returns false: there is none
   */
  async placeAbandoned(name: LayerName): Promise<boolean> {
    const id = folderNameOf(name);
    for (const entry of await readdir(join(this.directory, 'ingest'))) {
      const ingest = join(this.directory, 'ingest', entry);
      const isWhole = isLocalLayer(name) && entry.startsWith(`${id}.`) && exists(join(ingest, 'diff'));
      const record = isWhole ? readRecordAt(ingest) : undefined;
      if (record === undefined) continue;
      await this.place(ingest, name, record);
      return true;
    }
    return false;
  }

  remember(name: LayerName, record: LayerRecord): void {
    this.#records.set(folderNameOf(name), record);
  }

  /** @param take moves what is still wanted out of the folder, once it is no layer any more */
  async remove(name: LayerName, take?: (removed: string) => void): Promise<void> {
    this.forget(name);
    await this.discard(this.folder(name), take);
  }

  forget(name: LayerName): void {
    this.#records.delete(folderNameOf(name));
    this.#unsynced.delete(folderNameOf(name));
  }

  /** Removes what no living process works on: half-made layers, half-removed ones, and those that power cut off. */
  async reconcile(): Promise<void> {
    for (const name of await readdir(join(this.directory, 'ingest'))) {
      const id = name.split('.', 1)[0]!;
      using lock = tryFlock(join(this.directory, 'locks', id));
      if (lock === undefined) continue;
      // The files of a snapshot that was being frozen are nowhere else; whether anybody wants them, records say.
      if (id.startsWith('local-') && (await this.placeAbandoned(layerNameOf(id)))) continue;
      await this.discard(join(this.directory, 'ingest', name));
      await rm(join(this.directory, 'locks', id), { force: true });
    }
    for (const id of await readdir(join(this.directory, 'removing'))) await this.#empty(id);
    for (const name of await this.names()) {
      if (isLocalLayer(name) || this.record(name) !== undefined) continue;
      const id = folderNameOf(name);
      using lock = tryFlock(join(this.directory, 'locks', id));
      if (lock === undefined) continue;
      await this.remove(name);
      await rm(join(this.directory, 'locks', id), { force: true });
    }
  }

  /** Waits until every layer made so far is on disk, and marks them. */
  async settle(): Promise<void> {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = undefined;
    const work = this.#settling.then(async () => {
      const ready = [...this.#unsynced];
      if (ready.length === 0) return;
      using directory = new OpenFile(openAt(AT_FDCWD, toByteString(this.directory), O_DIRECTORY));
      await syncFileSystem(directory.fd);
      for (const folder of ready) {
        this.#unsynced.delete(folder);
        // ENOENT: removed meanwhile.
        await writeFile(join(this.directory, folder, 'synced'), '', { mode: 0o600 }).catch((error: unknown) => {
          if (!isCode(error, 'ENOENT', 'ELOOP')) throw error;
        });
      }
    });
    this.#settling = work.catch(() => {});
    await work;
  }

  /** No more settling by itself. */
  rest(): void {
    clearTimeout(this.#settleTimer);
  }

  #settleLater(folder: string): void {
    this.#unsynced.add(folder);
    clearTimeout(this.#settleTimer);
    // A failure leaves the layers unmarked, which is safe.
    this.#settleTimer = setTimeout(() => void this.settle().catch(() => {}), SETTLE_MS).unref();
  }

  async lock(id: string, signal?: AbortSignal): Promise<FileLock> {
    const path = join(this.directory, 'locks', id);
    for (let waitMs = 2; ; waitMs = Math.min(50, waitMs * 2)) {
      const lock = tryFlock(path);
      if (lock !== undefined) return lock;
      await sleep(waitMs, undefined, signal ? { signal } : {});
    }
  }

  /** Takes a folder out of sight in one step, then removes it. No error when there is none. */
  async discard(path: string, take?: (removed: string) => void): Promise<void> {
    const id = randomBytes(12).toString('hex');
    const removing = join(this.directory, 'removing', id);
    try {
      await rename(path, removing);
    } catch (error) {
      if (isCode(error, 'ENOENT')) return;
      throw error;
    }
    // A layer that counts as whole after the next boot, too: power must not bring back its name, and not its files.
    const isFolder = lstatSync(removing).isDirectory();
    if (isFolder && exists(join(removing, 'synced'))) await syncDirectory(this.directory);
    take?.(removing);
    await this.#empty(id);
  }

  async #empty(id: string): Promise<void> {
    using removing = new OpenFile(openAt(AT_FDCWD, toByteString(join(this.directory, 'removing')), O_DIRECTORY));
    await paced(removeSteps(removing.fd, id));
  }
}
