import { TareError } from '../errors/index.ts';
import { resolveBlockNumbers } from './devices.ts';
import type { HostFacts } from './host-facts.ts';
import type { OciResources, OciThrottleDevice } from './oci-spec.ts';
import { checkResources, supportedResources } from './resource-checks.ts';
import type { HostConfig, Resources, ThrottleDevice } from './settings.ts';

type BlockNumbers = Record<string, [major: number, minor: number]>;

/** CFS period for `--cpus`, in microseconds. */
const nanoCpusPeriodUs = 100_000;

/**
 * Limits as the OCI runtime takes them; what was not asked for is left out.
 *
 * @param blockNumbers of every device path in the block I/O limits
 */
export function toOciResources(resources: Partial<Resources>, blockNumbers: BlockNumbers): OciResources {
  const parts: OciResources = {
    memory: withoutUndefined({
      limit: resources.memoryBytes || undefined,
      reservation: resources.memoryReservationBytes || undefined,
      swap: resources.memorySwapBytes || undefined,
      kernelTCP: resources.kernelMemoryTcpBytes || undefined,
      swappiness: resources.memorySwappiness ?? undefined,
      disableOOMKiller: resources.oomKillDisable || undefined,
    }),
    cpu: cpuResources(resources),
    pids: pidsResources(resources.pidsLimit),
    blockIO: blockIO(resources, blockNumbers),
    hugepageLimits: resources.hugetlbLimits?.length
      ? resources.hugetlbLimits.map(({ pageSize, limitBytes }) => ({ pageSize, limit: limitBytes }))
      : undefined,
  };
  return withoutUndefined(parts) ?? {};
}

function cpuResources(resources: Partial<Resources>): OciResources['cpu'] {
  const { nanoCpus = 0 } = resources;
  return withoutUndefined({
    shares: resources.cpuShares || undefined,
    // Math.round: 0.07e9 * 100000 / 1e9 is a hair under 7000.
    quota: nanoCpus > 0 ? Math.round((nanoCpus * nanoCpusPeriodUs) / 1e9) : resources.cpuQuota || undefined,
    period: nanoCpus > 0 ? nanoCpusPeriodUs : resources.cpuPeriod || undefined,
    realtimeRuntime: resources.cpuRealtimeRuntime || undefined,
    realtimePeriod: resources.cpuRealtimePeriod || undefined,
    cpus: resources.cpusetCpus || undefined,
    mems: resources.cpusetMems || undefined,
  });
}

/** PID_MAX_LIMIT: more processes than a kernel has numbers for. crun 1.8 fails to write `max` to a v1 cgroup for -1. */
const unlimitedPids = 4_194_304;

function pidsResources(limit: number | null | undefined): OciResources['pids'] {
  if (limit === null || limit === undefined || limit === 0) return undefined;
  return { limit: limit < 0 ? unlimitedPids : Math.min(limit, unlimitedPids) };
}

function blockIO(resources: Partial<Resources>, blockNumbers: BlockNumbers): OciResources['blockIO'] {
  const numbered = <T extends { path: string }, R>(
    list: T[] | undefined,
    make: (item: T, numbers: [number, number]) => R,
  ) => (list?.length ? list.map((item) => make(item, numbersOf(item.path, blockNumbers))) : undefined);
  const throttle = (list: ThrottleDevice[] | undefined) =>
    numbered(list, ({ rate }, [major, minor]): OciThrottleDevice => ({ major, minor, rate }));
  return withoutUndefined({
    weight: resources.blkioWeight || undefined,
    weightDevice: numbered(resources.blkioWeightDevice, ({ weight }, [major, minor]) => ({ major, minor, weight })),
    throttleReadBpsDevice: throttle(resources.blkioDeviceReadBps),
    throttleWriteBpsDevice: throttle(resources.blkioDeviceWriteBps),
    throttleReadIOPSDevice: throttle(resources.blkioDeviceReadIOps),
    throttleWriteIOPSDevice: throttle(resources.blkioDeviceWriteIOps),
  });
}

function numbersOf(path: string, blockNumbers: BlockNumbers): [number, number] {
  const numbers = blockNumbers[path];
  if (numbers === undefined) throw new TareError('Internal', `the numbers of block device ${path} were not looked up`);
  return numbers;
}

