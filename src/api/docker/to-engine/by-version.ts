import type { CreateBody, HostConfigBody, MountBody, UpdateBody } from '../schema/container.ts';
import type { ApiVersion } from '../version.ts';
import { invalid } from './container-config.ts';

/**
 * A create request as the newest version would say it. A client of an older one may send, out of a newer library, fields that its
 * version has not: docker's engine ignores them, but for two whose promise it could not keep.
 *
 * @throws {TareError} InvalidArgument: such a promise, or more networks than the version knows of
 */
export function createOfVersion(body: CreateBody, version: ApiVersion): CreateBody {
  const { Healthcheck: healthcheck, NetworkingConfig: networking } = body;
  const names = Object.keys(networking.EndpointsConfig);
  if (version < 44 && names.length > 1) {
    throw invalid(`Container cannot be created with multiple network endpoints: ${names.join(', ')}`);
  }
  return {
    ...body,
    ...(healthcheck && version < 44 && { Healthcheck: { ...healthcheck, StartInterval: 0 } }),
    HostConfig: hostConfigOfVersion(body.HostConfig, version),
    ...(version < 44 && {
      NetworkingConfig: {
        EndpointsConfig: Object.fromEntries(
          Object.entries(networking.EndpointsConfig).map(([name, settings]) => [name, { ...settings, MacAddress: '' }]),
        ),
      },
    }),
  };
}

function hostConfigOfVersion(host: HostConfigBody, version: ApiVersion): HostConfigBody {
  return {
    ...host,
    Mounts: host.Mounts.map((mount) => mountOfVersion(mount, version)),
    // Both mean "no limit", which is what none means.
    PidsLimit: host.PidsLimit !== undefined && host.PidsLimit <= 0 ? undefined : host.PidsLimit,
    // Before, the client removed the container.
    ...(version < 25 && { AutoRemove: false }),
    ...(version < 40 && { KernelMemoryTCP: 0, IpcMode: host.IpcMode === '' ? 'shareable' : host.IpcMode }),
    ...(version < 42 && { ConsoleSize: [0, 0] }),
    ...(version < 43 && { Annotations: {} }),
  };
}

function mountOfVersion(mount: MountBody, version: ApiVersion): MountBody {
  const { BindOptions: bind, VolumeOptions: volume, TmpfsOptions: tmpfs, ...rest } = mount;
  if (version < 44 && bind?.ReadOnlyForceRecursive) {
    throw invalid('BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer');
  }
  if (version < 45 && volume !== undefined && volume.Subpath !== '') {
    throw invalid('VolumeOptions.Subpath needs API v1.45 or newer');
  }
  // Options of another type were not looked at.
  const looksAt = (type: string) => version >= 42 || mount.Type === type;
  return {
    ...rest,
    ...(volume && looksAt('volume') && { VolumeOptions: volume }),
    ...(tmpfs && looksAt('tmpfs') && { TmpfsOptions: tmpfs }),
    ...(looksAt('bind') && bindOfVersion(mount, version)),
  };
}

function bindOfVersion({ Type: type, BindOptions: bind }: MountBody, version: ApiVersion): Partial<MountBody> {
  // Before, a read-only bind was not recursively so.
  const isOld = version < 44 && type === 'bind';
  if (bind === undefined && !isOld) return {};
  const given = bind ?? {
    Propagation: '',
    NonRecursive: false,
    CreateMountpoint: false,
    ReadOnlyNonRecursive: false,
    ReadOnlyForceRecursive: false,
  };
  return {
    BindOptions: {
      ...given,
      ...(version < 40 && { NonRecursive: false }),
      ...(version < 42 && { CreateMountpoint: false }),
      ...(isOld && { ReadOnlyNonRecursive: true }),
    },
  };
}

/** The same of an update. */
export function updateOfVersion(body: UpdateBody, version: ApiVersion): UpdateBody {
  const { PidsLimit: pids } = body;
  return { ...body, PidsLimit: version < 40 || pids === undefined ? undefined : Math.max(0, pids) };
}
