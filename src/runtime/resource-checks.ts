import { TareError } from '../errors/index.ts';
import type { HostFacts } from './host-facts.ts';
import type { Resources } from './settings.ts';

const minMemoryBytes = 6 * 1024 * 1024;

/**
 * Checks limits by themselves and against this host, with docker's texts. What the kernel cannot limit at all is no
 * error: see `supportedResources`.
 *
 * @throws {TareError} InvalidArgument
 */
export function checkResources(resources: Partial<Resources>, facts: HostFacts, when: 'create' | 'update'): void {
  checkMemory(resources, when);
  checkCpu(resources, facts);
  checkCpuset(resources, facts);
  checkBlockIO(resources);
  checkHugePages(resources, facts);
}

const invalid = (why: string) => new TareError('InvalidArgument', why);

function checkMemory(resources: Partial<Resources>, when: 'create' | 'update'): void {
  const { memoryBytes = 0, memorySwapBytes = 0, memoryReservationBytes = 0, memorySwappiness = null } = resources;
  if (memoryBytes !== 0 && memoryBytes < minMemoryBytes) throw invalid('Minimum memory limit allowed is 6MB');
  if (memorySwapBytes < -1)
    throw invalid(`Invalid memoryswap limit ${memorySwapBytes}: want bytes, or -1 for unlimited`);
  if (memoryBytes > 0 && memorySwapBytes > 0 && memorySwapBytes < memoryBytes) {
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memoryBytes === 0 && memorySwapBytes > 0 && when === 'create') {
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  }
  // -1 is "not asked for" in docker's API.
  if (memorySwappiness !== null && memorySwappiness !== -1 && !(memorySwappiness >= 0 && memorySwappiness <= 100)) {
    throw invalid(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  }
  if (memoryReservationBytes < 0 || (memoryReservationBytes > 0 && memoryReservationBytes < minMemoryBytes)) {
    throw invalid('Minimum memory reservation allowed is 6MB');
  }
  if (memoryBytes > 0 && memoryReservationBytes > 0 && memoryBytes < memoryReservationBytes) {
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  }
}

function checkCpu(resources: Partial<Resources>, facts: HostFacts): void {
  const { nanoCpus = 0, cpuPeriod = 0, cpuQuota = 0, cpuShares = 0 } = resources;
  if (nanoCpus > 0 && cpuPeriod > 0) {
    throw invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  }
  if (nanoCpus > 0 && cpuQuota > 0) throw invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (nanoCpus > 0 && !facts.cgroups.cpu.quota) {
    throw invalid(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    );
  }
  const range = `Range of CPUs is from 0.01 to ${facts.cpus}.00, as there are only ${facts.cpus} CPUs available`;
  // 0.01 CPU is 1 ms of quota, the least that the kernel takes.
  if (nanoCpus !== 0 && (nanoCpus < 1e7 || nanoCpus > facts.cpus * 1e9)) throw invalid(range);
  if (cpuPeriod !== 0 && (cpuPeriod < 1000 || cpuPeriod > 1_000_000)) {
    throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (cpuQuota > 0 && cpuQuota < 1000) throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (cpuShares < 0) throw invalid(`Invalid CPU shares (${cpuShares}): want 2 to 262144`);
  const { cpuRealtimePeriod = 0, cpuRealtimeRuntime = 0 } = resources;
  if ((cpuRealtimePeriod !== 0 || cpuRealtimeRuntime !== 0) && !facts.cgroups.cpu.realtime) {
    throw invalid('Your kernel does not support CPU real-time scheduler');
  }
  if (cpuRealtimePeriod > 0 && cpuRealtimeRuntime > cpuRealtimePeriod) {
    throw invalid('cpu real-time runtime cannot be higher than cpu real-time period');
  }
}

function checkCpuset({ cpusetCpus = '', cpusetMems = '' }: Partial<Resources>, facts: HostFacts): void {
  const checks = [
    ['cpus', cpusetCpus, facts.onlineCpus, 'CPUs'],
    ['mems', cpusetMems, facts.onlineMemoryNodes, 'memory nodes'],
  ] as const;
  for (const [key, requested, available, what] of checks) {
    if (requested === '') continue;
    const wanted = parseCpuList(requested);
    if (wanted === undefined) throw invalid(`Invalid value ${requested} for cpuset ${key}`);
    const present = parseCpuList(available);
    if (present !== undefined && ![...wanted].every((number) => present.has(number))) {
      throw invalid(`Requested ${what} are not available - requested ${requested}, available: ${available}`);
    }
  }
}

/** More CPUs than Linux can have; keeps `0-4000000000` from filling memory. */
const maxCpuNumber = 8191;

/** Numbers of a kernel list such as `0-2,7` (cpuset(7), "List format"); undefined when malformed. */
export function parseCpuList(list: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of list.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first || last > maxCpuNumber) return undefined;
    for (let number = first; number <= last; number += 1) numbers.add(number);
  }
  return numbers;
}