/** The object without its undefined members; undefined when none is left. */
function withoutUndefined<T extends object>(object: T): T | undefined {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as T);
}

/** A change of limits, checked against what the container has. */
export interface ResourceUpdate {
  /** JSON for `RUNTIME update --resources -`; empty when no limit of the kernel's changes. */
  resources: OciResources;
  /** The container's limits from now on, for its record. */
  limits: Resources;
  warnings: string[];
}

/**
 * What `update` has to do for a container.
 *
 * @param change only what is to change; 0, '' and null mean "leave it"
 * @param current the container's settings as recorded
 * @throws {TareError} InvalidArgument: a value is bad by itself or beyond this host; Conflict: it contradicts what is set
 */
export function toRuntimeResources(change: Partial<Resources>, current: HostConfig, facts: HostFacts): ResourceUpdate {
  checkResources(change, facts, 'update');
  const { resources: supported, warnings } = supportedResources(change, facts);
  checkAgainst(supported, current);
  const resources = toOciResources(supported, resolveBlockNumbers(supported));
  if (!facts.cgroups.memory.swap) delete resources.memory?.swap;
  // v1 refuses a memory limit above memory and swap together, so what is set is said again with it.
  if (facts.cgroups.memory.swap && resources.memory?.limit && !resources.memory.swap && current.memorySwapBytes > 0) {
    resources.memory.swap = current.memorySwapBytes;
  }
  return { resources, limits: { ...limitsOf(current), ...asked(supported) }, warnings };
}

function checkAgainst(change: Partial<Resources>, current: Resources): void {
  const conflict = (why: string) => new TareError('Conflict', why);
  const { nanoCpus = 0, cpuPeriod = 0, cpuQuota = 0, memoryBytes = 0, memorySwapBytes = 0 } = change;
  if (nanoCpus > 0 && current.cpuPeriod > 0) {
    throw conflict('Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set');
  }
  if (nanoCpus > 0 && current.cpuQuota > 0) {
    throw conflict('Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set');
  }
  if (cpuPeriod > 0 && current.nanoCpus > 0) {
    throw conflict('Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set');
  }
  if (cpuQuota > 0 && current.nanoCpus > 0) {
    throw conflict('Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set');
  }
  const swapAllows = current.memorySwapBytes === -1 || memoryBytes <= current.memorySwapBytes;
  if (memoryBytes > 0 && memorySwapBytes === 0 && !swapAllows) {
    throw conflict(
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    );
  }
}

/** The members of a change that say something. */
function asked(change: Partial<Resources>): Partial<Resources> {
  const says = ([, value]: [string, unknown]) =>
    Array.isArray(value)
      ? value.length > 0
      : value !== undefined && value !== null && value !== 0 && value !== '' && value !== false;
  return Object.fromEntries(Object.entries(change).filter(says));
}

/** Only the limits of a container's settings. */
function limitsOf(host: HostConfig): Resources {
  return {
    cpuShares: host.cpuShares,
    nanoCpus: host.nanoCpus,
    cpuPeriod: host.cpuPeriod,
    cpuQuota: host.cpuQuota,
    cpuRealtimePeriod: host.cpuRealtimePeriod,
    cpuRealtimeRuntime: host.cpuRealtimeRuntime,
    cpusetCpus: host.cpusetCpus,
    cpusetMems: host.cpusetMems,
    memoryBytes: host.memoryBytes,
    memoryReservationBytes: host.memoryReservationBytes,
    memorySwapBytes: host.memorySwapBytes,
    memorySwappiness: host.memorySwappiness,
    kernelMemoryTcpBytes: host.kernelMemoryTcpBytes,
    oomKillDisable: host.oomKillDisable,
    pidsLimit: host.pidsLimit,
    blkioWeight: host.blkioWeight,
    blkioWeightDevice: host.blkioWeightDevice,
    blkioDeviceReadBps: host.blkioDeviceReadBps,
    blkioDeviceWriteBps: host.blkioDeviceWriteBps,
    blkioDeviceReadIOps: host.blkioDeviceReadIOps,
    blkioDeviceWriteIOps: host.blkioDeviceWriteIOps,
    ulimits: host.ulimits,
    devices: host.devices,
    deviceCgroupRules: host.deviceCgroupRules,
    hugetlbLimits: host.hugetlbLimits,
  };
}
