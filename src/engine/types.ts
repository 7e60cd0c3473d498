import type { ImageConfigFile } from '../image/index.ts';
import type { CreateNetwork, Endpoint, NetworkRecord } from '../network/index.ts';
import type { ContainerConfig, Healthcheck, HostConfig, Resources, RestartPolicyName } from '../runtime/index.ts';
import type { Change, Compression, Descriptor, Platform } from '../storage/index.ts';

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
  exitCode: number;
  oomKilled: boolean;
  error: string;
  /** Milliseconds since the epoch with a fraction; 0: never. */
  startedMs: number;
  finishedMs: number;
  health: Health | null;
  /** Stopped by a user: no restart policy starts it again until a user does. */
  stoppedByUser: boolean;
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
}

/** Filters as docker's: key → wanted values; for labels `key` or `key=value`. */
export type Filters = Record<string, string[]>;

export interface LogEntry {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds, as conmon wrote it. */
  time: string;
  /** One line with its newline, or a part of one. */
  line: Uint8Array;
}

export interface LogOptions {
  follow: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Seconds since the epoch, with a fraction. */
  sinceSeconds?: number;
  untilSeconds?: number;
  /** Last so many lines; undefined: all. */
  tail?: number;
  signal?: AbortSignal;
}

/** A client's end of an attached container or exec; the face pumps bytes both ways. */
export interface AttachSession extends AsyncDisposable {
  tty: boolean;
  output: AsyncIterable<{ stream: 'stdout' | 'stderr'; chunk: Uint8Array }>;
  write(chunk: Uint8Array): Promise<void>;
  closeStdin(): void;
}

export interface AttachOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Replay the log first. */
  logs: boolean;
  /** Stay attached. */
  stream: boolean;
  /** e.g. `ctrl-p,ctrl-q`; '' the default. Detecting them ends `output`. */
  detachKeys: string;
}

export interface ExecConfig {
  tty: boolean;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  detachKeys: string;
  command: string[];
  env: string[];
  workingDir: string;
  user: string;
  privileged: boolean;
  consoleSize?: [rows: number, columns: number];
}

export interface ExecRecord {
  id: string;
  containerId: string;
  config: ExecConfig;
  running: boolean;
  /** null until it ended. */
  exitCode: number | null;
  pid: number;
  pidStartTicks: number;
  createdMs: number;
}

export interface StatsSample {
  readMs: number;
  cpu: {
    usageNs: number;
    userNs: number;
    systemNs: number;
    perCpuNs: number[];
    hostNs: number;
    onlineCpus: number;
    periods: number;
    throttledPeriods: number;
    throttledNs: number;
  };
  memory: {
    usageBytes: number;
    maxUsageBytes: number;
    limitBytes: number;
    failures: number;
    stats: Record<string, number>;
  };
  pids: { current: number; limit: number };
  blockIO: { device: [major: number, minor: number]; op: string; bytes: number; operations: number }[];
  networks: Record<
    string,
    {
      rxBytes: number;
      rxPackets: number;
      rxErrors: number;
      rxDropped: number;
      txBytes: number;
      txPackets: number;
      txErrors: number;
      txDropped: number;
    }
  >;
  cgroupVersion: 1 | 2;
}

export interface WaitResult {
  exitCode: number;
  error: string;
}

export interface PruneReport {
  deleted: string[];
  spaceReclaimedBytes: number;
}

/** What `cp` learns of a path (docker's container-path-stat). */
export interface PathStat {
  name: string;
  sizeBytes: number;
  /** st_mode as the kernel has it. */
  mode: number;
  modifiedMs: number;
  linkTarget: string;
}

