import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { CgroupUsage } from './cgroup-stats.ts';
import { readProcessStat } from './process.ts';

const NS_PER_TICK = 1e7;
const PAGE_BYTES = 4096;

/**
 * The processes of a container that has no cgroup: those of its first process's PID namespace, and their descendants. With the
 * host's PID namespace, its first process and the descendants.
 *
 * @returns ascending; empty when it has ended
 */
export function listProcesses(firstPid: number): number[] {
  const namespace = pidNamespace(firstPid);
  if (namespace === '') return [];
  const isShared = namespace === pidNamespace('self');
  const parents = new Map<number, number>();
  const found = new Set<number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = readProcessStat(pid);
    if (stat === undefined || stat.state === 'Z') continue;
    parents.set(pid, stat.parentPid);
    if (isShared ? pid === firstPid : pidNamespace(pid) === namespace) found.add(pid);
  }
  const belongs = (pid: number): boolean => {
    if (found.has(pid)) return true;
    const parent = parents.get(pid);
    if (parent === undefined || !belongs(parent)) return false;
    found.add(pid);
    return true;
  };
  return [...parents.keys()].filter(belongs).sort((a, b) => a - b);
}

function pidNamespace(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return '';
  }
}

/** What processes use together; those that have ended count by the one that waited for them. */
export function processUsage(pids: readonly number[]): CgroupUsage {
  let userNs = 0;
  let systemNs = 0;
  let residentBytes = 0;
  let readBytes = 0;
  let writtenBytes = 0;
  for (const pid of pids) {
    const stat = text(`/proc/${pid}/stat`);
    // From the third field on (proc_pid_stat(5)): utime, stime, cutime, cstime are 14 to 17, rss is 24.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    userNs += ((fields[11] ?? 0) + (fields[13] ?? 0)) * NS_PER_TICK;
    systemNs += ((fields[12] ?? 0) + (fields[14] ?? 0)) * NS_PER_TICK;
    residentBytes += (fields[21] ?? 0) * PAGE_BYTES;
    const io = text(`/proc/${pid}/io`);
    readBytes += Number(/^read_bytes: (\d+)/m.exec(io)?.[1] ?? 0);
    writtenBytes += Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0);
  }
  const device: [number, number] = [0, 0];
  return {
    cpu: {
      ...{ usageNs: userNs + systemNs, userNs, systemNs, perCpuNs: [] },
      ...{ periods: 0, throttledPeriods: 0, throttledNs: 0 },
    },
    memory: {
      ...{ usageBytes: residentBytes, maxUsageBytes: 0, limitBytes: Number.POSITIVE_INFINITY },
      ...{ failures: 0, stats: {} },
    },
    pids: { current: pids.length, limit: Number.POSITIVE_INFINITY },
    blockIO: [
      { device, op: 'read', bytes: readBytes, operations: 0 },
      { device, op: 'write', bytes: writtenBytes, operations: 0 },
    ],
  };
}

function text(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // it has ended
  }
}
