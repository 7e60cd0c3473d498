import {
  Boolean as Bool,
  Integer as Int,
  Array as List,
  Optional,
  type Static,
  Object as Struct,
  String as Text,
} from 'typebox';
import { consoleSize, map, stringOrList, strings } from './go.ts';
import { endpointSettings } from './network.ts';
import { portMap } from './ports.ts';

const healthcheck = Struct(
  {
    Test: strings(),
    Interval: Int(),
    Timeout: Int(),
    StartPeriod: Int(),
    StartInterval: Int(),
    Retries: Int(),
  },
  { title: 'HealthConfig' },
);

const config = {
  Hostname: Text(),
  Domainname: Text(),
  User: Text(),
  AttachStdin: Bool(),
  AttachStdout: Bool(),
  AttachStderr: Bool(),
  ExposedPorts: map(Struct({})),
  Tty: Bool(),
  OpenStdin: Bool(),
  StdinOnce: Bool(),
  Env: strings(),
  Cmd: Optional(stringOrList()),
  Healthcheck: Optional(healthcheck),
  Image: Text(),
  Volumes: map(Struct({})),
  WorkingDir: Text(),
  Entrypoint: Optional(stringOrList()),
  NetworkDisabled: Bool(),
  /** Deprecated in 1.44; it then belongs to the network mode's endpoint. */
  MacAddress: Text(),
  OnBuild: strings(),
  Labels: map(Text()),
  StopSignal: Text(),
  StopTimeout: Optional(Int()),
  Shell: Optional(stringOrList()),
};

const throttleDevice = Struct({ Path: Text(), Rate: Int() }, { title: 'ThrottleDevice' });

const resources = {
  CpuShares: Int(),
  Memory: Int(),
  NanoCpus: Int(),
  CgroupParent: Text(),
  BlkioWeight: Int(),
  BlkioWeightDevice: List(Struct({ Path: Text(), Weight: Int() }, { title: 'WeightDevice' })),
  BlkioDeviceReadBps: List(throttleDevice),
  BlkioDeviceWriteBps: List(throttleDevice),
  BlkioDeviceReadIOps: List(throttleDevice),
  BlkioDeviceWriteIOps: List(throttleDevice),
  CpuPeriod: Int(),
  CpuQuota: Int(),
  CpuRealtimePeriod: Int(),
  CpuRealtimeRuntime: Int(),
  CpusetCpus: Text(),
  CpusetMems: Text(),
  Devices: List(
    Struct({ PathOnHost: Text(), PathInContainer: Text(), CgroupPermissions: Text() }, { title: 'DeviceMapping' }),
  ),
  DeviceCgroupRules: strings(),
  DeviceRequests: List(
    Struct(
      {
        Driver: Text(),
        Count: Int(),
        DeviceIDs: strings(),
        Capabilities: List(strings()),
        Options: map(Text()),
      },
      { title: 'DeviceRequest' },
    ),
  ),
  KernelMemoryTCP: Int(),
  MemoryReservation: Int(),
  MemorySwap: Int(),
  MemorySwappiness: Optional(Int()),
  OomKillDisable: Optional(Bool()),
  PidsLimit: Optional(Int()),
  Ulimits: List(Struct({ Name: Text(), Soft: Int(), Hard: Int() }, { title: 'Ulimit' })),
  CpuCount: Int(),
  CpuPercent: Int(),
  IOMaximumIOps: Int(),
  IOMaximumBandwidth: Int(),
};

/** Ours: how fast each of a container's links may be. */
const networkBandwidth = Optional(Struct({ In: Text(), Out: Text() }, { title: 'NetworkBandwidth' }));

const restartPolicy = Struct({ Name: Text(), MaximumRetryCount: Int() }, { title: 'RestartPolicy' });

