import type { StatsSample } from '../../../engine/index.ts';
import { timestamp } from './time.ts';

/**
 * One document of `stats`; the client computes its percentages from two samples.
 *
 * @param previous undefined for the first one: docker then sends zeros
 */
export function statsOf(
  container: { id: string; name: string },
  sample: StatsSample,
  previous: StatsSample | undefined,
) {
  return {
    name: `/${container.name}`,
    id: container.id,
    read: timestamp(sample.readMs),
    preread: timestamp(previous?.readMs ?? 0),
    pids_stats: {
      ...(sample.pids.current > 0 && { current: sample.pids.current }),
      ...limited('limit', sample.pids.limit),
    },
    blkio_stats: blockIOOf(sample),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuOf(sample),
    precpu_stats: previous ? cpuOf(previous) : zeroCpu,
    memory_stats: memoryOf(sample),
    ...(Object.keys(sample.networks).length > 0 && { networks: networksOf(sample) }),
  };
}

/** What docker sends for a container that does not run. */
export function stoppedStatsOf(container: { id: string; name: string }) {
  return {
    name: `/${container.name}`,
    id: container.id,
    read: timestamp(0),
    preread: timestamp(0),
    pids_stats: {},
    blkio_stats: noBlockIO,
    num_procs: 0,
    storage_stats: {},
    cpu_stats: zeroCpu,
    precpu_stats: zeroCpu,
    memory_stats: {},
  };
}

const zeroCpu = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

const noBlockIO = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

function cpuOf({ cpu }: StatsSample) {
  return {
    cpu_usage: {
      total_usage: cpu.usageNs,
      ...(cpu.perCpuNs.length > 0 && { percpu_usage: cpu.perCpuNs }),
      usage_in_kernelmode: cpu.systemNs,
      usage_in_usermode: cpu.userNs,
    },
    system_cpu_usage: cpu.hostNs,
    online_cpus: cpu.onlineCpus,
    throttling_data: {
      periods: cpu.periods,
      throttled_periods: cpu.throttledPeriods,
      throttled_time: cpu.throttledNs,
    },
  };
}

function memoryOf({ memory, cgroupVersion }: StatsSample) {
  return {
    usage: memory.usageBytes,
    ...(cgroupVersion === 1 && memory.maxUsageBytes > 0 && { max_usage: memory.maxUsageBytes }),
    stats: memory.stats,
    ...(cgroupVersion === 1 && memory.failures > 0 && { failcnt: memory.failures }),
    ...limited('limit', memory.limitBytes),
  };
}

/** A limit that is none is left out: 64-bit maxima do not survive JSON's numbers. */
function limited(name: 'limit', value: number) {
  return value > 0 && Number.isSafeInteger(value) ? { [name]: value } : {};
}

function blockIOOf({ blockIO }: StatsSample) {
  if (blockIO.length === 0) return noBlockIO;
  const entries = (of: 'bytes' | 'operations') =>
    blockIO.map(({ device: [major, minor], op, [of]: value }) => ({ major, minor, op, value }));
  return {
    ...noBlockIO,
    io_service_bytes_recursive: entries('bytes'),
    io_serviced_recursive: entries('operations'),
  };
}

function networksOf({ networks }: StatsSample) {
  return Object.fromEntries(
    Object.entries(networks).map(([name, counters]) => [
      name,
      {
        rx_bytes: counters.rxBytes,
        rx_packets: counters.rxPackets,
        rx_errors: counters.rxErrors,
        rx_dropped: counters.rxDropped,
        tx_bytes: counters.txBytes,
        tx_packets: counters.txPackets,
        tx_errors: counters.txErrors,
        tx_dropped: counters.txDropped,
      },
    ]),
  );
}
