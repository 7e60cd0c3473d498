/**
 * What a user asks of a container, parsed and normalised once at the edge. Plain data: it is stored in the container's
 * record as it is. Sizes are bytes, times carry their unit in their name.
 */
export interface ContainerConfig {
  hostname: string;
  domainname: string;
  /** `user[:group]`, names or numbers, as given; resolved inside the image. */
  user: string;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  exposedPorts: string[];
  tty: boolean;
  openStdin: boolean;
  stdinOnce: boolean;
  env: string[];
  /** null: not given, the image's counts. */
  cmd: string[] | null;
  entrypoint: string[] | null;
  healthcheck: Healthcheck | null;
  /** The image as the user wrote it. */
  image: string;
  /** Container paths of anonymous volumes. */
  volumes: string[];
  workingDir: string;
  networkDisabled: boolean;
  labels: Record<string, string>;
  stopSignal: string;
  stopTimeoutSeconds: number | null;
  onBuild: string[];
  shell: string[] | null;
}

export interface Healthcheck {
  /** [] inherit, ['NONE'], ['CMD', …] or ['CMD-SHELL', text]. */
  test: string[];
  /** Nanoseconds, as in the image format; 0 is the default (30 s, 30 s, 0, 5 s). */
  intervalNs: number;
  timeoutNs: number;
  startPeriodNs: number;
  startIntervalNs: number;
  /** 0 is the default, 3. */
  retries: number;
}

export type RestartPolicyName = 'no' | 'always' | 'on-failure' | 'unless-stopped';

export interface PortBinding {
  hostIp: string;
  /** '' for a free port; may be a range `8000-8010`. */
  hostPort: string;
}

/** A mount in the long form (docker's `--mount`). */
export interface MountRequest {
  type: 'bind' | 'volume' | 'tmpfs' | 'image';
  source: string;
  target: string;
  readOnly: boolean;
  bind?: {
    propagation: string;
    nonRecursive: boolean;
    createMountpoint: boolean;
    readOnlyNonRecursive: boolean;
    readOnlyForceRecursive: boolean;
  };
  volume?: {
    noCopy: boolean;
    labels: Record<string, string>;
    driver: string;
    driverOptions: Record<string, string>;
    subpath: string;
  };
  tmpfs?: { sizeBytes: number; mode: number; options: string[][] };
  image?: { subpath: string };
  consistency?: string;
}

export interface DeviceRequestPath {
  pathOnHost: string;
  pathInContainer: string;
  /** Some of `rwm`. */
  cgroupPermissions: string;
}

/** Devices that a driver is asked for (docker's `--gpus`, and `--device vendor.com/class=name`). */
export interface DeviceRequest {
  /** `cdi`, or a driver's name; '' for any. */
  driver: string;
  /** -1: all. */
  count: number;
  deviceIds: string[];
  /** Any of these sets, of which all are wanted. */
  capabilities: string[][];
  options: Record<string, string>;
}

export interface Ulimit {
  name: string;
  soft: number;
  hard: number;
}

export interface ThrottleDevice {
  path: string;
  /** Bytes or operations a second. */
  rate: number;
}

/** Limits; 0, '' and null mean "not asked for". Changed later by `update`. */
export interface Resources {
  cpuShares: number;
  nanoCpus: number;
  cpuPeriod: number;
  cpuQuota: number;
  cpuRealtimePeriod: number;
  cpuRealtimeRuntime: number;
  cpusetCpus: string;
  cpusetMems: string;
  memoryBytes: number;
  memoryReservationBytes: number;
  /** memory plus swap; -1 unlimited, 0 not asked for (then twice the memory). */
  memorySwapBytes: number;
  memorySwappiness: number | null;
  kernelMemoryTcpBytes: number;
  oomKillDisable: boolean;
  pidsLimit: number | null;
  blkioWeight: number;
  blkioWeightDevice: { path: string; weight: number }[];
  blkioDeviceReadBps: ThrottleDevice[];
  blkioDeviceWriteBps: ThrottleDevice[];
  blkioDeviceReadIOps: ThrottleDevice[];
  blkioDeviceWriteIOps: ThrottleDevice[];
  ulimits: Ulimit[];
  devices: DeviceRequestPath[];
  deviceCgroupRules: string[];
  hugetlbLimits: { pageSize: string; limitBytes: number }[];
}

/** What a user asks of the host for a container. */
export interface HostConfig extends Resources {
  /** `source:target[:options]` as given. */
  binds: string[];
  mounts: MountRequest[];
  /** container path → mount options. */
  tmpfs: Record<string, string>;
  volumesFrom: string[];
  volumeDriver: string;
  /** Network mode: '' or 'default', 'bridge', 'none', 'host', 'container:ID', or a network's name. */
  networkMode: string;
  /** `80/tcp` → bindings. */
  portBindings: Record<string, PortBinding[]>;
  publishAllPorts: boolean;
  /** How fast each of its links may be, in the words of `--network-bandwidth`; '' for no limit. */
  networkBandwidth?: { in: string; out: string };
  restartPolicy: { name: RestartPolicyName; maximumRetryCount: number };
  autoRemove: boolean;
  capAdd: string[];
  capDrop: string[];
  /** '' (the host's default), 'private' or 'host'. */
  cgroupnsMode: string;
  cgroupParent: string;
  /** '' (private), 'host', 'private', 'shareable', 'none', 'container:ID'. */
  ipcMode: string;
  /** '' (private), 'host', 'container:ID'. */
  pidMode: string;
  /** '' (private) or 'host'. */
  utsMode: string;
  /** '' or 'host'. */
  usernsMode: string;
  dns: string[];
  dnsOptions: string[];
  dnsSearch: string[];
  extraHosts: string[];
  groupAdd: string[];
  links: string[];
  deviceRequests: DeviceRequest[];
  oomScoreAdj: number;
  privileged: boolean;
  readonlyRootfs: boolean;
  securityOpt: string[];
  storageOpt: Record<string, string>;
  sysctls: Record<string, string>;
  /** 0: the default, 64 MiB. */
  shmSizeBytes: number;
  /** OCI runtime by name; '' is the configured default. */
  runtime: string;
  init: boolean | null;
  isolation: string;
  /** null: the default lists; [] none. */
  maskedPaths: string[] | null;
  readonlyPaths: string[] | null;
  annotations: Record<string, string>;
  logConfig: { type: string; config: Record<string, string> };
  consoleSize: [rows: number, columns: number];
  containerIdFile: string;
}