export interface ContainerService {
  create(request: CreateContainer): Promise<{ id: string; warnings: string[] }>;
  /** @throws {TareError} NotModified: already running */
  start(ref: string, options?: { detachKeys?: string }): Promise<void>;
  /** @throws {TareError} NotModified: not running */
  stop(ref: string, options?: { timeoutSeconds?: number; signal?: string }): Promise<void>;
  restart(ref: string, options?: { timeoutSeconds?: number; signal?: string }): Promise<void>;
  kill(ref: string, signal?: string): Promise<void>;
  pause(ref: string): Promise<void>;
  unpause(ref: string): Promise<void>;
  rename(ref: string, name: string): Promise<void>;
  remove(ref: string, options?: { force?: boolean; volumes?: boolean; link?: boolean }): Promise<void>;
  wait(ref: string, condition: 'not-running' | 'next-exit' | 'removed', signal?: AbortSignal): Promise<WaitResult>;
  /** @throws {TareError} NotFound; Conflict: ambiguous prefix */
  inspect(ref: string, options?: { size?: boolean }): Promise<ContainerView>;
  list(options?: { all?: boolean; limit?: number; size?: boolean; filters?: Filters }): Promise<ContainerView[]>;
  top(ref: string, psArgs?: string): Promise<{ titles: string[]; processes: string[][] }>;
  /** One sample now, and one a second while `stream`. */
  stats(ref: string, options: { stream: boolean; signal?: AbortSignal }): AsyncIterable<StatsSample>;
  update(
    ref: string,
    change: Partial<Resources> & { restartPolicy?: { name: RestartPolicyName; maximumRetryCount: number } },
  ): Promise<{ warnings: string[] }>;
  logs(ref: string, options: LogOptions): AsyncIterable<LogEntry>;
  attach(ref: string, options: AttachOptions): Promise<AttachSession>;
  resize(ref: string, rows: number, columns: number): Promise<void>;
  changes(ref: string): Promise<Change[]>;
  /** The container's whole file system as a tar. */
  export(ref: string): AsyncIterable<Uint8Array>;
  statPath(ref: string, path: string): Promise<PathStat>;
  /** A tar of the path; a directory comes with its name as the first entry. */
  readArchive(ref: string, path: string): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }>;
  /** Unpacks a tar (possibly compressed) into an existing directory. */
  writeArchive(
    ref: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options?: { noOverwriteDirNonDir?: boolean; copyUidGid?: boolean },
  ): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}

export interface ExecService {
  create(containerRef: string, config: ExecConfig): Promise<string>;
  /** Detached: resolves once it runs, with undefined. */
  start(
    id: string,
    options: { detach: boolean; tty?: boolean; consoleSize?: [rows: number, columns: number] },
  ): Promise<AttachSession | undefined>;
  inspect(id: string): Promise<ExecRecord>;
  resize(id: string, rows: number, columns: number): Promise<void>;
}

export interface ImageRecord {
  /** Digest of the config. */
  id: string;
  repoTags: string[];
  repoDigests: string[];
  manifest: Descriptor;
  config: ImageConfigFile;
  createdMs: number;
  /** Unpacked size of all layers. */
  sizeBytes: number;
  lastTaggedMs: number;
}

export interface ImageSummary extends Omit<ImageRecord, 'config'> {
  labels: Record<string, string>;
  /** Containers that use it, -1 when not counted. */
  containers: number;
  sharedSizeBytes: number;
}

export interface HistoryEntry {
  id: string;
  createdMs: number;
  createdBy: string;
  tags: string[];
  sizeBytes: number;
  comment: string;
}

/** One line of a progress stream (docker's JSONMessage without its spelling). */
export interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  currentBytes?: number;
  totalBytes?: number;
}

export interface RemovedImage {
  untagged?: string;
  deleted?: string;
}

export interface ImageService {
  /** Makes an image of one layer from a root filesystem's tar, compressed or not. Returns its id. */
  import(
    tar: AsyncIterable<Uint8Array>,
    options: { reference?: string; message?: string; changes?: string[]; platform?: string },
  ): Promise<string>;
  /** Docker archive or OCI layout in a tar (compressed or not). Yields progress, last `Loaded image: …`. */
  load(
    tar: AsyncIterable<Uint8Array>,
    options?: { platform?: string; quiet?: boolean },
  ): AsyncIterable<ProgressMessage>;
  /** The same from an OCI layout folder or unpacked docker archive on this machine. */
  loadDirectory(path: string): AsyncIterable<ProgressMessage>;
  /** A tar that is both a docker archive and an OCI layout. */
  save(refs: string[], options?: { platform?: string }): AsyncIterable<Uint8Array>;
  list(options?: { all?: boolean; filters?: Filters; sharedSize?: boolean }): Promise<ImageSummary[]>;
  /** @throws {TareError} NotFound `No such image: REF` */
  inspect(ref: string): Promise<ImageRecord>;
  history(ref: string): Promise<HistoryEntry[]>;
  tag(ref: string, target: string): Promise<void>;
  remove(ref: string, options?: { force?: boolean; noPrune?: boolean }): Promise<RemovedImage[]>;
  prune(filters?: Filters): Promise<{ removed: RemovedImage[]; spaceReclaimedBytes: number }>;
}

