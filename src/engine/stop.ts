import { kindOf, messageOf, TareError } from '../errors/index.ts';
import { containerEvent } from './events.ts';
import { handleExit, settleLocked } from './exit.ts';
import { isContainerAlive, isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import { parseSignal } from './signals.ts';
import { startLocked } from './start.ts';
import type { ContainerRecord } from './types.ts';
import { waitForExit } from './wait.ts';

const SIGKILL = 9;
const DEFAULT_STOP_SECONDS = 10;
/** After SIGKILL: a process in uninterruptible sleep may take long; give up with an error then. */
const KILL_MS = 10_000;

export interface StopOptions {
  /** Negative: wait for ever. */
  timeoutSeconds?: number;
  signal?: string;
}

/**
 * Asks a container to end, and kills it when it does not within its time.
 *
 * @throws {TareError} NotModified: it does not run
 */
export async function stopContainer(parts: EngineParts, ref: string, options: StopOptions = {}): Promise<void> {
  const { id } = parts.store.get(ref);
  const before = await markStopped(parts, id);
  // It waited for its next start, which now does not come.
  if (before.state.status === 'restarting') return;
  if (!isUp(before)) throw new TareError('NotModified', `Container ${id} is already stopped`);
  await endRun(parts, before, options);
}

/** Notes the user's wish, so that no policy brings it back. Returns the record as it was before. */
async function markStopped(parts: EngineParts, id: string): Promise<ContainerRecord> {
  using _lock = await parts.locks.acquire(`container:${id}`);
  const before = parts.store.get(id);
  if (isUp(before) || before.state.status === 'restarting') {
    await parts.store.update(id, (current) => {
      current.state.stoppedByUser = true;
      current.state.isStopping = isUp(current);
      if (current.state.status === 'restarting') {
        current.state.status = 'exited';
        current.state.restartAtMs = 0;
      }
    });
  }
  return before;
}

async function endRun(parts: EngineParts, record: ContainerRecord, options: StopOptions): Promise<void> {
  const { id } = record;
  const signal = parseSignal(options.signal || record.config.stopSignal || 'SIGTERM');
  const seconds = options.timeoutSeconds ?? record.config.stopTimeoutSeconds ?? DEFAULT_STOP_SECONDS;
  const binary = parts.runtimeFor(record.host.runtime);
  using exit = waitForExit(parts, record);
  if (record.state.status === 'paused') await parts.runtime.resume(id, binary);
  await tellKill(parts, record, signal);
  await parts.runtime.kill(id, binary, signal, processOf(record));
  if (await exit.within(seconds < 0 ? undefined : seconds * 1000)) return await handleExit(parts, id);
  await tellKill(parts, record, SIGKILL);
  await parts.runtime.kill(id, binary, SIGKILL, processOf(record));
  if (await exit.within(KILL_MS)) return await handleExit(parts, id);
  throw new TareError(
    'Internal',
    `tried to kill container ${id}, but did not receive an exit event: its process hangs in the kernel`,
  );
}

const processOf = ({ state }: ContainerRecord) => ({ pid: state.pid, startTicks: state.pidStartTicks });

const tellKill = (parts: EngineParts, record: ContainerRecord, signal: number): Promise<void> =>
  parts.db.write((tx) => tx.event(containerEvent(record, 'kill', { signal: String(signal) })));

/** Kills and settles a running container, for a caller that holds its lock. */
export async function killAndSettle(parts: EngineParts, record: ContainerRecord): Promise<void> {
  const binary = parts.runtimeFor(record.host.runtime);
  using exit = waitForExit(parts, record);
  if (isContainerAlive(record)) {
    await tellKill(parts, record, SIGKILL);
    if (record.state.status === 'paused') await parts.runtime.resume(record.id, binary).catch(() => {});
    await parts.runtime.kill(record.id, binary, SIGKILL, processOf(record)).catch((error: unknown) => {
      if (isContainerAlive(record)) throw error;
    });
    await exit.within(KILL_MS);
  }
  await settleLocked(parts, record, { exitCode: exit.code() ?? 128 + SIGKILL, error: '' });
}

/**
 * Sends a signal to a container's first process.
 * @throws {TareError} Conflict: it does not run; InvalidArgument: no such signal
 */
export async function killContainer(parts: EngineParts, ref: string, signalText = 'SIGKILL'): Promise<void> {
  const signal = parseSignal(signalText || 'SIGKILL');
  const { id } = killed(parts, ref);
  const record = await (async () => {
    using _lock = await parts.locks.acquire(`container:${id}`);
    const current = parts.store.get(id);
    if (!isUp(current))
      throw new TareError('Conflict', `cannot kill container: ${ref}: container ${id} is not running`);
    const stops = signal === SIGKILL || signal === parseSignal(current.config.stopSignal || 'SIGTERM');
    await parts.store.update(id, (changed, tx) => {
      if (stops) changed.state.stoppedByUser = true;
      tx.event(containerEvent(changed, 'kill', { signal: String(signal) }));
    });
    const binary = parts.runtimeFor(current.host.runtime);
    await parts.runtime.kill(id, binary, signal, processOf(current));
    // A frozen process dies only once it is thawed.
    if (signal === SIGKILL && current.state.status === 'paused') await parts.runtime.resume(id, binary).catch(() => {});
    return current;
  })();
  if (signal !== SIGKILL) return;
  using exit = waitForExit(parts, record);
  if (await exit.within(KILL_MS)) await handleExit(parts, id);
}

function killed(parts: EngineParts, ref: string): ContainerRecord {
  try {
    return parts.store.get(ref);
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    throw new TareError('NotFound', `cannot kill container: ${ref}: ${messageOf(error)}`, { cause: error });
  }
}

/** Stops it when it runs, and starts it. */
export async function restartContainer(parts: EngineParts, ref: string, options: StopOptions = {}): Promise<void> {
  const { id } = parts.store.get(ref);
  using _intent = parts.intents.begin();
  const autoRemove = parts.store.get(id).host.autoRemove;
  // A restart is no end: `--rm` must not remove it in between.
  if (autoRemove) await setAutoRemove(parts, id, false);
  try {
    const before = await markStopped(parts, id);
    if (isUp(before)) await endRun(parts, before, options);
    using _lock = await parts.locks.acquire(`container:${id}`);
    const record = parts.store.get(id);
    if (!isUp(record)) await startLocked(parts, record);
  } finally {
    if (autoRemove) await setAutoRemove(parts, id, true);
  }
  await parts.store.update(id, (current, tx) => tx.event(containerEvent(current, 'restart')));
}

async function setAutoRemove(parts: EngineParts, id: string, autoRemove: boolean): Promise<void> {
  await parts.store.update(id, (current) => {
    current.host.autoRemove = autoRemove;
  });
}
