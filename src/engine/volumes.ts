import { randomBytes } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import { type Database, isConstraintError, type Locks, type Transaction } from '../state/index.ts';
import { directorySize, type VolumeDirectories } from '../storage/index.ts';
import type { ContainerStore } from './container-store.ts';
import { pruneEvent } from './events.ts';
import { filterLabels, filterTime, refuseUnknownFilters } from './filters.ts';
import type { Filters, PruneReport, VolumeRecord, VolumeService, VolumeView } from './types.ts';
import { exportVolume, importVolume } from './volume-archive.ts';
import { checkVolumeOptions, isCountable, VolumeMounts } from './volume-mounts.ts';

interface Row {
  doc: string;
}

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

export interface VolumeDeps {
  db: Database;
  locks: Locks;
  store: ContainerStore;
  directories: VolumeDirectories;
  /** Whether the caller at work may have such a volume. @throws {TareError} Forbidden */
  mayUse?(volume: VolumeRecord): void;
}

/** Volumes of the local driver: a record and a folder each. The record is written first and deleted first. */
export class Volumes implements VolumeService {
  readonly #deps: VolumeDeps;
  readonly #mounts: VolumeMounts;

  constructor(deps: VolumeDeps) {
    this.#deps = deps;
    this.#mounts = new VolumeMounts(deps.db, deps.locks);
  }

  async create(request: Parameters<VolumeService['create']>[0]): Promise<VolumeRecord> {
    requireLocalDriver(request.driver ?? '', request.name);
    const existing = request.name ? this.find(request.name) : undefined;
    if (existing !== undefined) return existing;
    const record = this.newRecord(request.name || '', request.labels ?? {}, request.options);
    this.#deps.mayUse?.(record);
    using _lock = await this.#deps.locks.acquire(`volume:${record.name}`);
    try {
      await this.#deps.db.write((tx) => insertVolume(tx, record));
    } catch (error) {
      // Made by another process meanwhile: creating twice is no error.
      if (isConstraintError(error)) return this.get(record.name);
      throw error;
    }
    await this.ensureDirectory(record);
    return record;
  }

