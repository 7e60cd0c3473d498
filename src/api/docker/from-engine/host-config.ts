import type { HostConfig, MountRequest } from '../../../runtime/index.ts';

const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** The HostConfig echo of inspect: docker's fields in docker's order, null where docker has null. */
export function hostConfigOf(host: HostConfig) {
  return {
    Binds: orNull(host.binds),
    ContainerIDFile: host.containerIdFile,
    LogConfig: { Type: host.logConfig.type || 'json-file', Config: host.logConfig.config },
    NetworkMode: networkModeOf(host),
    PortBindings: Object.fromEntries(
      Object.entries(host.portBindings).map(([port, bindings]) => [
        port,
        bindings.map(({ hostIp, hostPort }) => ({ HostIp: hostIp, HostPort: hostPort })),
      ]),
    ),
    RestartPolicy: { Name: host.restartPolicy.name, MaximumRetryCount: host.restartPolicy.maximumRetryCount },
    AutoRemove: host.autoRemove,
    VolumeDriver: host.volumeDriver,
    VolumesFrom: orNull(host.volumesFrom),
    ConsoleSize: host.consoleSize,
    ...(Object.keys(host.annotations).length > 0 && { Annotations: host.annotations }),
    CapAdd: orNull(host.capAdd),
    CapDrop: orNull(host.capDrop),
    CgroupnsMode: host.cgroupnsMode || 'private',
    Dns: host.dns,
    DnsOptions: host.dnsOptions,
    DnsSearch: host.dnsSearch,
    ExtraHosts: orNull(host.extraHosts),
    GroupAdd: orNull(host.groupAdd),
    IpcMode: host.ipcMode || 'private',
    Cgroup: '',
    Links: orNull(host.links),
    OomScoreAdj: host.oomScoreAdj,
    PidMode: host.pidMode,
    Privileged: host.privileged,
    PublishAllPorts: host.publishAllPorts,
    ReadonlyRootfs: host.readonlyRootfs,
    SecurityOpt: orNull(host.securityOpt),
    ...(Object.keys(host.storageOpt).length > 0 && { StorageOpt: host.storageOpt }),
    ...(Object.keys(host.tmpfs).length > 0 && { Tmpfs: host.tmpfs }),
    UTSMode: host.utsMode,
    UsernsMode: host.usernsMode,
    ShmSize: host.shmSizeBytes || DEFAULT_SHM_BYTES,
    ...(Object.keys(host.sysctls).length > 0 && { Sysctls: host.sysctls }),
    Runtime: host.runtime,
    Isolation: host.isolation,
    ...resourcesOf(host),
    ...(host.mounts.length > 0 && { Mounts: host.mounts.map(mountOf) }),
    MaskedPaths: host.maskedPaths ?? (host.privileged ? null : maskedByDefault),
    ReadonlyPaths: host.readonlyPaths ?? (host.privileged ? null : readonlyByDefault),
    ...(host.init !== null && { Init: host.init }),
    ...(host.networkBandwidth && {
      NetworkBandwidth: { In: host.networkBandwidth.in, Out: host.networkBandwidth.out },
    }),
  };
}

/** Docker shows the default network by its name. */
export function networkModeOf(host: HostConfig): string {
  return host.networkMode === '' || host.networkMode === 'default' ? 'bridge' : host.networkMode;
}

function resourcesOf(host: HostConfig) {
  return {
    CpuShares: host.cpuShares,
    Memory: host.memoryBytes,
    NanoCpus: host.nanoCpus,
    CgroupParent: host.cgroupParent,
    BlkioWeight: host.blkioWeight,
    BlkioWeightDevice: host.blkioWeightDevice.map(({ path, weight }) => ({ Path: path, Weight: weight })),
    BlkioDeviceReadBps: host.blkioDeviceReadBps.map(throttleOf),
    BlkioDeviceWriteBps: host.blkioDeviceWriteBps.map(throttleOf),
    BlkioDeviceReadIOps: host.blkioDeviceReadIOps.map(throttleOf),
    BlkioDeviceWriteIOps: host.blkioDeviceWriteIOps.map(throttleOf),
    CpuPeriod: host.cpuPeriod,
    CpuQuota: host.cpuQuota,
    CpuRealtimePeriod: host.cpuRealtimePeriod,
    CpuRealtimeRuntime: host.cpuRealtimeRuntime,
    CpusetCpus: host.cpusetCpus,
    CpusetMems: host.cpusetMems,
    Devices: host.devices.map((device) => ({
      PathOnHost: device.pathOnHost,
      PathInContainer: device.pathInContainer,
      CgroupPermissions: device.cgroupPermissions,
    })),
    DeviceCgroupRules: orNull(host.deviceCgroupRules),
    DeviceRequests: orNull(host.deviceRequests.map(deviceRequestOf)),
    ...(host.kernelMemoryTcpBytes !== 0 && { KernelMemoryTCP: host.kernelMemoryTcpBytes }),
    MemoryReservation: host.memoryReservationBytes,
    MemorySwap: host.memorySwapBytes,
    MemorySwappiness: host.memorySwappiness,
    OomKillDisable: host.oomKillDisable || null,
    PidsLimit: host.pidsLimit,
    Ulimits: host.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

function deviceRequestOf(request: HostConfig['deviceRequests'][number]) {
  return {
    Driver: request.driver,
    Count: request.count,
    DeviceIDs: orNull(request.deviceIds),
    Capabilities: orNull(request.capabilities),
    Options: request.options,
  };
}

function throttleOf({ path, rate }: { path: string; rate: number }) {
  return { Path: path, Rate: rate };
}

function mountOf(mount: MountRequest) {
  return {
    Type: mount.type,
    ...(mount.source !== '' && { Source: mount.source }),
    Target: mount.target,
    ...(mount.readOnly && { ReadOnly: true }),
    ...(mount.consistency && { Consistency: mount.consistency }),
    ...(mount.bind && {
      BindOptions: {
        ...(mount.bind.propagation && { Propagation: mount.bind.propagation }),
        ...(mount.bind.nonRecursive && { NonRecursive: true }),
        ...(mount.bind.createMountpoint && { CreateMountpoint: true }),
        ...(mount.bind.readOnlyNonRecursive && { ReadOnlyNonRecursive: true }),
        ...(mount.bind.readOnlyForceRecursive && { ReadOnlyForceRecursive: true }),
      },
    }),
    ...(mount.volume && {
      VolumeOptions: {
        ...(mount.volume.noCopy && { NoCopy: true }),
        ...(Object.keys(mount.volume.labels).length > 0 && { Labels: mount.volume.labels }),
        ...(mount.volume.subpath && { Subpath: mount.volume.subpath }),
        ...(mount.volume.driver && {
          DriverConfig: { Name: mount.volume.driver, Options: mount.volume.driverOptions },
        }),
      },
    }),
    ...(mount.tmpfs && {
      TmpfsOptions: {
        ...(mount.tmpfs.sizeBytes !== 0 && { SizeBytes: mount.tmpfs.sizeBytes }),
        ...(mount.tmpfs.mode !== 0 && { Mode: mount.tmpfs.mode }),
        ...(mount.tmpfs.options.length > 0 && { Options: mount.tmpfs.options }),
      },
    }),
    ...(mount.image && { ImageOptions: mount.image.subpath ? { Subpath: mount.image.subpath } : {} }),
  };
}

export function orNull<T>(list: T[]): T[] | null {
  return list.length > 0 ? list : null;
}

/** What the default means, as docker spells it out. */
const maskedByDefault = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyByDefault = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];
