import { existsSync, mkdirSync, statSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import type { ContainerConfig, HostConfig } from '../runtime/index.ts';
import type { ContainerStore } from './container-store.ts';
import { checkMountRequest, cleanPath, parseBindSpec } from './mount-spec.ts';
import type { MountPoint, VolumeRecord } from './types.ts';
import type { Volumes } from './volumes.ts';

/** Where every container has something mounted, and the file by which programs tell that they run in one. */
export const containerSkeleton = {
  folders: ['dev', 'etc', 'proc', 'sbin', 'sys'],
  files: ['.dockerenv', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf', 'sbin/docker-init'],
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
}

/**
 * Decides what each destination holds. Nothing is changed yet. Where several ask for one destination: binds and long
 * forms come before what `--volumes-from` brings, and that before the image's own volumes.
 *
 * @param config with the image's defaults merged in
 * @throws {TareError} InvalidArgument: a bad form, a missing bind source in the long form, a destination given twice
 */
export function planMounts(deps: MountPlanDeps, config: ContainerConfig, host: HostConfig): MountPlan {
  const plan: MountPlan = { mounts: [], newVolumes: [], copyUp: [], newDirectories: [] };
  const taken = new Set<string>();
  const claim = (destination: string) => {
    if (taken.has(destination)) throw new TareError('InvalidArgument', `Duplicate mount point: ${destination}`);
    taken.add(destination);
  };
  const volume = (name: string, labels: Record<string, string>): VolumeRecord => {
    const known = name === '' ? undefined : (deps.volumes.find(name) ?? plan.newVolumes.find((v) => v.name === name));
    if (known !== undefined) return known;
    const made = deps.volumes.newRecord(name, labels);
    plan.newVolumes.push(made);
    return made;
  };
  const addVolume = (record: VolumeRecord, destination: string, mode: string, readWrite: boolean, copy: boolean) => {
    plan.mounts.push({
      type: 'volume',
      name: record.name,
      source: record.mountpoint,
      destination,
      driver: 'local',
      mode,
      readWrite,
      propagation: '',
    });
    if (copy) plan.copyUp.push({ destination, volume: record.name });
  };

  for (const destination of Object.keys(host.tmpfs)) {
    if (!destination.startsWith('/') || cleanPath(destination) === '/') {
      throw new TareError(
        'InvalidArgument',
        `invalid tmpfs mount path ${JSON.stringify(destination)}: want an absolute path other than /`,
      );
    }
    claim(cleanPath(destination));
  }
  for (const text of host.binds) {
    const bind = parseBindSpec(text);
    claim(bind.destination);
    if (bind.source.startsWith('/')) {
      if (!existsSync(bind.source)) plan.newDirectories.push(bind.source);
      plan.mounts.push({
        ...{ type: 'bind', name: '', source: bind.source, destination: bind.destination, driver: '', mode: bind.mode },
        ...{ readWrite: !bind.readOnly, propagation: bind.propagation || 'rprivate' },
      });
    } else {
      addVolume(volume(bind.source, {}), bind.destination, bind.mode || 'z', !bind.readOnly, !bind.noCopy);
    }
  }
  for (const mount of host.mounts) {
    checkMountRequest(mount);
    const destination = cleanPath(mount.target);
    claim(destination);
    if (mount.type === 'bind') {
      if (!existsSync(mount.source)) {
        if (mount.bind?.createMountpoint !== true) {
          throw new TareError(
            'InvalidArgument',
            `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
          );
        }
        plan.newDirectories.push(mount.source);
      }
      plan.mounts.push({
        ...{ type: 'bind', name: '', source: cleanPath(mount.source), destination, driver: '', mode: '' },
        ...{ readWrite: !mount.readOnly, propagation: mount.bind?.propagation || 'rprivate' },
      });
    } else if (mount.type === 'volume') {
      const driver = mount.volume?.driver ?? '';
      if (driver !== '' && driver !== 'local') {
        throw new TareError('NotFound', `error looking up volume plugin ${driver}: plugin "${driver}" not found`);
      }
      if (Object.keys(mount.volume?.driverOptions ?? {}).length > 0) {
        throw new TareError('InvalidArgument', 'volumes of the local driver take no driver options yet');
      }
      if (mount.volume?.subpath) {
        // The OCI runtime would follow a link that a container planted in the volume, out to the host.
        throw new TareError(
          'Unsupported',
          `volume subpath ${JSON.stringify(mount.volume.subpath)}: mount the whole volume`,
        );
      }
      const record = volume(mount.source, mount.volume?.labels ?? {});
      addVolume(record, destination, 'z', !mount.readOnly, mount.volume?.noCopy !== true);
    } else {
      plan.mounts.push({
        ...{ type: 'tmpfs', name: '', source: '', destination, driver: '', mode: '' },
        ...{ readWrite: !mount.readOnly, propagation: '' },
      });
    }
  }
  for (const from of host.volumesFrom) {
    const [ref = '', mode = ''] = from.split(/:(.*)/s);
    if (!['', 'ro', 'rw', 'z', 'Z'].includes(mode)) {
      throw new TareError('InvalidArgument', `invalid volumes-from mode: ${mode}`);
    }
    for (const mount of deps.store.get(ref).mounts) {
      if (mount.type === 'tmpfs' || taken.has(mount.destination)) continue;
      taken.add(mount.destination);
      plan.mounts.push({ ...mount, readWrite: mount.readWrite && mode !== 'ro' });
    }
  }
  for (const path of config.volumes) {
    if (!path.startsWith('/') || cleanPath(path) === '/') {
      throw new TareError(
        'InvalidArgument',
        `invalid volume path ${JSON.stringify(path)}: want an absolute path other than /`,
      );
    }
    const destination = cleanPath(path);
    if (taken.has(destination)) continue;
    taken.add(destination);
    addVolume(volume('', {}), destination, '', true, true);
  }
  return plan;
}

/** Makes the host folders that short-form binds name and that are missing, as docker does. */
export function makeBindSources(mounts: readonly MountPoint[]): void {
  for (const mount of mounts) {
    if (mount.type === 'bind' && !existsSync(mount.source)) mkdirSync(mount.source, { recursive: true, mode: 0o755 });
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
    const request = host.mounts.find((candidate) => cleanPath(candidate.target) === mount.destination);
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
      isFile: source?.isDirectory() === false,
      options: tmpfsOptions(request?.tmpfs),
    };
  });
  for (const [destination, options] of Object.entries(host.tmpfs)) {
    result.push({
      ...{ type: 'tmpfs', source: 'tmpfs', destination: cleanPath(destination), readOnly: false, propagation: '' },
      ...{ nonRecursive: false, readOnlyNonRecursive: false, readOnlyForceRecursive: false, isFile: false },
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
