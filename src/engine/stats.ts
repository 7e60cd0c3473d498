import { totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type CgroupUsageReader,
  cgroupLayout,
  KernelFile,
  listProcesses,
  openCgroupUsage,
  processUsage,
  readKernelFile,
} from '../linux/index.ts';
import { IFB } from '../network/index.ts';
import type { StatsSample } from './types.ts';

/** Where a running container's figures are found. */
export interface StatsTarget {
  pid: number;
  /** Absolute within the cgroup hierarchies: `/tare/ID`; undefined: it has none, and its processes are counted. */
  cgroupPath: string | undefined;
  /** False: it shares the host's network, whose traffic is not its own. */
  ownNetwork: boolean;
}

/** Reads a container's figures, many times; its cgroup's files stay open until it is disposed. */
class StatsReader implements Disposable {
  readonly #target: StatsTarget;
  readonly #usage: CgroupUsageReader;

  constructor(target: StatsTarget) {
    this.#target = target;
    this.#usage = target.cgroupPath === undefined ? countProcesses(target.pid) : openCgroupUsage(target.cgroupPath);
  }

  /** Takes 0.2 ms of synchronous reads. @returns undefined: the container is gone */
  sample(): StatsSample | undefined {
    const usage = this.#usage.read();
    if (usage === undefined) return undefined;
    const { limitBytes } = usage.memory;
    const { limit } = usage.pids;
    return {
      readMs: performance.timeOrigin + performance.now(),
      cpu: { ...usage.cpu, ...hostCpu() },
      memory: { ...usage.memory, limitBytes: Math.min(limitBytes, totalmem()) },
      pids: { current: usage.pids.current, limit: limit < maxPids ? limit : 0 },
      blockIO: usage.blockIO,
      networks: this.#target.ownNetwork ? networkCounters(this.#target.pid) : {},
      cgroupVersion: cgroupLayout().mode === 'v2' ? 2 : 1,
    };
  }

  [Symbol.dispose](): void {
    this.#usage[Symbol.dispose]();
  }
}

const countProcesses = (pid: number): CgroupUsageReader => ({
  read: () => {
    const pids = listProcesses(pid);
    return pids.length === 0 ? undefined : processUsage(pids);
  },
  [Symbol.dispose]: () => {},
});

/** The sample of a container that does not run: all zero. */
function emptySample(): StatsSample {
  return {
    readMs: 0,
    cpu: {
      usageNs: 0,
      userNs: 0,
      systemNs: 0,
      perCpuNs: [],
      hostNs: 0,
      onlineCpus: 0,
      periods: 0,
      throttledPeriods: 0,
      throttledNs: 0,
    },
    memory: { usageBytes: 0, maxUsageBytes: 0, limitBytes: 0, failures: 0, stats: {} },
    pids: { current: 0, limit: 0 },
    blockIO: [],
    networks: {},
    cgroupVersion: cgroupLayout().mode === 'v2' ? 2 : 1,
  };
}

const intervalMs = 1000;
/** The kernel has no more numbers for processes (PID_MAX_LIMIT), so this is no limit. */
const maxPids = 4_194_304;

/**
 * One sample now, and while `stream` one a second. A container that is stopped gives empty samples, and is found again
 * when it is started anew.
 *
 * @param locate where the container is now; undefined: it is stopped; it throws when the container was removed, which ends
 *   the samples with that error. Called once a sample
 */
export async function* watchStats(
  locate: () => StatsTarget | undefined,
  options: { stream: boolean; signal?: AbortSignal },
): AsyncGenerator<StatsSample> {
  let reader: StatsReader | undefined;
  let pid = 0;
  try {
    for (let due = performance.now(); ; due += intervalMs) {
      const target = locate();
      if (target === undefined || target.pid !== pid) {
        reader?.[Symbol.dispose]();
        reader = target && new StatsReader(target);
        pid = target?.pid ?? 0;
      }
      yield reader?.sample() ?? emptySample();
      if (!options.stream || options.signal?.aborted) return;
      // A consumer that was slow gets the next sample at once, and those it missed not at all.
      due = Math.max(due, performance.now() - intervalMs);
      await delay(due + intervalMs - performance.now(), undefined, { signal: options.signal });
    }
  } catch (error) {
    if (!options.signal?.aborted) throw error;
  } finally {
    reader?.[Symbol.dispose]();
  }
}

let procStat: KernelFile | undefined;

/** Time that the host's CPUs have spent, idle or not, and how many are online (proc_stat(5)). */
function hostCpu(): { hostNs: number; onlineCpus: number } {
  procStat ??= new KernelFile('/proc/stat');
  const text = procStat.read() ?? '';
  const fields = text.slice(0, text.indexOf('\n')).trim().split(/\s+/).slice(1, 9);
  const ticks = fields.reduce((sum, field) => sum + Number(field), 0);
  return { hostNs: ticks * 1e7, onlineCpus: text.match(/^cpu\d+ /gm)?.length ?? 1 };
}

/** Counters of a process's network interfaces but `lo` (proc_pid_net(5), "dev"). */
function networkCounters(pid: number): StatsSample['networks'] {
  // Not kept open: that would keep the network namespace alive after its container.
  return parseNetworkCounters(readKernelFile(`/proc/${pid}/net/dev`) ?? '');
}

export function parseNetworkCounters(text: string): StatsSample['networks'] {
  const result: StatsSample['networks'] = {};
  for (const line of text.split('\n').slice(2)) {
    const colon = line.lastIndexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).trim();
    // An ifb is where what a limited link received waits once more.
    if (name === 'lo' || IFB.test(name)) continue;
    const [rxBytes, rxPackets, rxErrors, rxDropped, , , , , txBytes, txPackets, txErrors, txDropped] = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number) as number[];
    if (txDropped === undefined) continue;
    result[name] = {
      rxBytes: rxBytes!,
      rxPackets: rxPackets!,
      rxErrors: rxErrors!,
      rxDropped: rxDropped!,
      txBytes: txBytes!,
      txPackets: txPackets!,
      txErrors: txErrors!,
      txDropped,
    };
  }
  return result;
}
