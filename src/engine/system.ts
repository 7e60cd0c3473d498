import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, hostname, release, totalmem } from 'node:os';
import { CdiDevices, type HostFacts } from '../runtime/index.ts';
import type { Database } from '../state/index.ts';
import type { LayerStore } from '../storage/index.ts';
import type { EngineConfig } from './config.ts';
import type { ContainerStore } from './container-store.ts';
import { logDrivers } from './log-options.ts';
import { engineMetrics } from './metrics.ts';
import { readUplink } from './rootless/uplink.ts';
import { shownProxies } from './shown-proxies.ts';
import type {
  ContainerService,
  DiskUsage,
  ImageService,
  ImageUsage,
  SystemInfo,
  SystemService,
  SystemVersion,
  VolumeService,
} from './types.ts';
import { version } from './version.ts';

export interface SystemDeps {
  config: EngineConfig;
  db: Database;
  store: ContainerStore;
  facts: HostFacts;
  layers: LayerStore;
  containers: ContainerService;
  images: ImageService & { usage(): Promise<ImageUsage> };
  volumes: VolumeService;
  reload: SystemService['reload'];
}

const goArchitectures: Record<string, string> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
const architecture = goArchitectures[process.arch] ?? process.arch;

/** What the engine says of itself and of the host. */
export function createSystemService(deps: SystemDeps): SystemService {
  return {
    info: () => info(deps),
    version: async () => engineVersion(deps.config),
    diskUsage: () => diskUsage(deps),
    reload: () => deps.reload(),
    metrics: async () => engineMetrics(deps.db, deps.store),
  };
}

async function info({ config, db, store, facts, images, layers }: SystemDeps): Promise<SystemInfo> {
  const records = store.all();
  const count = (...statuses: string[]) => records.filter(({ state }) => statuses.includes(state.status)).length;
  const os = osRelease();
  const { memory, cpu, pids } = facts.cgroups;
  const supports = {
    memoryLimit: memory.limit,
    swapLimit: memory.swap,
    cpuShares: cpu.shares,
    cpuQuota: cpu.quota,
    cpuset: facts.cgroups.cpuset,
    pids,
    oomKillDisable: memory.oomKillDisable,
    ipv4Forwarding: facts.ipv4Forwarding,
  };
  return {
    id: await engineID(db),
    name: hostname(),
    containers: {
      total: records.length,
      running: count('running', 'restarting'),
      paused: count('paused'),
      stopped: count('created', 'exited', 'dead', 'removing'),
    },
    images: (await images.list()).length,
    storageDriver: layers.driver,
    logDrivers,
    defaultLogDriver: config.logConfig.type,
    storageStatus: [['Native Overlay Diff', String(layers.driver === 'overlay')]],
    dataRoot: config.dataRoot,
    cgroupDriver: config.rootless === undefined ? 'cgroupfs' : 'none',
    cgroupVersion: Object.keys(facts.cgroupLayout.v1).length > 0 ? '1' : '2',
    kernelVersion: release(),
    operatingSystem: os['PRETTY_NAME'] ?? 'Linux',
    osVersion: os['VERSION_ID'] ?? '',
    architecture: machine(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    runtimes: config.runtimes,
    defaultRuntime: config.defaultRuntime,
    securityOptions: [
      ...(facts.apparmor === undefined ? [] : ['name=apparmor']),
      ...(facts.seccomp === undefined ? [] : ['name=seccomp,profile=builtin']),
      ...(facts.selinux === undefined ? [] : ['name=selinux']),
      ...(config.rootless === undefined ? [] : ['name=rootless']),
      'name=cgroupns',
    ],
    warnings: [...warningsOf(supports), ...uplinkWarnings(config)],
    supports,
    registries: { insecure: config.registries.insecureRegistries, mirrors: config.registries.registryMirrors },
    labels: config.labels,
    cdi: { folders: config.cdiFolders, devices: (await CdiDevices.read(config.cdiFolders)).names() },
    debug: config.debug,
    experimental: config.experimental,
    ...shownProxies(process.env),
  };
}

/** Why containers of an engine without root do not reach the outside. */
function uplinkWarnings({ rootless }: EngineConfig): string[] {
  const failure = rootless === undefined ? '' : (readUplink(rootless.namespaces)?.failure ?? '');
  return failure === ''
    ? []
    : [`WARNING: containers do not reach the outside: ${failure}; install passt or slirp4netns`];
}

function warningsOf(supports: SystemInfo['supports']): string[] {
  const texts: [boolean, string][] = [
    [supports.memoryLimit, 'WARNING: No memory limit support'],
    [supports.swapLimit, 'WARNING: No swap limit support'],
    [supports.cpuShares, 'WARNING: No cpu shares support'],
    [supports.cpuQuota, 'WARNING: No cpu cfs quota support'],
    [supports.cpuset, 'WARNING: No cpuset support'],
  ];
  return texts.filter(([isSupported]) => !isSupported).map(([, text]) => text);
}

function engineVersion({ experimental }: EngineConfig): SystemVersion {
  return {
    version,
    kernelVersion: release(),
    os: 'linux',
    architecture,
    experimental,
    components: [
      {
        name: 'Engine',
        version,
        details: { NodeVersion: process.version, Os: 'linux', Arch: architecture, KernelVersion: release() },
      },
    ],
  };
}

async function diskUsage({ containers, images, volumes }: SystemDeps): Promise<DiskUsage> {
  const [imageList, containerList, volumeList, imageBytes] = await Promise.all([
    images.list({ all: true, sharedSize: true }),
    containers.list({ all: true, size: true }),
    volumes.usage(),
    images.usage(),
  ]);
  for (const image of imageList) {
    image.containers = containerList.filter(({ imageId }) => imageId === image.id).length;
    // Of a list the size is that of the files; here what they take, stored and unpacked.
    const { sizeBytes, sharedBytes } = imageBytes.images.get(image.id) ?? {
      sizeBytes: image.sizeBytes,
      sharedBytes: 0,
    };
    Object.assign(image, { sizeBytes, sharedSizeBytes: sharedBytes });
  }
  return {
    images: imageList,
    containers: containerList,
    volumes: volumeList,
    imageBytes: imageBytes.totalBytes,
    reclaimableImageBytes: imageBytes.reclaimableBytes,
  };
}

/** One id for as long as the data root lives, made with the first question. */
export async function engineID(db: Database): Promise<string> {
  const read = () => db.get<{ value: string }>("SELECT value FROM facts WHERE key = 'engine-id'")?.value;
  const known = read();
  if (known !== undefined) return known;
  await db.write((tx) => tx.run("INSERT OR IGNORE INTO facts (key, value) VALUES ('engine-id', ?)", randomUUID()));
  return read() ?? '';
}

function osRelease(): Record<string, string> {
  try {
    const lines = readFileSync('/etc/os-release', 'utf8').split('\n');
    return Object.fromEntries(
      lines.map((line) => line.split(/=(.*)/s)).map(([key, value = '']) => [key, value.replace(/^"(.*)"$/, '$1')]),
    );
  } catch {
    return {};
  }
}

/** uname's word for the processor, as docker shows it. */
const machine = (): string => ({ x64: 'x86_64', arm64: 'aarch64' })[process.arch as string] ?? process.arch;
