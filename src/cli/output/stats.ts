import type { Listing, Row } from './listing.ts';
import { shortId } from './text.ts';
import { binarySize, humanSize } from './units.ts';

/** The Docker API's container statistics, as far as they are shown. */
export interface Stats {
  id?: string;
  name?: string;
  cpu_stats: Cpu;
  precpu_stats: Cpu;
  memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  pids_stats: { current?: number };
  blkio_stats: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
}

interface Cpu {
  cpu_usage: { total_usage: number; percpu_usage?: number[] | null };
  system_cpu_usage?: number;
  online_cpus?: number;
}

export const statsListing: Listing = {
  headings: {
    Container: 'CONTAINER',
    ID: 'CONTAINER ID',
    Name: 'NAME',
    CPUPerc: 'CPU %',
    MemUsage: 'MEM USAGE / LIMIT',
    MemPerc: 'MEM %',
    NetIO: 'NET I/O',
    BlockIO: 'BLOCK I/O',
    PIDs: 'PIDS',
  },
  columns: ['ID', 'Name', 'CPUPerc', 'MemUsage', 'MemPerc', 'NetIO', 'BlockIO', 'PIDs'],
  quiet: 'ID',
};

/** @param stats undefined while there is no sample yet, or when the container is gone */
export function statsRow(container: { id: string; name: string }, stats: Stats | undefined, short: boolean): Row {
  const names = { Container: container.name, ID: short ? shortId(container.id) : container.id, Name: container.name };
  if (!stats)
    return {
      ...names,
      CPUPerc: '--',
      MemUsage: '-- / --',
      MemPerc: '--',
      NetIO: '-- / --',
      BlockIO: '-- / --',
      PIDs: '--',
    };
  const used = memoryUsed(stats);
  const limit = stats.memory_stats.limit ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const io = stats.blkio_stats.io_service_bytes_recursive ?? [];
  const block = (op: string) => sum(io.filter((entry) => entry.op.toLowerCase() === op).map(({ value }) => value));
  return {
    ...names,
    CPUPerc: percent(cpuPercent(stats)),
    MemUsage: `${binarySize(used)} / ${binarySize(limit)}`,
    MemPerc: percent(limit > 0 ? (used / limit) * 100 : 0),
    NetIO: `${humanSize(sum(networks.map((net) => net.rx_bytes)), 3)} / ${humanSize(sum(networks.map((net) => net.tx_bytes)), 3)}`,
    BlockIO: `${humanSize(block('read'), 3)} / ${humanSize(block('write'), 3)}`,
    PIDs: String(stats.pids_stats.current ?? 0),
  };
}

function percent(value: number): string {
  return `${value.toFixed(2)}%`;
}

/** Share of one CPU since the sample before: 200 with two busy ones. */
function cpuPercent({ cpu_stats: now, precpu_stats: before }: Stats): number {
  const used = now.cpu_usage.total_usage - before.cpu_usage.total_usage;
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || now.cpu_usage.percpu_usage?.length || 1;
  return used > 0 && passed > 0 ? (used / passed) * cpus * 100 : 0;
}

/** Without page cache that the kernel can drop at once; it has another name in each cgroup version. */
function memoryUsed({ memory_stats: memory }: Stats): number {
  const usage = memory.usage ?? 0;
  const inactive = memory.stats?.['total_inactive_file'] ?? memory.stats?.['inactive_file'] ?? 0;
  return inactive < usage ? usage - inactive : usage;
}