export interface VolumeRecord {
  name: string;
  driver: string;
  mountpoint: string;
  createdMs: number;
  labels: Record<string, string>;
  options: Record<string, string>;
  /** Made for a container without a name of the user's. */
  anonymous: boolean;
}

export interface VolumeView extends VolumeRecord {
  /** -1 when not counted. */
  sizeBytes: number;
  refCount: number;
}

export interface VolumeService {
  create(request: {
    name?: string;
    driver?: string;
    options?: Record<string, string>;
    labels?: Record<string, string>;
  }): Promise<VolumeRecord>;
  inspect(name: string): Promise<VolumeRecord>;
  list(filters?: Filters): Promise<VolumeRecord[]>;
  remove(name: string, options?: { force?: boolean }): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
  usage(): Promise<VolumeView[]>;
}

export interface NetworkView extends NetworkRecord {
  endpoints: (Endpoint & { containerName: string })[];
}

export interface NetworksService {
  create(request: CreateNetwork): Promise<{ id: string; warnings: string[] }>;
  inspect(ref: string): Promise<NetworkView>;
  list(filters?: Filters): Promise<NetworkView[]>;
  remove(ref: string): Promise<void>;
  connect(ref: string, containerRef: string, request: Omit<EndpointRequest, 'network'>): Promise<void>;
  disconnect(ref: string, containerRef: string, force: boolean): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}

export interface EventRecord {
  /** Rises with each event; the cursor. */
  id: number;
  type: 'container' | 'image' | 'volume' | 'network' | 'daemon' | 'builder';
  action: string;
  actorId: string;
  attributes: Record<string, string>;
  timeNs: bigint;
}

export interface EventService {
  /** Past events from `since`, then live ones until `until` or the signal. */
  subscribe(options: {
    sinceSeconds?: number;
    untilSeconds?: number;
    filters?: Filters;
    signal?: AbortSignal;
  }): AsyncIterable<EventRecord>;
}

export interface SystemInfo {
  id: string;
  name: string;
  containers: { total: number; running: number; paused: number; stopped: number };
  images: number;
  storageDriver: string;
  storageStatus: [string, string][];
  dataRoot: string;
  cgroupDriver: string;
  cgroupVersion: '1' | '2';
  kernelVersion: string;
  operatingSystem: string;
  osVersion: string;
  architecture: string;
  cpus: number;
  memoryBytes: number;
  runtimes: { name: string; path: string; args: string[] }[];
  defaultRuntime: string;
  securityOptions: string[];
  warnings: string[];
  supports: {
    memoryLimit: boolean;
    swapLimit: boolean;
    cpuShares: boolean;
    cpuQuota: boolean;
    cpuset: boolean;
    pids: boolean;
    oomKillDisable: boolean;
    ipv4Forwarding: boolean;
  };
  labels: string[];
  debug: boolean;
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
}

export interface SystemVersion {
  version: string;
  gitCommit: string;
  buildTime: string;
  kernelVersion: string;
  os: string;
  architecture: string;
  components: { name: string; version: string; details: Record<string, string> }[];
}

export interface DiskUsage {
  images: ImageSummary[];
  containers: ContainerView[];
  volumes: VolumeView[];
  layersBytes: number;
}

export interface SystemService {
  info(): Promise<SystemInfo>;
  version(): Promise<SystemVersion>;
  diskUsage(): Promise<DiskUsage>;
}

export interface EngineServices {
  containers: ContainerService;
  execs: ExecService;
  images: ImageService;
  volumes: VolumeService;
  networks: NetworksService;
  events: EventService;
  system: SystemService;
}

export type { Change, Compression, Healthcheck };