  /**
   * A record that is not stored yet; `insertVolume` stores it in the caller's transaction.
   * @param name '' makes an anonymous volume
   * @throws {TareError} InvalidArgument: a name or an option that the local driver refuses
   */
  newRecord(name: string, labels: Record<string, string>, options: Record<string, string> = {}): VolumeRecord {
    const anonymous = name === '';
    const chosen = anonymous ? randomBytes(32).toString('hex') : name;
    if (!namePattern.test(chosen)) {
      throw new TareError(
        'InvalidArgument',
        `create ${chosen}: "${chosen}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
      );
    }
    checkVolumeOptions(chosen, options);
    return {
      name: chosen,
      driver: 'local',
      mountpoint: this.#deps.directories.volumePath(chosen),
      createdMs: Date.now(),
      labels: anonymous ? { ...labels, 'com.docker.volume.anonymous': '' } : labels,
      options,
      anonymous,
    };
  }

  /** Makes a recorded volume's folder, if it is not there. */
  async ensureDirectory(record: VolumeRecord): Promise<void> {
    await this.#deps.directories.createVolumeDirectory(record.name);
  }

  find(name: string): VolumeRecord | undefined {
    const row = this.#deps.db.get<Row>('SELECT doc FROM volumes WHERE name = ?', name);
    return row === undefined ? undefined : (JSON.parse(row.doc) as VolumeRecord);
  }

  /** @throws {TareError} NotFound */
  get(name: string): VolumeRecord {
    const record = this.find(name);
    if (record === undefined) throw new TareError('NotFound', `get ${name}: no such volume`);
    return record;
  }

  async inspect(name: string): Promise<VolumeRecord> {
    return this.get(name);
  }

  all(): VolumeRecord[] {
    return this.#deps.db
      .all<Row>('SELECT doc FROM volumes ORDER BY name')
      .map((row) => JSON.parse(row.doc) as VolumeRecord);
  }

  async list(filters: Filters = {}): Promise<VolumeRecord[]> {
    refuseUnknownFilters(filters, ['dangling', 'driver', 'label', 'name']);
    const used = filters['dangling'] === undefined ? undefined : this.#users();
    return this.all().filter(
      (volume) =>
        (filters['name'] ?? [volume.name]).some((name) => volume.name.includes(name)) &&
        (filters['driver'] ?? [volume.driver]).includes(volume.driver) &&
        filterLabels(filters, volume.labels) &&
        (used === undefined || isTrue(filters['dangling']!) !== used.has(volume.name)),
    );
  }

  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    using _lock = await this.#deps.locks.acquire(`volume:${name}`);
    if (this.find(name) === undefined) {
      if (options.force === true) return;
      throw new TareError('NotFound', `get ${name}: no such volume`);
    }
    await this.#deps.db.write((tx) => {
      // Asked inside the transaction: a container that is being created writes its record in one too.
      const users = this.#users().get(name);
      if (users !== undefined) {
        throw new TareError('Conflict', `remove ${name}: volume is in use - [${users.join(', ')}]`);
      }
      if (this.#mounts.isHeld(name)) {
        throw new TareError('Conflict', `remove ${name}: volume is in use by a copy, an export or an import`);
      }
      deleteVolume(tx, name);
    });
    await this.#deps.directories.removeVolumeDirectory(name);
  }

  async prune(filters: Filters = {}): Promise<PruneReport> {
    refuseUnknownFilters(filters, ['all', 'label', 'label!', 'until']);
    const all = filters['all'] !== undefined && isTrue(filters['all']);
    const users = this.#users();
    const report: PruneReport = { deleted: [], spaceReclaimedBytes: 0 };
    for (const volume of this.all()) {
      if (users.has(volume.name) || (!all && !volume.anonymous)) continue;
      if (!filterLabels(filters, volume.labels) || !filterTime(filters, volume.createdMs)) continue;
      const sizeBytes = await sizeOf(volume);
      try {
        await this.remove(volume.name);
      } catch (error) {
        // Taken into use meanwhile.
        if (error instanceof TareError && (error.kind === 'Conflict' || error.kind === 'NotFound')) continue;
        throw error;
      }
      report.deleted.push(volume.name);
      report.spaceReclaimedBytes += sizeBytes;
    }
    await this.#deps.db.write((tx) => tx.event(pruneEvent('volume', report.spaceReclaimedBytes)));
    return report;
  }

  /** Mounts a volume for a container, if it is one to be mounted. @throws {TareError} InvalidArgument: the kernel refuses */
  async acquire(name: string, containerId: string): Promise<void> {
    await this.#mounts.acquire(this.get(name), containerId);
  }

  /** A container has ended, and uses its volumes no more. */
  async release(containerId: string): Promise<void> {
    await this.#mounts.release(containerId, (name) => this.#deps.directories.volumePath(name));
  }

  /** Keeps a volume mounted while this process works with it. @throws {TareError} NotFound */
  async hold(name: string): Promise<AsyncDisposable> {
    return await this.#mounts.hold(this.get(name));
  }

  export(name: string): AsyncIterable<Uint8Array> {
    this.#deps.mayUse?.(this.get(name));
    return exportVolume(this, name);
  }

  async import(name: string, tar: AsyncIterable<Uint8Array>): Promise<void> {
    this.#deps.mayUse?.(this.get(name));
    await importVolume(this, name, tar);
  }

  async usage(): Promise<VolumeView[]> {
    const users = this.#users();
    const views: VolumeView[] = [];
    for (const volume of this.all()) {
      views.push({
        ...volume,
        sizeBytes: await sizeOf(volume),
        refCount: users.get(volume.name)?.length ?? 0,
      });
    }
    return views;
  }

  /** Removes the folders of volumes that have no record, and makes those that records miss. */
  async reconcile(isUp: (containerId: string) => boolean): Promise<void> {
    await this.#deps.directories.reconcile();
    await this.#mounts.reconcile(this.all(), isUp);
    for (const volume of this.all()) await this.ensureDirectory(volume);
    for (const name of await this.#deps.directories.volumeNames()) {
      using lock = this.#deps.locks.tryAcquire(`volume:${name}`);
      if (lock !== undefined && this.find(name) === undefined) {
        await this.#deps.directories.removeVolumeDirectory(name);
      }
    }
  }

  /** Ids of the containers that use each volume. */
  #users(): Map<string, string[]> {
    const users = new Map<string, string[]>();
    for (const container of this.#deps.store.all()) {
      for (const mount of container.mounts) {
        if (mount.type !== 'volume') continue;
        const ids = users.get(mount.name) ?? [];
        if (!ids.includes(container.id)) ids.push(container.id);
        users.set(mount.name, ids);
      }
    }
    return users;
  }
}

/** What would be gone with it: files that it shows of another place are not counted. */
const sizeOf = async (volume: VolumeRecord): Promise<number> =>
  isCountable(volume) ? await directorySize(volume.mountpoint) : 0;

/** @throws {TareError} NotFound: this engine has no plugins */
export function requireLocalDriver(driver: string, volume = ''): void {
  if (driver === '' || driver === 'local') return;
  const missing = `error looking up volume plugin ${driver}: plugin "${driver}" not found`;
  throw new TareError('NotFound', volume === '' ? missing : `create ${volume}: ${missing}`);
}

/** Stores a new volume's record and its event. */
export function insertVolume(tx: Transaction, record: VolumeRecord): void {
  tx.run('INSERT INTO volumes (name, doc) VALUES (?, ?)', record.name, JSON.stringify(record));
  tx.event({ type: 'volume', action: 'create', actorId: record.name, attributes: { driver: record.driver } });
}

/** Deletes a volume's record and tells of it. */
function deleteVolume(tx: Transaction, name: string): void {
  if (tx.run('DELETE FROM volumes WHERE name = ?', name) > 0) {
    tx.event({ type: 'volume', action: 'destroy', actorId: name, attributes: { driver: 'local' } });
  }
}

const isTrue = (values: string[]): boolean => values.some((value) => value === 'true' || value === '1');
