import { join } from 'node:path';
import { type CgroupLayout, cgroupDirectory, cgroupLayout } from './cgroup-layout.ts';
import { KernelFile } from './kernel-file.ts';

/** What a cgroup has used so far, and what it may use. */
export interface CgroupUsage {
  cpu: {
    usageNs: number;
    userNs: number;
    systemNs: number;
    /** Empty on v2, which does not count by CPU. */
    perCpuNs: number[];
    periods: number;
    throttledPeriods: number;
    throttledNs: number;
  };
  memory: {
    usageBytes: number;
    /** 0 on v2. */
    maxUsageBytes: number;
    /** Infinity: no limit. */
    limitBytes: number;
    /** How often the limit was hit. */
    failures: number;
    /** Every line of memory.stat. */
    stats: Record<string, number>;
  };
  /** `limit` Infinity: none. */
  pids: { current: number; limit: number };
  blockIO: { device: [major: number, minor: number]; op: string; bytes: number; operations: number }[];
}

/** Reads the usage of one cgroup, many times. Its files stay open until it is disposed. */
export interface CgroupUsageReader extends Disposable {
  /** @returns undefined: the cgroup is gone */
  read(): CgroupUsage | undefined;
}

/** @param path absolute within the hierarchies: `/tare/ID` */
export function openCgroupUsage(path: string, layout: CgroupLayout = cgroupLayout()): CgroupUsageReader {
  return layout.mode === 'v2' ? new V2Reader(path, layout) : new V1Reader(path, layout);
}

/** Kernel ticks a second, USER_HZ: 100 on every architecture of ours. */
const nsPerTick = 1e9 / 100;

/** v1 writes "no limit" as the greatest number of pages, in bytes. */
const v1Unlimited = 2 ** 62;

class Files implements Disposable {
  readonly #stack = new DisposableStack();

