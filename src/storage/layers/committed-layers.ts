import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type FileLock,
  O_DIRECTORY,
  O_RDONLY,
  OpenFile,
  openAt,
  SyscallError,
  spreadSubfolders,
  syncFileSystem,
  toByteString,
  tryFlock,
} from '../../linux/index.ts';
import { type DiffID, DigestMismatch, hexOf } from '../digest.ts';
import { syncDirectory } from '../disk-content-store.ts';
import type { Layer, LayerInput } from '../layer-store.ts';
import { type ArchiveLimits, defaultLimits } from '../tree/budget.ts';
import { paced } from '../tree/pace.ts';
import { removeSteps } from '../tree/remove.ts';
import { bootId } from './boot.ts';
import { folderDamage, recordDifference, treeDifference } from './layer-difference.ts';
import type { LayerRecord, UnpackedLayer } from './layer-record.ts';
import { UnpackPool } from './unpack-pool.ts';

const isCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes(String((error as { code?: unknown } | null)?.code));

/** How long after the last unpacking the file system is synced. */
const SETTLE_MS = 2000;

/**
 * Unpacked layers on disk, each named by its diffID and independent of what lies below it.
 *
 * ```
 * HEX/diff        the layer in overlayfs' form        HEX/layer.json  what is known of it
 * HEX/synced      its files have reached the disk     ingest/ID.RANDOM  being unpacked
 * locks/ID        held (flock) while ingest/ID.* lives  removing/ID     on its way out
 * ```
 *
 * No file of a layer is synced by itself. Instead the record carries the boot id, and `synced` is made after one
 * syncfs; a layer of an earlier boot without it may hold empty files, counts as missing, and is derived again.
 */
export class CommittedLayers implements AsyncDisposable {
  readonly directory: string;
  readonly #userXattrs: boolean;
  readonly #limits: ArchiveLimits;
  readonly #bootId = bootId();
  readonly #pool = new UnpackPool();
  /** Records never change once published. */
  readonly #records = new Map<string, LayerRecord>();
  readonly #inFlight = new Map<string, Promise<Layer>>();
  readonly #unsynced = new Set<string>();
  #hasUnpacked = false;
  #settleTimer: NodeJS.Timeout | undefined;
  #settling: Promise<void> = Promise.resolve();

  static async open(
    directory: string,
    options: { userXattrs: boolean; limits?: ArchiveLimits },
  ): Promise<CommittedLayers> {
    for (const name of ['ingest', 'locks', 'removing', 'empty']) {
      await mkdir(join(directory, name), { recursive: true, mode: 0o700 });
    }
    spread(join(directory, 'ingest'));
    return new CommittedLayers(directory, options);
  }

  private constructor(directory: string, options: { userXattrs: boolean; limits?: ArchiveLimits }) {
    this.directory = directory;
    this.#userXattrs = options.userXattrs;
    this.#limits = options.limits ?? defaultLimits;
  }

  /** The folder with the layer's files. */
  path(diffID: DiffID): string {
    return join(this.directory, hexOf(diffID), 'diff');
  }

  /** @returns undefined: there is no such layer, or power went before it reached the disk */
  record(diffID: DiffID): LayerRecord | undefined {
    const hex = hexOf(diffID);
    const known = this.#records.get(hex);
    // Another process may have removed it meanwhile.
    if (known !== undefined && statSync(join(this.directory, hex), { throwIfNoEntry: false })) return known;
    this.#records.delete(hex);
    let record: LayerRecord;
    try {
      record = JSON.parse(readFileSync(join(this.directory, hex, 'layer.json'), 'utf8')) as LayerRecord;
    } catch (error) {
      // SyntaxError: an empty record, which power cut off before it was written.
      if (isCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
      throw error;
    }
    if (!statSync(join(this.directory, hex, 'synced'), { throwIfNoEntry: false })) {
      if (record.bootId !== this.#bootId) return undefined;
      this.#settleLater(hex);
    }
    this.#records.set(hex, record);
    return record;
  }

  async list(): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (const name of await readdir(this.directory)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      const record = this.record(`sha256:${name}` as DiffID);
      if (record) layers.push({ diffID: record.diffID, sizeBytes: record.sizeBytes });
    }
    return layers;
  }

