import { existsSync, mkdirSync, statSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { mountRestrictions } from '../linux/index.ts';
import type { ContainerConfig, HostConfig, MountRequest } from '../runtime/index.ts';
import type { ContainerStore } from './container-store.ts';
import { checkMountRequest, cleanPath, parseBindSpec, parseVolumesFrom } from './mount-spec.ts';
import type { ImageSource } from './parts.ts';
import type { MountPoint, VolumeRecord } from './types.ts';
import { requireLocalDriver, type Volumes } from './volumes.ts';

const invalid = (why: string) => new TareError('InvalidArgument', why);

/** Where every container has something mounted, and the file by which programs tell that they run in one. */
export const containerSkeleton = {
  folders: ['dev', 'etc', 'proc', 'sys'],
  files: ['.dockerenv', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf'],
};

/** What a new container mounts, and what that needs to be made. */
export interface MountPlan {
  mounts: MountPoint[];
  /** Volumes that have no record yet. */
  newVolumes: VolumeRecord[];
  /** Destinations of volumes that take the image's content when they are empty. */
  copyUp: { destination: string; volume: string }[];
  /** Host folders that `-v` makes when they are missing. */
  newDirectories: string[];
}

export interface MountPlanDeps {
  store: ContainerStore;
  volumes: Volumes;
  images: Pick<ImageSource, 'resolve'>;
}

/**
 * Decides what each destination holds. Nothing is changed yet. Where several ask for one destination: binds and long
 * forms come before what `--volumes-from` brings, and that before the image's own volumes.
 *
 * @param config with the image's defaults merged in
 * @throws {TareError} InvalidArgument: a bad form, a missing bind source in the long form, a destination given twice;
 *   NotFound: a volume driver, an image, or a container of `--volumes-from`
 */
export function planMounts(deps: MountPlanDeps, config: ContainerConfig, host: HostConfig): MountPlan {
  const plan = new MountPlanner(deps, host.volumeDriver);
  for (const destination of Object.keys(host.tmpfs)) plan.addTmpfs(destination);
  for (const text of host.binds) plan.addBind(text);
  for (const mount of host.mounts) plan.addMount(mount);
  for (const from of host.volumesFrom) plan.addVolumesFrom(from);
  for (const path of config.volumes) plan.addAnonymous(path);
  return plan;
}

class MountPlanner implements MountPlan {
  readonly mounts: MountPoint[] = [];
  readonly newVolumes: VolumeRecord[] = [];
  readonly copyUp: MountPlan['copyUp'] = [];
  readonly newDirectories: string[] = [];
  readonly #deps: MountPlanDeps;
  readonly #volumeDriver: string;
  readonly #taken = new Set<string>();

  constructor(deps: MountPlanDeps, volumeDriver: string) {
    this.#deps = deps;
    this.#volumeDriver = volumeDriver;
  }

  addTmpfs(given: string): void {
    if (!given.startsWith('/') || cleanPath(given) === '/') {
      throw invalid(`invalid tmpfs mount path ${JSON.stringify(given)}: want an absolute path other than /`);
    }
    this.#claim(cleanPath(given));
  }

  /** `SOURCE:DESTINATION[:MODE]` */
  addBind(text: string): void {
    const bind = parseBindSpec(text);
    this.#claim(bind.destination);
    if (!bind.source.startsWith('/')) {
      const volume = this.#volume(bind.source, this.#volumeDriver);
      this.#addVolume(volume, bind.destination, { mode: bind.mode || 'z', readWrite: !bind.readOnly });
      if (!bind.noCopy) this.copyUp.push({ destination: bind.destination, volume: volume.name });
      return;
    }
    if (!existsSync(bind.source)) this.newDirectories.push(bind.source);
    this.mounts.push({
      ...{ type: 'bind', name: '', source: bind.source, destination: bind.destination, driver: '', mode: bind.mode },
      ...{ readWrite: !bind.readOnly, propagation: bind.propagation || 'rprivate' },
    });
  }

  /** The long form. */
  addMount(mount: MountRequest): void {
    checkMountRequest(mount);
    const destination = cleanPath(mount.target);
    this.#claim(destination);
    const point = { name: '', destination, driver: '', mode: '', readWrite: !mount.readOnly, spec: mount };
    switch (mount.type) {
      case 'bind': {
        const source = cleanPath(mount.source);
        if (!existsSync(source)) {
          if (mount.bind?.createMountpoint !== true) {
            throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`);
          }
          this.newDirectories.push(source);
        }
        this.mounts.push({ ...point, type: 'bind', source, propagation: mount.bind?.propagation || 'rprivate' });
        return;
      }
      case 'volume': {
        const { driver = '', driverOptions = {}, labels = {}, subpath = '', noCopy } = mount.volume ?? {};
        const volume = this.#volume(mount.source, driver || this.#volumeDriver, labels, driverOptions);
        this.#addVolume(volume, destination, { mode: 'z', readWrite: !mount.readOnly, spec: mount });
        if (noCopy !== true && subpath === '') this.copyUp.push({ destination, volume: volume.name });
        return;
      }
      case 'image': {
        const imageId = this.#deps.images.resolve(mount.source).id;
        // An image's layers are everybody's: nobody writes there.
        this.mounts.push({ ...point, type: 'image', source: '', readWrite: false, propagation: '', imageId });
        return;
      }
      case 'tmpfs':
        this.mounts.push({ ...point, type: 'tmpfs', source: '', propagation: '' });
    }
  }

  /** `CONTAINER[:MODE]` */
  addVolumesFrom(text: string): void {
    const { container, readOnly } = parseVolumesFrom(text);
    for (const mount of this.#deps.store.get(container).mounts) {
      if (this.#taken.has(mount.destination)) continue;
      this.#taken.add(mount.destination);
      this.mounts.push({ ...mount, readWrite: mount.readWrite && !readOnly });
    }
  }

  /** A volume that the image or `-v PATH` asks for. */
  addAnonymous(path: string): void {
    if (!path.startsWith('/') || cleanPath(path) === '/') {
      throw invalid(`invalid volume path ${JSON.stringify(path)}: want an absolute path other than /`);
    }
    const destination = cleanPath(path);
    if (this.#taken.has(destination)) return;
    this.#taken.add(destination);
    const volume = this.#volume('', this.#volumeDriver);
    this.#addVolume(volume, destination, { mode: '', readWrite: true });
    this.copyUp.push({ destination, volume: volume.name });
  }

  #claim(destination: string): void {
    if (this.#taken.has(destination)) throw invalid(`Duplicate mount point: ${destination}`);
    this.#taken.add(destination);
  }

  /** The volume of this name, which may be still to be made. */
  #volume(
    name: string,
    driver: string,
    labels: Record<string, string> = {},
    options: Record<string, string> = {},
  ): VolumeRecord {
    requireLocalDriver(driver, name);
    const { volumes } = this.#deps;
    const known = name === '' ? undefined : (volumes.find(name) ?? this.newVolumes.find((made) => made.name === name));
    if (known !== undefined) return known;
    const made = volumes.newRecord(name, labels, options);
    this.newVolumes.push(made);
    return made;
  }

  #addVolume(
    { name, mountpoint }: VolumeRecord,
    destination: string,
    how: Pick<MountPoint, 'mode' | 'readWrite' | 'spec'>,
  ): void {
    const what = { type: 'volume' as const, name, source: mountpoint, destination, driver: 'local' };
    this.mounts.push({ ...what, ...how, propagation: '' });
  }
}

/** Makes the host folders that short-form binds name and that are missing, as docker does. */
export function makeBindSources(mounts: readonly MountPoint[]): void {
  for (const mount of mounts) {
    // A confined one is reached through links that its user may have made: it has to be there.
    if (mount.type !== 'bind' || mount.within !== undefined) continue;
    if (!existsSync(mount.source)) mkdirSync(mount.source, { recursive: true, mode: 0o755 });
  }
}

/** A mount as the OCI spec needs it. */
export interface RuntimeMount {
  type: 'bind' | 'tmpfs';
  source: string;
  destination: string;
  readOnly: boolean;
  propagation: string;
  /** Binds: without the mounts below the source. */
  nonRecursive: boolean;
  /** Read-only binds: only the top mount is read-only. */
  readOnlyNonRecursive: boolean;
  /** Read-only binds: refuse rather than leave anything below the source writable. */
  readOnlyForceRecursive: boolean;
  /** Binds: what the mount below the source forbids. */
  restrictions: string[];
  /** Binds: the source is no folder. */
  isFile: boolean;
  /** tmpfs: mount options as given. */
  options: string[];
}

/**
 * The mounts of a container at its start.
 * @throws {TareError} InvalidArgument: a bind's source is gone
 */
export function runtimeMounts(mounts: readonly MountPoint[], host: HostConfig): RuntimeMount[] {
  const result: RuntimeMount[] = mounts.map((mount) => {
    const request = mount.spec;
    const source = mount.type === 'tmpfs' ? undefined : statSync(mount.source, { throwIfNoEntry: false });
    if (mount.type !== 'tmpfs' && source === undefined) {
      throw new TareError(
        'InvalidArgument',
        `invalid mount config for type "${mount.type}": ${mount.type} source path does not exist: ${mount.source}`,
      );
    }
    return {
      type: mount.type === 'tmpfs' ? 'tmpfs' : 'bind',
      source: mount.type === 'tmpfs' ? 'tmpfs' : mount.source,
      destination: mount.destination,
      readOnly: !mount.readWrite,
      propagation: mount.propagation || 'rprivate',
      nonRecursive: request?.bind?.nonRecursive ?? false,
      readOnlyNonRecursive: request?.bind?.readOnlyNonRecursive ?? false,
      readOnlyForceRecursive: request?.bind?.readOnlyForceRecursive ?? false,
      restrictions: mount.type === 'tmpfs' ? [] : mountRestrictions(mount.source),
      isFile: source?.isDirectory() === false,
      options: tmpfsOptions(request?.tmpfs),
    };
  });
  for (const [destination, options] of Object.entries(host.tmpfs)) {
    result.push({
      ...{ type: 'tmpfs', source: 'tmpfs', destination: cleanPath(destination), readOnly: false, propagation: '' },
      ...{ nonRecursive: false, readOnlyNonRecursive: false, readOnlyForceRecursive: false, restrictions: [] },
      isFile: false,
      options: options === '' ? [] : options.split(','),
    });
  }
  // A mount hides what lies below it, so the shorter destination comes first.
  return result.sort((a, b) => depth(a.destination) - depth(b.destination));
}

const depth = (path: string): number => path.split('/').length;

function tmpfsOptions(request: HostConfig['mounts'][number]['tmpfs']): string[] {
  if (request === undefined) return [];
  return [
    ...(request.sizeBytes > 0 ? [`size=${request.sizeBytes}`] : []),
    ...(request.mode > 0 ? [`mode=${request.mode.toString(8)}`] : []),
    ...request.options.map(([key, value]) => (value === undefined ? (key ?? '') : `${key}=${value}`)),
  ];
}