const mount = Struct(
  {
    Type: Text(),
    Source: Text(),
    Target: Text(),
    ReadOnly: Bool(),
    Consistency: Text(),
    BindOptions: Optional(
      Struct(
        {
          Propagation: Text(),
          NonRecursive: Bool(),
          CreateMountpoint: Bool(),
          ReadOnlyNonRecursive: Bool(),
          ReadOnlyForceRecursive: Bool(),
        },
        { title: 'BindOptions' },
      ),
    ),
    VolumeOptions: Optional(
      Struct(
        {
          NoCopy: Bool(),
          Labels: map(Text()),
          DriverConfig: Struct({ Name: Text(), Options: map(Text()) }, { title: 'Driver' }),
          Subpath: Text(),
        },
        { title: 'VolumeOptions' },
      ),
    ),
    TmpfsOptions: Optional(
      Struct({ SizeBytes: Int(), Mode: Int(), Options: List(strings()) }, { title: 'TmpfsOptions' }),
    ),
    ImageOptions: Optional(Struct({ Subpath: Text() }, { title: 'ImageOptions' })),
  },
  { title: 'Mount' },
);

export const hostConfig = Struct(
  {
    ...resources,
    Binds: strings(),
    ContainerIDFile: Text(),
    LogConfig: Struct({ Type: Text(), Config: map(Text()) }, { title: 'LogConfig' }),
    NetworkMode: Text(),
    PortBindings: portMap,
    RestartPolicy: restartPolicy,
    AutoRemove: Bool(),
    VolumeDriver: Text(),
    VolumesFrom: strings(),
    Mounts: List(mount),
    ConsoleSize: consoleSize(),
    Annotations: map(Text()),
    CapAdd: stringOrList(),
    CapDrop: stringOrList(),
    CgroupnsMode: Text(),
    Dns: strings(),
    DnsOptions: strings(),
    DnsSearch: strings(),
    ExtraHosts: strings(),
    GroupAdd: strings(),
    IpcMode: Text(),
    Cgroup: Text(),
    Links: strings(),
    OomScoreAdj: Int(),
    PidMode: Text(),
    Privileged: Bool(),
    PublishAllPorts: Bool(),
    ReadonlyRootfs: Bool(),
    SecurityOpt: strings(),
    StorageOpt: map(Text()),
    Tmpfs: map(Text()),
    UTSMode: Text(),
    UsernsMode: Text(),
    ShmSize: Int(),
    Sysctls: map(Text()),
    Runtime: Text(),
    Isolation: Text(),
    MaskedPaths: Optional(strings()),
    ReadonlyPaths: Optional(strings()),
    Init: Optional(Bool()),
    NetworkBandwidth: networkBandwidth,
  },
  { title: 'HostConfig' },
);

export const createBody = Struct(
  {
    ...config,
    HostConfig: hostConfig,
    NetworkingConfig: Struct({ EndpointsConfig: map(endpointSettings) }, { title: 'NetworkingConfig' }),
    /** Not Docker's: what the container may reach. */
    Egress: strings(),
  },
  { title: 'CreateRequest' },
);

export const updateBody = Struct(
  { ...resources, RestartPolicy: restartPolicy, NetworkBandwidth: networkBandwidth },
  { title: 'UpdateConfig' },
);

export const execCreateBody = Struct(
  {
    User: Text(),
    Privileged: Bool(),
    Tty: Bool(),
    ConsoleSize: Optional(consoleSize()),
    AttachStdin: Bool(),
    AttachStderr: Bool(),
    AttachStdout: Bool(),
    DetachKeys: Text(),
    Env: strings(),
    WorkingDir: Text(),
    Cmd: stringOrList(),
  },
  { title: 'ExecOptions' },
);

export const execStartBody = Struct(
  { Detach: Bool(), Tty: Bool(), ConsoleSize: Optional(consoleSize()) },
  { title: 'ExecStartOptions' },
);

export type CreateBody = Static<typeof createBody>;
export type HostConfigBody = Static<typeof hostConfig>;
export type UpdateBody = Static<typeof updateBody>;
export type MountBody = Static<typeof mount>;
export type ResourcesBody = UpdateBody;