  async apply(input: LayerInput, expected: DiffID | undefined, signal?: AbortSignal): Promise<Layer> {
    if (expected === undefined) return await this.#apply(input, undefined, signal);
    const known = this.#inFlight.get(expected);
    if (known !== undefined) {
      try {
        return await known;
      } catch (error) {
        // The other caller gave up, or its blob is not what its image says of it: ours may be.
        if (signal?.aborted) throw error;
        return await this.apply(input, expected, signal);
      }
    }
    const work = this.#apply(input, expected, signal).finally(() => this.#inFlight.delete(expected));
    this.#inFlight.set(expected, work);
    return await work;
  }

  async #apply(input: LayerInput, expected: DiffID | undefined, signal: AbortSignal | undefined): Promise<Layer> {
    const id = expected === undefined ? `new-${randomBytes(12).toString('hex')}` : hexOf(expected);
    using _lock = await this.#lock(id, signal);
    // Another process had the lock and did the work.
    const existing = expected === undefined ? undefined : this.record(expected);
    if (existing) return { diffID: existing.diffID, sizeBytes: existing.sizeBytes };
    return await this.#unpack(id, input, expected, signal, async (ingest, unpacked) => {
      await this.#publish(ingest, unpacked);
      return { diffID: unpacked.diffID, sizeBytes: unpacked.sizeBytes };
    });
  }

  /**
   * Unpacks into a folder of its own that is gone afterwards, unless `use` takes it away.
   *
   * @param id of the lock that the caller holds
   */
  async #unpack<T>(
    id: string,
    input: LayerInput,
    expected: DiffID | undefined,
    signal: AbortSignal | undefined,
    use: (ingest: string, unpacked: UnpackedLayer) => Promise<T>,
  ): Promise<T> {
    using file = 'path' in input ? new OpenFile(openAt(AT_FDCWD, toByteString(input.path), O_RDONLY)) : undefined;
    const ingest = join(this.directory, 'ingest', `${id}.${randomBytes(8).toString('hex')}`);
    await mkdir(ingest, { mode: 0o700 });
    try {
      const directory = join(ingest, 'diff');
      await mkdir(directory, { mode: 0o755 });
      const unpacked = await this.#pool.run(
        {
          blob: 'growth' in input ? { fd: input.growth.fd, state: input.growth.state } : { fd: file!.fd },
          compression: 'growth' in input ? undefined : input.compression,
          directory,
          userXattrs: this.#userXattrs,
          limits: this.#limits,
        },
        signal,
      );
      if (expected !== undefined && unpacked.diffID !== expected) {
        throw new DigestMismatch('the uncompressed layer', expected, unpacked.diffID);
      }
      return await use(ingest, unpacked);
    } finally {
      await this.#discard(ingest);
      await unlink(join(this.directory, 'locks', id)).catch(() => {});
    }
  }

  async #publish(ingest: string, unpacked: UnpackedLayer): Promise<void> {
    const hex = hexOf(unpacked.diffID);
    const record: LayerRecord = { ...unpacked, bootId: this.#bootId };
    await writeFile(join(ingest, 'layer.json'), JSON.stringify(record), { mode: 0o600 });
    if (this.record(unpacked.diffID)) return;
    // A layer that power cut off may lie in its place.
    await this.#discard(join(this.directory, hex));
    try {
      await rename(ingest, join(this.directory, hex));
    } catch (error) {
      if (!isCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    }
    this.#records.set(hex, record);
    this.#hasUnpacked = true;
    this.#settleLater(hex);
  }

  /**
   * Compares an unpacked layer with its record and, when that is given, with what its blob unpacks to now.
   *
   * @returns what is wrong with it; undefined: nothing
   * @throws {TareError} as `apply`: the blob does not unpack to it
   */
  async check(diffID: DiffID, input?: LayerInput, signal?: AbortSignal): Promise<string | undefined> {
    const damage = folderDamage(join(this.directory, hexOf(diffID)), diffID);
    if (damage !== undefined || input === undefined) return damage;
    const id = `again-${hexOf(diffID)}`;
    using _lock = await this.#lock(id, signal);
    return await this.#unpack(id, input, diffID, signal, async (ingest, unpacked) => {
      const record = this.record(diffID);
      if (record === undefined) return 'it is not unpacked';
      return recordDifference(record, unpacked) ?? (await treeDifference(this.path(diffID), join(ingest, 'diff')));
    });
  }

  /** Unpacks a layer again in the place of what is there. Nothing may have it mounted. */
  async replace(diffID: DiffID, input: LayerInput, signal?: AbortSignal): Promise<void> {
    const id = hexOf(diffID);
    using _lock = await this.#lock(id, signal);
    await this.#unpack(id, input, diffID, signal, async (ingest, unpacked) => {
      // A crash after this leaves no layer, which is derived again when it is needed.
      await this.remove(diffID);
      await this.#publish(ingest, unpacked);
    });
  }

  async remove(diffID: DiffID): Promise<void> {
    const hex = hexOf(diffID);
    this.#records.delete(hex);
    this.#unsynced.delete(hex);
    await this.#discard(join(this.directory, hex));
  }

  /** Removes what no living process works on: half-unpacked layers, half-removed ones, and those power cut off. */
  async reconcile(): Promise<void> {
    for (const name of await readdir(join(this.directory, 'ingest'))) {
      const id = name.split('.', 1)[0]!;
      using lock = tryFlock(join(this.directory, 'locks', id));
      if (lock === undefined) continue;
      await this.#discard(join(this.directory, 'ingest', name));
      await rm(join(this.directory, 'locks', id), { force: true });
    }
    for (const id of await readdir(join(this.directory, 'removing'))) await this.#empty(id);
    for (const name of await readdir(this.directory)) {
      if (/^[0-9a-f]{64}$/.test(name) && !this.record(`sha256:${name}` as DiffID)) {
        using lock = tryFlock(join(this.directory, 'locks', name));
        if (lock === undefined) continue;
        await this.#discard(join(this.directory, name));
        await rm(join(this.directory, 'locks', name), { force: true });
      }
    }
  }

  /** Waits until every layer unpacked so far is on disk, and marks them. */
  async settle(): Promise<void> {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = undefined;
    const work = this.#settling.then(async () => {
      const ready = [...this.#unsynced];
      if (ready.length === 0) return;
      using directory = new OpenFile(openAt(AT_FDCWD, toByteString(this.directory), O_DIRECTORY));
      await syncFileSystem(directory.fd);
      for (const hex of ready) {
        this.#unsynced.delete(hex);
        // ENOENT: removed meanwhile.
        await writeFile(join(this.directory, hex, 'synced'), '', { mode: 0o600 }).catch((error: unknown) => {
          if (!isCode(error, 'ENOENT')) throw error;
        });
      }
    });
    this.#settling = work.catch(() => {});
    await work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#settleTimer);
    await this.#pool[Symbol.asyncDispose]();
    // Who unpacked waits for the disk; who only used layers leaves it to a process that lives longer.
    if (this.#hasUnpacked) await this.settle();
  }

  #settleLater(hex: string): void {
    this.#unsynced.add(hex);
    clearTimeout(this.#settleTimer);
    // A failure leaves the layers unmarked, which is safe.
    this.#settleTimer = setTimeout(() => void this.settle().catch(() => {}), SETTLE_MS).unref();
  }

  async #lock(id: string, signal: AbortSignal | undefined): Promise<FileLock> {
    const path = join(this.directory, 'locks', id);
    for (let waitMs = 2; ; waitMs = Math.min(50, waitMs * 2)) {
      const lock = tryFlock(path);
      if (lock !== undefined) return lock;
      await sleep(waitMs, undefined, signal ? { signal } : {});
    }
  }

  /** Takes a folder out of sight in one step, then removes it. No error when there is none. */
  async #discard(path: string): Promise<void> {
    const id = randomBytes(12).toString('hex');
    const removing = join(this.directory, 'removing', id);
    try {
      await rename(path, removing);
    } catch (error) {
      if (isCode(error, 'ENOENT')) return;
      throw error;
    }
    // A layer that counts as whole after the next boot, too: power must not bring back its name, and not its files.
    if (statSync(join(removing, 'synced'), { throwIfNoEntry: false })) await syncDirectory(this.directory);
    await this.#empty(id);
  }

  async #empty(id: string): Promise<void> {
    using removing = new OpenFile(openAt(AT_FDCWD, toByteString(join(this.directory, 'removing')), O_DIRECTORY));
    await paced(removeSteps(removing.fd, id));
  }
}

/**
 * Layers come and go by ten thousands of files. Without a journal, ext4 steps over every inode that was freed in the last
 * minutes, one by one, when it looks for a free one (fs/ext4/ialloc.c, recently_deleted): unpacking in the block group of
 * layers just removed took forty times as long. A group of its own for each spares that, and costs nothing elsewhere.
 */
function spread(directory: string): void {
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
  try {
    spreadSubfolders(folder.fd);
  } catch (error) {
    // A file system without such flags has no such groups.
    if (!(error instanceof SyscallError)) throw error;
  }
}

/** Refuses a stack with a layer that is not there. */
export function missingLayer(diffID: DiffID): TareError {
  return new TareError('NotFound', `layer ${diffID} is not unpacked: unpack it from its blob again`);
}
