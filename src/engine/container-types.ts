import type { Endpoint } from '../network/index.ts';
import type { ContainerConfig, HostConfig, MountRequest } from '../runtime/index.ts';
import type { Descriptor, Platform } from '../storage/index.ts';

export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

export interface HealthLog {
  startMs: number;
  endMs: number;
  exitCode: number;
  output: string;
}

export interface Health {
  status: 'none' | 'starting' | 'healthy' | 'unhealthy';
  failingStreak: number;
  log: HealthLog[];
}

export interface ContainerState {
  status: ContainerStatus;
  /** 0 when not running. */
  pid: number;
  pidStartTicks: number;
  /** The container's conmon. */
  monitorPid: number;
  monitorStartTicks: number;
  /** Of the machine when it was started; undefined: never, or by an engine of before. */
  bootId?: string;
  exitCode: number;
  oomKilled: boolean;
  error: string;
  /** Milliseconds since the epoch with a fraction; 0: never. */
  startedMs: number;
  finishedMs: number;
  health: Health | null;
  /** Stopped by a user: no restart policy starts it again until a user does. */
  stoppedByUser: boolean;
  /** A stop is under way: its event follows the end. */
  isStopping: boolean;
  /** While restarting: when the keeper starts it next. */
  restartAtMs: number;
  /** While removing: its anonymous volumes go too. */
  removesVolumes: boolean;
}

/** A mount as it ended up (docker's MountPoint). */
export interface MountPoint {
  type: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** Volume's name, '' otherwise. */
  name: string;
  source: string;
  destination: string;
  driver: string;
  /** The mode text as given, e.g. `z,ro`. */
  mode: string;
  readWrite: boolean;
  propagation: string;
  /** The request in the long form that it came from. */
  spec?: MountRequest;
  /** Binds: the folder that the source must not lead out of, whatever it has become by then. */
  within?: string;
  /** Images: which one, by digest of its config. */
  imageId?: string;
}

/** What a user asked of one network for one container. */
export interface EndpointRequest {
  /** Network name or id. */
  network: string;
  aliases: string[];
  links: string[];
  ipv4: string;
  ipv6: string;
  linkLocalIps: string[];
  macAddress: string;
  gatewayPriority: number;
  driverOptions: Record<string, string>;
}

export interface ContainerRecord {
  /** 64 hex digits. */
  id: string;
  /** Without docker's leading slash. */
  name: string;
  createdMs: number;
  /** With the image's defaults merged in. */
  config: ContainerConfig;
  host: HostConfig;
  networking: EndpointRequest[];
  /** Config digest of the image. */
  imageId: string;
  imageManifest: Descriptor | null;
  platform: Platform;
  /** The program and its arguments, as run. */
  path: string;
  args: string[];
  state: ContainerState;
  mounts: MountPoint[];
  restartCount: number;
  /** Bundle, on the runtime root; log and generated files on the data root. */
  bundle: string;
  logPath: string;
  hostnamePath: string;
  hostsPath: string;
  resolvConfPath: string;
  driver: string;
}

/** A container as `inspect` and `ps` see it. */
export interface ContainerView extends ContainerRecord {
  endpoints: (Endpoint & { networkName: string; aliases: string[] })[];
  execIds: string[];
  /** `/CHILD:/NAME/ALIAS` for each container that it is linked to. */
  links: string[];
  /** `PARENT/ALIAS` for each container that is linked to it. */
  linkedNames: string[];
  /** Only when sizes were asked for. */
  sizeRwBytes?: number;
  sizeRootFsBytes?: number;
}

export interface CreateContainer {
  /** Undefined: one is made up. */
  name?: string;
  config: ContainerConfig;
  host: HostConfig;
  networking: EndpointRequest[];
  platform?: string;
  /** What it may reach: rules as texts, none for no policy. */
  egress?: readonly string[];
}
