import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildExecProcess, type OciSpec } from '../runtime/index.ts';
import { containerEvent, execEvent } from './events.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, Health, HealthLog } from './types.ts';

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

/** The most that a container's first probe comes before its time, and the part of it. */
const LEAD_MS = 100;
const LEAD = 0.1;

/**
 * How long until the next probe: while starting, within the start period, the start interval counts.
 *
 * The first, of a container that runs since 0 ms, comes a little early: who waits for health looks every second or half second from
 * the start on, and would miss its answer by just what the probe takes.
 */
export function nextProbeMs(times: HealthTimes, status: Health['status'], runningMs: number): number {
  const isStarting = status === 'starting' && runningMs < times.startPeriodMs;
  const ms = isStarting ? Math.min(times.startIntervalMs, times.startPeriodMs - runningMs + 1) : times.intervalMs;
  return runningMs === 0 ? ms - Math.min(LEAD_MS, ms * LEAD) : ms;
}

/** The program of a health check. */
function probeCommand(record: ContainerRecord): string[] {
  const [kind, ...rest] = record.config.healthcheck?.test ?? [];
  return kind === 'CMD-SHELL' ? [...(record.config.shell ?? ['/bin/sh', '-c']), ...rest] : rest;
}

/**
 * Runs a container's health check once and records what came of it. A probe that cannot run has failed; one that is cut short by
 * our own end leaves nothing, and the next keeper's comes in its place.
 */
export async function probeContainer(parts: EngineParts, record: ContainerRecord): Promise<void> {
  const check = record.config.healthcheck;
  if (check === null) return;
  const times = healthTimes(check);
  // docker's events speak of an exec, which nobody can ask for afterwards.
  const exec = { id: randomBytes(32).toString('hex'), config: { command: probeCommand(record) } };
  await parts.db.write((tx) => {
    for (const action of ['exec_create', 'exec_start'] as const) tx.event(execEvent(record, exec, action));
  });
  const { result, exitCode } = await probe(parts, record, exec.config.command, times.timeoutMs);
  await parts.store.update(record.id, (current, tx) => {
    if (exitCode !== undefined) {
      tx.event(containerEvent(current, 'exec_die', { execID: exec.id, exitCode: String(exitCode) }));
    }
    const before = current.state.health;
    // It may have been started anew since.
    if (before === null || current.state.pid !== record.state.pid) return;
    const after = healthAfter(before, result, times, result.startMs - current.state.startedMs);
    current.state.health = after;
    if (after.status !== before.status) tx.event(containerEvent(current, `health_status: ${after.status}`));
  });
}

interface Probed {
  result: HealthLog;
  /** Its program's own; undefined: it was not run. */
  exitCode?: number;
}

async function probe(
  parts: EngineParts,
  record: ContainerRecord,
  command: readonly string[],
  timeoutMs: number,
): Promise<Probed> {
  const startMs = Date.now();
  const result = (exitCode: number, output: string): HealthLog => ({ startMs, endMs: Date.now(), exitCode, output });
  try {
    const { process } = JSON.parse(readFileSync(join(record.bundle, 'config.json'), 'utf8')) as OciSpec;
    const settings = { command, env: [], workingDir: '', tty: false, privileged: false };
    const { isLate, exitCode, output } = await parts.runtime.runInside({
      containerId: record.id,
      runtime: parts.runtimeFor(record.host.runtime),
      directory: join(record.bundle, 'probe'),
      process: buildExecProcess(process, settings, undefined, parts.facts.capabilities),
      timeoutMs,
      outputBytes: OUTPUT_BYTES,
    });
    const late = `Health check exceeded timeout (${formatSeconds(timeoutMs)})`;
    const said = isLate ? late : Buffer.from(output).toString('utf8');
    return { result: result(isLate ? -1 : exitCode, said), exitCode };
  } catch (error) {
    return { result: result(-1, error instanceof Error ? error.message : String(error)) };
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
