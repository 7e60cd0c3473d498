import type { ContainerView } from './container-types.ts';
import type { ImageSummary } from './image-types.ts';
import type { VolumeView } from './volume-types.ts';

export interface SystemInfo {
  id: string;
  name: string;
  containers: { total: number; running: number; paused: number; stopped: number };
  images: number;
  storageDriver: string;
  storageStatus: [string, string][];
  /** What a container's output may be given to. */
  logDrivers: string[];
  /** What takes it unless a container says otherwise. */
  defaultLogDriver: string;
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
  /** As the engine was told: `HOST[:PORT]` or CIDR, and mirrors of docker.io as URLs. */
  registries: { insecure: string[]; mirrors: string[] };
  labels: string[];
  /** Where devices are described, and which are. */
  cdi: { folders: string[]; devices: string[] };
  debug: boolean;
  experimental: boolean;
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
}

export interface SystemVersion {
  version: string;
  kernelVersion: string;
  os: string;
  architecture: string;
  experimental: boolean;
  components: { name: string; version: string; details: Record<string, string> }[];
}

export interface DiskUsage {
  images: ImageSummary[];
  containers: ContainerView[];
  volumes: VolumeView[];
  /** Of all blobs and unpacked layers, each once. */
  imageBytes: number;
  /** What of it no container and no mount needs. */
  reclaimableImageBytes: number;
}

/** The engine in figures. */
export interface EngineMetrics {
  containers: { running: number; paused: number; stopped: number };
  cpus: number;
  memoryBytes: number;
  version: string;
  /** Ever recorded. */
  events: number;
  /** Of others than the one who asks. */
  processes: { process: string; residentBytes: number }[];
}

/** What a reload did, in the words of the configuration file. */
export interface ReloadReport {
  changed: string[];
  /** Changed in the file, and not used before the next start. */
  kept: string[];
}

export interface SystemService {
  /**
   * Reads the configuration again.
   * @throws {TareError} InvalidArgument: it is wrong, and nothing has changed; Unsupported: no daemon, which alone keeps one
   */
  reload(): Promise<ReloadReport>;
  metrics(): Promise<EngineMetrics>;
  info(): Promise<SystemInfo>;
  version(): Promise<SystemVersion>;
  diskUsage(): Promise<DiskUsage>;
}
