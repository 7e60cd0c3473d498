import { signalProcess } from '../linux/index.ts';
import { containerEvent } from './events.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, ExecService, Health, HealthLog } from './types.ts';

const OUTPUT_BYTES = 4096;
const LOG_ENTRIES = 5;
const NS_PER_MS = 1e6;

/** Whether there is a check to run: `NONE` and an empty one say no. */
export const isHealthchecked = (check: ContainerRecord['config']['healthcheck']): boolean =>
  check !== null && check.test.length > 0 && check.test[0] !== 'NONE';

/** A health check's times, with docker's defaults in place of zeros. */
export interface HealthTimes {
  intervalMs: number;
  timeoutMs: number;
  startPeriodMs: number;
  startIntervalMs: number;
  retries: number;
}

export function healthTimes(check: NonNullable<ContainerRecord['config']['healthcheck']>): HealthTimes {
  const ms = (ns: number, defaultMs: number) => (ns > 0 ? ns / NS_PER_MS : defaultMs);
  return {
    intervalMs: ms(check.intervalNs, 30_000),
    timeoutMs: ms(check.timeoutNs, 30_000),
    startPeriodMs: ms(check.startPeriodNs, 0),
    startIntervalMs: ms(check.startIntervalNs, 5_000),
    retries: check.retries > 0 ? check.retries : 3,
  };
}

/** How long until the next probe: while starting, within the start period, the start interval counts. */
export function nextProbeMs(times: HealthTimes, status: Health['status'], runningMs: number): number {
  const isStarting = status === 'starting' && runningMs < times.startPeriodMs;
  return isStarting ? Math.min(times.startIntervalMs, times.startPeriodMs - runningMs + 1) : times.intervalMs;
}

/** The program of a health check. */
function probeCommand(record: ContainerRecord): string[] {
  const [kind, ...rest] = record.config.healthcheck?.test ?? [];
  return kind === 'CMD-SHELL' ? [...(record.config.shell ?? ['/bin/sh', '-c']), ...rest] : rest;
}

/** Runs a container's health check once. Never throws: a probe that cannot run has failed. */
export async function probe(execs: ExecService, record: ContainerRecord, timeoutMs: number): Promise<HealthLog> {
  const startMs = Date.now();
  const done = (exitCode: number, output: string): HealthLog => ({ startMs, endMs: Date.now(), exitCode, output });
  let timer: NodeJS.Timeout | undefined;
  try {
    const id = await execs.create(record.id, {
      ...{ tty: false, attachStdin: false, attachStdout: true, attachStderr: true, detachKeys: '' },
      ...{ command: probeCommand(record), env: [], workingDir: '', user: '', privileged: false },
    });
    await using session = await execs.start(id, { detach: false });
    if (session === undefined) return done(-1, 'the health check could not be attached');
    const output: Uint8Array[] = [];
    let bytes = 0;
    const reading = (async () => {
      for await (const { chunk } of session.output) {
        if (bytes < OUTPUT_BYTES) output.push(chunk.subarray(0, OUTPUT_BYTES - bytes));
        bytes += chunk.length;
      }
      return true;
    })();
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    if (!(await Promise.race([reading, timeout]))) {
      const { pid, pidStartTicks } = await execs.inspect(id);
      signalProcess(pid, pidStartTicks, 9);
      await reading;
      return done(-1, `Health check exceeded timeout (${formatSeconds(timeoutMs)})`);
    }
    const { exitCode } = await execs.inspect(id);
    return done(exitCode ?? -1, Buffer.concat(output).toString('utf8'));
  } catch (error) {
    return done(-1, error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
  }
}

const formatSeconds = (ms: number): string => `${ms / 1000}s`;

/** The health after one more probe. */
export function healthAfter(before: Health, result: HealthLog, times: HealthTimes, runningMs: number): Health {
  const log = [...before.log, result].slice(-LOG_ENTRIES);
  if (result.exitCode === 0) return { status: 'healthy', failingStreak: 0, log };
  // While starting, a failure within the start period does not count.
  if (before.status === 'starting' && runningMs < times.startPeriodMs) return { ...before, log };
  const failingStreak = before.failingStreak + 1;
  return { status: failingStreak >= times.retries ? 'unhealthy' : before.status, failingStreak, log };
}

/** Records a probe's result, unless the container has been started anew since. */
export async function recordProbe(
  parts: EngineParts,
  record: ContainerRecord,
  result: HealthLog,
  times: HealthTimes,
): Promise<void> {
  await parts.store.update(record.id, (current, tx) => {
    const before = current.state.health;
    if (before === null || current.state.pid !== record.state.pid) return;
    const after = healthAfter(before, result, times, result.startMs - current.state.startedMs);
    current.state.health = after;
    if (after.status !== before.status) tx.event(containerEvent(current, `health_status: ${after.status}`));
  });
}
