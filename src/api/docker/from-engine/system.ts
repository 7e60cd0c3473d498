import type { SystemInfo, SystemVersion } from '../../../engine/index.ts';
import { type ApiVersion, MAXIMUM_VERSION, MINIMUM_VERSION } from '../version.ts';
import { timestamp } from './time.ts';

/** Of what it was built and when is not recorded. */
export function versionOf(version: SystemVersion) {
  const engine = {
    Name: 'Engine',
    Version: version.version,
    Details: {
      ApiVersion: MAXIMUM_VERSION,
      Arch: version.architecture,
      BuildTime: '',
      Experimental: String(version.experimental),
      GitCommit: '',
      GoVersion: process.version,
      KernelVersion: version.kernelVersion,
      MinAPIVersion: MINIMUM_VERSION,
      Os: version.os,
    },
  };
  const others = version.components.map(({ name, version: of, details }) => ({
    Name: name,
    Version: of,
    Details: details,
  }));
  return {
    Platform: { Name: 'Tare' },
    Components: [engine, ...others.filter(({ Name }) => Name !== 'Engine')],
    Version: version.version,
    ApiVersion: MAXIMUM_VERSION,
    MinAPIVersion: MINIMUM_VERSION,
    GitCommit: '',
    // The field is Go's; the runtime we run on is what it is asked for.
    GoVersion: process.version,
    Os: version.os,
    Arch: version.architecture,
    KernelVersion: version.kernelVersion,
    BuildTime: '',
  };
}

export function infoOf(info: SystemInfo, serverVersion: string, version: ApiVersion) {
  return {
    ID: info.id,
    Containers: info.containers.total,
    ContainersRunning: info.containers.running,
    ContainersPaused: info.containers.paused,
    ContainersStopped: info.containers.stopped,
    Images: info.images,
    Driver: info.storageDriver,
    DriverStatus: info.storageStatus,
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'cni', 'host', 'ipvlan', 'macvlan', 'null'],
      Authorization: null,
      Log: info.logDrivers,
    },
    ...limitsOf(info),
    Debug: info.debug,
    NFd: 0,
    OomKillDisable: info.supports.oomKillDisable,
    NGoroutines: 0,
    SystemTime: timestamp(Date.now()),
    LoggingDriver: info.defaultLogDriver,
    CgroupDriver: info.cgroupDriver,
    CgroupVersion: info.cgroupVersion,
    NEventsListener: 0,
    KernelVersion: info.kernelVersion,
    OperatingSystem: info.operatingSystem,
    OSVersion: info.osVersion,
    OSType: 'linux',
    Architecture: machineName(info.architecture),
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: registriesOf(info, version),
    NCPU: info.cpus,
    MemTotal: info.memoryBytes,
    GenericResources: null,
    DockerRootDir: info.dataRoot,
    HttpProxy: info.httpProxy,
    HttpsProxy: info.httpsProxy,
    NoProxy: info.noProxy,
    Name: info.name,
    Labels: info.labels,
    ExperimentalBuild: info.experimental,
    ServerVersion: serverVersion,
    Runtimes: Object.fromEntries(
      info.runtimes.map(({ name, path, args }) => [name, { path, ...(args.length > 0 && { runtimeArgs: args }) }]),
    ),
    DefaultRuntime: info.defaultRuntime,
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: noCommit(version),
    RuncCommit: noCommit(version),
    InitCommit: noCommit(version),
    SecurityOptions: info.securityOptions,
    ...(version >= 49 && { FirewallBackend: { Driver: 'nftables' } }),
    ...(version < 50 && { BridgeNfIptables: false, BridgeNfIp6tables: false }),
    ...(version >= 44 && { CDISpecDirs: info.cdi.folders }),
    ...(version >= 50 &&
      info.cdi.devices.length > 0 && {
        DiscoveredDevices: info.cdi.devices.map((id) => ({ Source: 'cdi', ID: id })),
      }),
    Warnings: info.warnings.length > 0 ? info.warnings : null,
  };
}

/** Docker's companions, which this engine has not. */
function noCommit(version: ApiVersion) {
  return { ID: '', ...(version < 49 && { Expected: '' }) };
}

/** As dockerd tells of its own options; registries.conf says more than this has room for. */
function registriesOf({ registries }: SystemInfo, version: ApiVersion) {
  const isSubnet = (text: string) => /\/\d+$/.test(text);
  const mirrors = registries.mirrors.map((mirror) => mirror.replace(/\/?$/, '/'));
  const hosts = registries.insecure.filter((text) => !isSubnet(text));
  return {
    ...(version < 49 && { AllowNondistributableArtifactsCIDRs: null, AllowNondistributableArtifactsHostnames: null }),
    InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', ...registries.insecure.filter(isSubnet)],
    IndexConfigs: {
      'docker.io': { Name: 'docker.io', Mirrors: mirrors, Secure: true, Official: true },
      ...Object.fromEntries(hosts.map((Name) => [Name, { Name, Mirrors: [], Secure: false, Official: false }])),
    },
    Mirrors: mirrors,
  };
}

function limitsOf({ supports }: SystemInfo) {
  return {
    MemoryLimit: supports.memoryLimit,
    SwapLimit: supports.swapLimit,
    CpuCfsPeriod: supports.cpuQuota,
    CpuCfsQuota: supports.cpuQuota,
    CPUShares: supports.cpuShares,
    CPUSet: supports.cpuset,
    PidsLimit: supports.pids,
    IPv4Forwarding: supports.ipv4Forwarding,
  };
}

/** The kernel's name of an architecture, which docker shows here, of the image format's. */
function machineName(architecture: string): string {
  return { amd64: 'x86_64', arm64: 'aarch64' }[architecture] ?? architecture;
}
