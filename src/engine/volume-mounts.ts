import { TareError } from '../errors/index.ts';
import type { Database, Locks } from '../state/index.ts';
import { isMountPoint, mountVolume, unmountVolume, type VolumeSource } from '../storage/index.ts';
import { currentBootId, deleteLease, insertLease, leasedResources, leasesOn } from './leases.ts';
import type { VolumeRecord } from './types.ts';

interface Row {
  volume: string;
  container_id: string;
}

const RESOURCE = 'volume:';

/**
 * Volumes that show something else than a folder of their own are mounted while somebody uses them. Who does is recorded
 * before the mount is made: containers by name until they end, processes by a lease that ends with them. So a kill at any
 * point leaves either a user that is counted, or a mount that `reconcile` finds without one.
 */
export class VolumeMounts {
  readonly #db: Database;
  readonly #locks: Locks;

  constructor(db: Database, locks: Locks) {
    this.#db = db;
    this.#locks = locks;
  }

  /** Mounts a volume for a container, if it is one to be mounted. Repeating is safe. @throws {TareError} InvalidArgument */
  async acquire(volume: VolumeRecord, containerId: string): Promise<void> {
    const source = sourceOf(volume);
    if (source === undefined) return;
    using _lock = await this.#locks.acquire(`volume:${volume.name}`);
    await this.#db.write((tx) =>
      tx.run(
        'INSERT OR REPLACE INTO volume_mounts (volume, container_id, boot_id) VALUES (?, ?, ?)',
        ...[volume.name, containerId, currentBootId()],
      ),
    );
    try {
      if (!isMountPoint(volume.mountpoint)) await mountVolume(source, volume.mountpoint);
    } catch (error) {
      await this.#forget(volume.name, containerId);
      throw error;
    }
  }

  /** A container has ended: unmounts what it was the last to use. Repeating is safe. */
  async release(containerId: string, mountpoint: (volume: string) => string): Promise<void> {
    const rows = this.#db.all<Row>('SELECT volume FROM volume_mounts WHERE container_id = ?', containerId);
    for (const { volume } of rows) {
      using _lock = await this.#locks.acquire(`volume:${volume}`);
      await this.#forget(volume, containerId);
      if (!this.isUsed(volume)) unmountVolume(mountpoint(volume));
    }
  }

  /** Keeps a volume mounted for this process. */
  async hold(volume: VolumeRecord): Promise<AsyncDisposable> {
    const source = sourceOf(volume);
    if (source === undefined) return { [Symbol.asyncDispose]: async () => undefined };
    let lease: string;
    {
      using _lock = await this.#locks.acquire(`volume:${volume.name}`);
      lease = await this.#db.write((tx) => insertLease(tx, `${RESOURCE}${volume.name}`));
      try {
        if (!isMountPoint(volume.mountpoint)) await mountVolume(source, volume.mountpoint);
      } catch (error) {
        await this.#db.write((tx) => deleteLease(tx, lease));
        throw error;
      }
    }
    return {
      [Symbol.asyncDispose]: async () => {
        using _lock = await this.#locks.acquire(`volume:${volume.name}`);
        await this.#db.write((tx) => deleteLease(tx, lease));
        if (!this.isUsed(volume.name)) unmountVolume(volume.mountpoint);
      },
    };
  }

  /** Whether a container or a living process has it mounted. */
  isUsed(volume: string): boolean {
    const row = this.#db.get(
      'SELECT 1 AS there FROM volume_mounts WHERE volume = ? AND boot_id = ?',
      ...[volume, currentBootId()],
    );
    return row !== undefined || this.isHeld(volume);
  }

  /** Whether a living process has it mounted. */
  isHeld(volume: string): boolean {
    return leasesOn(this.#db, `${RESOURCE}${volume}`).living.length > 0;
  }

  /** Forgets users that are gone, and unmounts what only they used. @param isUp whether a container may still use its volumes */
  async reconcile(volumes: readonly VolumeRecord[], isUp: (containerId: string) => boolean): Promise<void> {
    const known = this.#db.all<Row & { boot_id: string }>('SELECT * FROM volume_mounts');
    for (const { volume, container_id: id, boot_id: boot } of known) {
      if (boot !== currentBootId() || !isUp(id)) await this.#forget(volume, id);
    }
    for (const resource of leasedResources(this.#db, RESOURCE)) {
      const { dead } = leasesOn(this.#db, resource);
      if (dead.length > 0) await this.#db.write((tx) => dead.map((id) => deleteLease(tx, id)));
    }
    for (const volume of volumes) {
      if (sourceOf(volume) === undefined) continue;
      using lock = this.#locks.tryAcquire(`volume:${volume.name}`);
      if (lock !== undefined && !this.isUsed(volume.name)) unmountVolume(volume.mountpoint);
    }
  }

  async #forget(volume: string, containerId: string): Promise<void> {
    await this.#db.write((tx) =>
      tx.run('DELETE FROM volume_mounts WHERE volume = ? AND container_id = ?', volume, containerId),
    );
  }
}

/** What a volume shows instead of a folder of its own; undefined: nothing else. */
export function sourceOf({ options }: Pick<VolumeRecord, 'options'>): VolumeSource | undefined {
  if (options['type'] === undefined && options['device'] === undefined) return undefined;
  return { type: options['type'] ?? '', options: options['o'] ?? '', device: options['device'] ?? '' };
}

/** Whether its files are on this machine's memory or in its own folder, so that counting them is counting the volume. */
export const isCountable = (volume: VolumeRecord): boolean => (sourceOf(volume)?.type ?? 'tmpfs') === 'tmpfs';

const required: Record<string, readonly string[]> = { device: ['type'], type: ['device'], o: ['device', 'type'] };

/**
 * Checks the options of a new volume of the local driver.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function checkVolumeOptions(name: string, options: Readonly<Record<string, string>>): void {
  const invalid = (why: string) => new TareError('InvalidArgument', `create ${name}: ${why}`);
  for (const [key, value] of Object.entries(options)) {
    if (!['type', 'o', 'device', 'size'].includes(key)) throw invalid(`invalid option: ${JSON.stringify(key)}`);
    if (/[\0\n]/.test(value)) throw invalid(`option ${JSON.stringify(key)} has a value of more than one line`);
  }
  for (const [key, value] of Object.entries(options)) {
    if (value === '') continue;
    const missing = required[key]?.find((other) => !options[other]);
    if (missing !== undefined) throw invalid(`missing required option: ${JSON.stringify(missing)}`);
  }
  if (options['size'] !== undefined) {
    throw invalid(
      'quota size requested but no quota support: volumes have no size limit; type=tmpfs,device=tmpfs,o=size=… has one',
    );
  }
}
