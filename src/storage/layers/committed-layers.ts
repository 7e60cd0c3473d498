import { randomBytes } from 'node:crypto';
import { mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { AT_FDCWD, O_RDONLY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import { type DiffID, DigestMismatch, hexOf, isLocalLayer, type LayerName } from '../digest.ts';
import type { Layer, LayerInput } from '../layer-store.ts';
import type { ThreadPool } from '../thread-pool.ts';
import { type ArchiveLimits, defaultLimits } from '../tree/budget.ts';
import { folderDamage, recordDifference, treeDifference } from './layer-difference.ts';
import type { LayerFolders } from './layer-folders.ts';
import type { UnpackedLayer } from './layer-record.ts';

/**
 * Unpacked layers on disk, each named by its diffID and independent of what lies below it. One that power cut off before it
 * reached the disk counts as missing, and is derived again.
 */
export class CommittedLayers {
  readonly #folders: LayerFolders;
  readonly #pool: ThreadPool;
  readonly #userXattrs: boolean;
  readonly #limits: ArchiveLimits;
  readonly #inFlight = new Map<string, Promise<Layer>>();
  #hasUnpacked = false;

  constructor(
    folders: LayerFolders,
    pool: ThreadPool,
    options: { userXattrs: boolean; limits?: ArchiveLimits | undefined },
  ) {
    this.#folders = folders;
    this.#pool = pool;
    this.#userXattrs = options.userXattrs;
    this.#limits = options.limits ?? defaultLimits;
  }

  /** Something was unpacked here: whoever unpacks waits for the disk at the end. */
  get hasUnpacked(): boolean {
    return this.#hasUnpacked;
  }

  async list(): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (const name of await this.#folders.names()) {
      if (isLocalLayer(name)) continue;
      const record = this.#folders.record(name);
      if (record !== undefined) layers.push({ diffID: name, sizeBytes: record.sizeBytes ?? 0 });
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
    using _lock = await this.#folders.lock(id, signal);
    // Another process had the lock and did the work.
    const existing = expected === undefined ? undefined : this.#folders.record(expected);
    if (expected && existing) return { diffID: expected, sizeBytes: existing.sizeBytes ?? 0 };
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
    const ingest = await this.#folders.ingest(id);
    try {
      const directory = join(ingest, 'diff');
      await mkdir(directory, { mode: 0o755 });
      const unpacked = await this.#pool.run<UnpackedLayer>(
        {
          type: 'unpack',
          request: {
            blob: 'growth' in input ? { fd: input.growth.fd, state: input.growth.state } : { fd: file!.fd },
            compression: 'growth' in input ? undefined : input.compression,
            directory,
            userXattrs: this.#userXattrs,
            limits: this.#limits,
          },
        },
        signal,
      );
      if (expected !== undefined && unpacked.diffID !== expected) {
        throw new DigestMismatch('the uncompressed layer', expected, unpacked.diffID);
      }
      return await use(ingest, unpacked);
    } finally {
      await this.#folders.discard(ingest);
      await unlink(join(this.#folders.directory, 'locks', id)).catch(() => {});
    }
  }

  async #publish(ingest: string, unpacked: UnpackedLayer): Promise<void> {
    await this.#folders.publish(ingest, unpacked.diffID, unpacked);
    this.#hasUnpacked = true;
  }

  /**
   * Compares an unpacked layer with its record and, when that is given, with what its blob unpacks to now.
   *
   * @returns what is wrong with it; undefined: nothing
   * @throws {TareError} as `apply`: the blob does not unpack to it
   */
  async check(diffID: DiffID, input?: LayerInput, signal?: AbortSignal): Promise<string | undefined> {
    const damage = folderDamage(this.#folders.folder(diffID), diffID);
    if (damage !== undefined || input === undefined) return damage;
    const id = `again-${hexOf(diffID)}`;
    using _lock = await this.#folders.lock(id, signal);
    return await this.#unpack(id, input, diffID, signal, async (ingest, unpacked) => {
      const record = this.#folders.record(diffID);
      if (record === undefined) return 'it is not unpacked';
      const files = join(this.#folders.folder(diffID), 'diff');
      return recordDifference(record, unpacked) ?? (await treeDifference(files, join(ingest, 'diff')));
    });
  }

  /** Unpacks a layer again in the place of what is there. Nothing may have it mounted. */
  async replace(diffID: DiffID, input: LayerInput, signal?: AbortSignal): Promise<void> {
    const id = hexOf(diffID);
    using _lock = await this.#folders.lock(id, signal);
    await this.#unpack(id, input, diffID, signal, async (ingest, unpacked) => {
      // A crash after this leaves no layer, which is derived again when it is needed.
      await this.#folders.remove(diffID);
      await this.#publish(ingest, unpacked);
    });
  }
}

/** Refuses a stack with a layer that is not there. */
export function missingLayer(name: LayerName): TareError {
  return new TareError(
    'NotFound',
    isLocalLayer(name)
      ? `layer ${name} is gone: what needs it has to be built again`
      : `layer ${name} is not unpacked: unpack it from its blob again`,
  );
}