function checkBlockIO(resources: Partial<Resources>): void {
  const weights = [resources.blkioWeight ?? 0, ...(resources.blkioWeightDevice ?? []).map(({ weight }) => weight)];
  if (weights.some((weight) => weight !== 0 && (weight < 10 || weight > 1000))) {
    throw invalid('Range of blkio weight is from 10 to 1000');
  }
  const throttles = [
    resources.blkioDeviceReadBps,
    resources.blkioDeviceWriteBps,
    resources.blkioDeviceReadIOps,
    resources.blkioDeviceWriteIOps,
  ];
  for (const { path, rate } of throttles.flatMap((list) => list ?? [])) {
    if (!path.startsWith('/dev/')) throw invalid(`bad format for device path: ${path}: want a path below /dev`);
    if (!Number.isSafeInteger(rate) || rate < 0) throw invalid(`invalid rate for device: ${path}: ${rate}`);
  }
}

function checkHugePages({ hugetlbLimits = [] }: Partial<Resources>, facts: HostFacts): void {
  for (const { pageSize, limitBytes } of hugetlbLimits) {
    if (!facts.hugePageSizes.includes(pageSize)) {
      throw invalid(
        `invalid huge page size ${JSON.stringify(pageSize)}: this host has ${facts.hugePageSizes.join(', ') || 'none'}`,
      );
    }
    if (!Number.isSafeInteger(limitBytes) || limitBytes < 0) {
      throw invalid(`invalid limit of ${pageSize} huge pages: ${limitBytes}`);
    }
  }
}

/**
 * Limits without those that this host's kernel does not have, and a warning for each that was dropped, in docker's words.
 * Pure.
 */
export function supportedResources<T extends Partial<Resources>>(
  asked: T,
  facts: Pick<HostFacts, 'cgroups'>,
): { resources: T; warnings: string[] } {
  const resources = { ...asked };
  const warnings: string[] = [];
  const { cgroups } = facts;
  const drop = (supported: boolean, warning: string, keys: readonly (keyof Resources)[]) => {
    // 0 is a swappiness like any other.
    const wanted = keys.filter((key) =>
      key === 'memorySwappiness' ? (resources[key] ?? null) !== null : isAsked(resources[key]),
    );
    if (supported || wanted.length === 0) return;
    warnings.push(warning);
    for (const key of wanted) {
      Object.assign(resources, { [key]: key === 'memorySwappiness' ? null : neutral(resources[key]) });
    }
  };
  const { memory, cpu, blkio } = cgroups;
  if (resources.memorySwappiness === -1) resources.memorySwappiness = null;
  drop(
    memory.limit,
    'Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.',
    ['memoryBytes', 'memorySwapBytes'],
  );
  if (isAsked(resources.memoryBytes) && resources.memorySwapBytes !== -1 && !memory.swap) {
    warnings.push(
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    );
    resources.memorySwapBytes = -1;
  }
  drop(
    memory.swappiness,
    'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
    ['memorySwappiness'],
  );
  drop(
    memory.reservation,
    'Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.',
    ['memoryReservationBytes'],
  );
  drop(
    memory.kernelTcp,
    'Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.',
    ['kernelMemoryTcpBytes'],
  );
  drop(memory.oomKillDisable, 'Your kernel does not support OomKillDisable. OomKillDisable discarded.', [
    'oomKillDisable',
  ]);
  if (resources.oomKillDisable && !isAsked(resources.memoryBytes)) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
  drop(
    cgroups.pids,
    'Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.',
    ['pidsLimit'],
  );
  drop(cpu.shares, 'Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.', [
    'cpuShares',
  ]);
  drop(
    cpu.quota,
    'Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. CPU period and quota discarded.',
    ['cpuPeriod', 'cpuQuota'],
  );
  drop(cgroups.cpuset, 'Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.', [
    'cpusetCpus',
    'cpusetMems',
  ]);
  drop(blkio.weight, 'Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.', [
    'blkioWeight',
  ]);
  drop(
    blkio.weightDevice,
    'Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.',
    ['blkioWeightDevice'],
  );
  drop(
    blkio.readBps,
    'Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.',
    ['blkioDeviceReadBps'],
  );
  drop(
    blkio.writeBps,
    'Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.',
    ['blkioDeviceWriteBps'],
  );
  drop(
    blkio.readIOps,
    'Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.',
    ['blkioDeviceReadIOps'],
  );
  drop(
    blkio.writeIOps,
    'Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.',
    ['blkioDeviceWriteIOps'],
  );
  drop(
    cgroups.hugetlb,
    'Your kernel does not support huge page limits or the cgroup is not mounted. Huge page limits discarded.',
    ['hugetlbLimits'],
  );
  return { resources, warnings };
}

function isAsked(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value !== undefined && value !== null && value !== 0 && value !== '' && value !== false;
}

/** "Not asked for" for a value of this type. */
function neutral(value: unknown): unknown {
  if (Array.isArray(value)) return [];
  if (typeof value === 'string') return '';
  return typeof value === 'boolean' ? false : 0;
}