  open(directory: string | undefined, name: string): KernelFile | undefined {
    return directory === undefined ? undefined : this.#stack.use(new KernelFile(join(directory, name)));
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

class V1Reader implements CgroupUsageReader {
  readonly #files = new Files();
  readonly #usage;
  readonly #split;
  readonly #perCpu;
  readonly #cpuStat;
  readonly #memory;
  readonly #maxMemory;
  readonly #memoryLimit;
  readonly #memoryFailures;
  readonly #memoryStat;
  readonly #pids;
  readonly #pidsLimit;
  readonly #bytes;
  readonly #operations;

  constructor(path: string, layout: CgroupLayout) {
    const open = (controller: string, name: string) =>
      this.#files.open(layout.v1[controller] && cgroupDirectory(layout, controller, path), name);
    this.#usage = open('cpuacct', 'cpuacct.usage');
    this.#split = open('cpuacct', 'cpuacct.stat');
    this.#perCpu = open('cpuacct', 'cpuacct.usage_percpu');
    this.#cpuStat = open('cpu', 'cpu.stat');
    this.#memory = open('memory', 'memory.usage_in_bytes');
    this.#maxMemory = open('memory', 'memory.max_usage_in_bytes');
    this.#memoryLimit = open('memory', 'memory.limit_in_bytes');
    this.#memoryFailures = open('memory', 'memory.failcnt');
    this.#memoryStat = open('memory', 'memory.stat');
    this.#pids = open('pids', 'pids.current');
    this.#pidsLimit = open('pids', 'pids.max');
    this.#bytes = open('blkio', 'blkio.throttle.io_service_bytes_recursive');
    this.#operations = open('blkio', 'blkio.throttle.io_serviced_recursive');
  }

  read(): CgroupUsage | undefined {
    const usage = this.#usage?.read();
    const memory = this.#memory?.read();
    if (usage === undefined && memory === undefined) return undefined;
    const split = keyed(this.#split?.read());
    const cpu = keyed(this.#cpuStat?.read());
    const limit = number(this.#memoryLimit?.read());
    return {
      cpu: {
        usageNs: number(usage),
        userNs: (split['user'] ?? 0) * nsPerTick,
        systemNs: (split['system'] ?? 0) * nsPerTick,
        perCpuNs: (this.#perCpu?.read() ?? '').trim().split(' ').filter(Boolean).map(Number),
        periods: cpu['nr_periods'] ?? 0,
        throttledPeriods: cpu['nr_throttled'] ?? 0,
        throttledNs: cpu['throttled_time'] ?? 0,
      },
      memory: {
        usageBytes: number(memory),
        maxUsageBytes: number(this.#maxMemory?.read()),
        limitBytes: limit >= v1Unlimited || limit === 0 ? Number.POSITIVE_INFINITY : limit,
        failures: number(this.#memoryFailures?.read()),
        stats: keyed(this.#memoryStat?.read()),
      },
      pids: { current: number(this.#pids?.read()), limit: number(this.#pidsLimit?.read(), Number.POSITIVE_INFINITY) },
      blockIO: v1BlockIO(this.#bytes?.read(), this.#operations?.read()),
    };
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}

class V2Reader implements CgroupUsageReader {
  readonly #files = new Files();
  readonly #cpuStat;
  readonly #memory;
  readonly #memoryLimit;
  readonly #memoryEvents;
  readonly #memoryStat;
  readonly #pids;
  readonly #pidsLimit;
  readonly #io;

  constructor(path: string, layout: CgroupLayout) {
    const open = (name: string) => this.#files.open(cgroupDirectory(layout, '', path), name);
    this.#cpuStat = open('cpu.stat');
    this.#memory = open('memory.current');
    this.#memoryLimit = open('memory.max');
    this.#memoryEvents = open('memory.events');
    this.#memoryStat = open('memory.stat');
    this.#pids = open('pids.current');
    this.#pidsLimit = open('pids.max');
    this.#io = open('io.stat');
  }

  read(): CgroupUsage | undefined {
    const cpuStat = this.#cpuStat?.read();
    if (cpuStat === undefined) return undefined;
    const cpu = keyed(cpuStat);
    return {
      cpu: {
        usageNs: (cpu['usage_usec'] ?? 0) * 1000,
        userNs: (cpu['user_usec'] ?? 0) * 1000,
        systemNs: (cpu['system_usec'] ?? 0) * 1000,
        perCpuNs: [],
        periods: cpu['nr_periods'] ?? 0,
        throttledPeriods: cpu['nr_throttled'] ?? 0,
        throttledNs: (cpu['throttled_usec'] ?? 0) * 1000,
      },
      memory: {
        usageBytes: number(this.#memory?.read()),
        maxUsageBytes: 0,
        limitBytes: number(this.#memoryLimit?.read(), Number.POSITIVE_INFINITY),
        failures: keyed(this.#memoryEvents?.read())['max'] ?? 0,
        stats: keyed(this.#memoryStat?.read()),
      },
      pids: { current: number(this.#pids?.read()), limit: number(this.#pidsLimit?.read(), Number.POSITIVE_INFINITY) },
      blockIO: v2BlockIO(this.#io?.read()),
    };
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}

/** @param absent the value when there is no file, or it says `max` */
function number(text: string | undefined, absent = 0): number {
  if (text === undefined) return absent;
  const value = Number.parseInt(text, 10);
  return Number.isNaN(value) ? absent : value;
}

/** Lines `NAME VALUE`. */
export function keyed(text: string | undefined): Record<string, number> {
  const result: Record<string, number> = {};
  if (text === undefined) return result;
  for (const line of text.split('\n')) {
    const blank = line.indexOf(' ');
    if (blank > 0) result[line.slice(0, blank)] = Number(line.slice(blank + 1));
  }
  return result;
}

/** Lines `MAJOR:MINOR OP VALUE` of two files, joined (blkio-controller.rst, "Throttling/Upper limit policy"). */
export function v1BlockIO(bytes: string | undefined, operations: string | undefined): CgroupUsage['blockIO'] {
  const entries = new Map<string, CgroupUsage['blockIO'][number]>();
  const add = (text: string | undefined, field: 'bytes' | 'operations') => {
    for (const line of (text ?? '').split('\n')) {
      const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
      if (match === null) continue;
      const op = match[3]!.toLowerCase();
      const key = `${match[1]}:${match[2]} ${op}`;
      const entry = entries.get(key) ?? { device: [Number(match[1]), Number(match[2])], op, bytes: 0, operations: 0 };
      entry[field] = Number(match[4]);
      entries.set(key, entry);
    }
  };
  add(bytes, 'bytes');
  add(operations, 'operations');
  return [...entries.values()];
}

const v2Operations = [
  ['read', 'rbytes', 'rios'],
  ['write', 'wbytes', 'wios'],
  ['discard', 'dbytes', 'dios'],
] as const;

/** Lines `MAJOR:MINOR KEY=VALUE…` (cgroup-v2.rst, "io.stat"). */
export function v2BlockIO(text: string | undefined): CgroupUsage['blockIO'] {
  const result: CgroupUsage['blockIO'] = [];
  for (const line of (text ?? '').split('\n')) {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (match === null) continue;
    const values = Object.fromEntries(match[3]!.split(' ').map((pair) => pair.split('=') as [string, string]));
    for (const [op, bytes, operations] of v2Operations) {
      if (values[bytes] === undefined) continue;
      result.push({
        device: [Number(match[1]), Number(match[2])],
        op,
        bytes: Number(values[bytes]),
        operations: Number(values[operations] ?? 0),
      });
    }
  }
  return result;
}
