import type { ContainerView, MountPoint } from '../../../engine/index.ts';
import type { ApiVersion } from '../version.ts';
import { containerConfigOf } from './container-config.ts';
import { stateOf, statusText } from './container-state.ts';
import { hostConfigOf, networkModeOf, orNull } from './host-config.ts';
import { networkSettingsOf, networksOf, portListOf } from './network-settings.ts';
import { timestamp } from './time.ts';

/** The document of `inspect`. */
export function containerInspectOf(view: ContainerView, version: ApiVersion) {
  return {
    Id: view.id,
    Created: timestamp(view.createdMs),
    Path: view.path,
    Args: view.args,
    State: stateOf(view.state),
    Image: view.imageId,
    ResolvConfPath: view.resolvConfPath,
    HostnamePath: view.hostnamePath,
    HostsPath: view.hostsPath,
    LogPath: view.logPath,
    Name: `/${view.name}`,
    RestartCount: view.restartCount,
    Driver: view.driver,
    Platform: view.platform.os,
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: orNull(view.execIds),
    HostConfig: { ...hostConfigOf(view.host), Links: orNull(view.links) },
    GraphDriver: { Data: null, Name: view.driver },
    ...sizesOf(view),
    Mounts: view.mounts.map(mountPointOf),
    Config: {
      ...containerConfigOf(view.config),
      ...macAddressOf(view),
    },
    NetworkSettings: networkSettingsOf(view, version),
    ...(version >= 48 && view.imageManifest && { ImageManifestDescriptor: view.imageManifest }),
  };
}

/**
 * One entry of the container list.
 *
 * @param image what to show: the name as the user wrote it, or the image's id once the name means another image
 */
export function containerSummaryOf(view: ContainerView, image: string, nowMs: number, version: ApiVersion) {
  return {
    Id: view.id,
    Names: [view.name, ...view.linkedNames].map((name) => `/${name}`),
    Image: image,
    ImageID: view.imageId,
    ...(version >= 48 && view.imageManifest && { ImageManifestDescriptor: view.imageManifest }),
    Command: commandOf(view),
    Created: Math.floor(view.createdMs / 1000),
    Ports: portListOf(view),
    ...sizesOf(view),
    Labels: view.config.labels,
    State: view.state.status,
    Status: statusText(view.state, nowMs),
    HostConfig: {
      NetworkMode: networkModeOf(view.host),
      ...(version >= 46 && Object.keys(view.host.annotations).length > 0 && { Annotations: view.host.annotations }),
    },
    NetworkSettings: { Networks: networksOf(view, version) },
    Mounts: view.mounts.map(mountPointOf),
  };
}

/** The address that was asked for on the main network, where clients of before API 1.44 look for it. */
function macAddressOf({ host, networking }: ContainerView) {
  const mode = networkModeOf(host);
  const asked = networking.find(({ network }) => network === mode)?.macAddress ?? '';
  return asked === '' ? {} : { MacAddress: asked };
}

function commandOf(view: ContainerView): string {
  return [view.path, ...view.args.map((argument) => (argument.includes(' ') ? `'${argument}'` : argument))].join(' ');
}

function sizesOf(view: ContainerView) {
  return {
    ...(view.sizeRwBytes !== undefined && { SizeRw: view.sizeRwBytes }),
    ...(view.sizeRootFsBytes !== undefined && { SizeRootFs: view.sizeRootFsBytes }),
  };
}

function mountPointOf(mount: MountPoint) {
  return {
    Type: mount.type,
    ...(mount.name !== '' && { Name: mount.name }),
    Source: mount.source,
    Destination: mount.destination,
    ...(mount.driver !== '' && { Driver: mount.driver }),
    Mode: mount.mode,
    RW: mount.readWrite,
    Propagation: mount.propagation,
  };
}
