import { TareError } from '../../../errors/index.ts';
import type { Resources } from '../../../runtime/index.ts';
import type { ResourcesBody, UpdateBody } from '../schema/container.ts';
import { invalid } from './container-config.ts';
import { toRestartPolicy } from './restart-policy.ts';

type ResourceFields = Omit<ResourcesBody, 'RestartPolicy' | 'CgroupParent' | 'NetworkBandwidth'>;

/**
 * Limits in the engine's words.
 *
 * @throws {TareError} InvalidArgument: a device without a path; Unsupported: fields of other operating systems
 */
export function toResources(body: ResourceFields): Resources {
  refuseForeignFields(body);
  return {
    cpuShares: body.CpuShares,
    nanoCpus: body.NanoCpus,
    cpuPeriod: body.CpuPeriod,
    cpuQuota: body.CpuQuota,
    cpuRealtimePeriod: body.CpuRealtimePeriod,
    cpuRealtimeRuntime: body.CpuRealtimeRuntime,
    cpusetCpus: body.CpusetCpus,
    cpusetMems: body.CpusetMems,
    memoryBytes: body.Memory,
    memoryReservationBytes: body.MemoryReservation,
    memorySwapBytes: body.MemorySwap,
    // Clients say -1 for "not asked for".
    memorySwappiness:
      body.MemorySwappiness === undefined || body.MemorySwappiness === -1 ? null : body.MemorySwappiness,
    kernelMemoryTcpBytes: body.KernelMemoryTCP,
    oomKillDisable: body.OomKillDisable ?? false,
    pidsLimit: body.PidsLimit ?? null,
    blkioWeight: body.BlkioWeight,
    blkioWeightDevice: body.BlkioWeightDevice.map(({ Path, Weight }) => ({ path: Path, weight: Weight })),
    blkioDeviceReadBps: body.BlkioDeviceReadBps.map(toThrottle),
    blkioDeviceWriteBps: body.BlkioDeviceWriteBps.map(toThrottle),
    blkioDeviceReadIOps: body.BlkioDeviceReadIOps.map(toThrottle),
    blkioDeviceWriteIOps: body.BlkioDeviceWriteIOps.map(toThrottle),
    ulimits: body.Ulimits.map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard })),
    devices: body.Devices.map((device) => ({
      pathOnHost: device.PathOnHost,
      pathInContainer: device.PathInContainer || device.PathOnHost,
      cgroupPermissions: device.CgroupPermissions || 'rwm',
    })),
    deviceCgroupRules: body.DeviceCgroupRules,
    // The Docker API has no huge page limits.
    hugetlbLimits: [],
  };
}

function toThrottle({ Path, Rate }: { Path: string; Rate: number }) {
  return { path: Path, rate: Rate };
}

function refuseForeignFields(body: ResourceFields): void {
  for (const device of body.Devices) {
    if (device.PathOnHost === '') throw invalid('invalid device: PathOnHost must not be empty');
  }
  for (const field of ['CpuCount', 'CpuPercent', 'IOMaximumIOps', 'IOMaximumBandwidth'] as const) {
    if (body[field] !== 0) throw new TareError('Unsupported', `${field} is a limit of Windows containers; remove it`);
  }
}

/** What docker's engine does not look at in an update. */
const fixed = new Set<string>(['devices', 'deviceCgroupRules', 'ulimits'] satisfies (keyof Resources)[]);

/** Only what an update names: zero values mean "leave it". */
export function toResourceChange(body: UpdateBody): Partial<Resources> & {
  restartPolicy?: ReturnType<typeof toRestartPolicy>;
  networkBandwidth?: { in: string; out: string };
} {
  const change: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(toResources(body))) {
    const isGiven = Array.isArray(value)
      ? value.length > 0
      : value !== 0 && value !== '' && value !== null && value !== false;
    if (fixed.has(name)) continue;
    // For processes 0 has a meaning of its own: no limit.
    if (isGiven || (name === 'pidsLimit' && value !== null)) change[name] = value;
  }
  const { NetworkBandwidth: bandwidth } = body;
  if (bandwidth !== undefined) change.networkBandwidth = { in: bandwidth.In, out: bandwidth.Out };
  if (body.RestartPolicy.Name !== '') change.restartPolicy = toRestartPolicy(body.RestartPolicy);
  return change;
}
