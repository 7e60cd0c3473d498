import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, TareError } from '../errors/index.ts';
import { containerFolder } from './config.ts';
import { logSource } from './log-attributes.ts';
import { parseLogOptions } from './log-options.ts';
import { rotateLog } from './log-rotation.ts';
import { isShippingDriver, loadShipping, type ShippingDriver } from './log-shipping/index.ts';
import type { EngineParts } from './parts.ts';
import { RepeatedFailure } from './repeated-failure.ts';
import type { ContainerRecord, ContainerStatus } from './types.ts';

/** Logs that nobody set a limit for may pass theirs for so long. */
const LOOK_MS = 5_000;
/** How long a collector may keep a container from being removed, and a stopped one's lines waiting. */
const REST_MS = 5_000;
const POLL_MS = 20;

const writing: ReadonlySet<ContainerStatus> = new Set(['running', 'paused', 'restarting']);

/**
 * Rotates a container's log when it has grown beyond its limit; nothing while another process does.
 * @returns whether its limits are promised, so that it is to be looked at often
 */
export async function rotateContainerLog(parts: EngineParts, record: ContainerRecord): Promise<boolean> {
  const { maxSizeBytes, maxFiles, compresses, needsRotation } = parseLogOptions(record.host.logConfig);
  if (maxSizeBytes === 0 || maxFiles === 1) return false;
  using lock = parts.locks.tryAcquire(`log:${record.id}`);
  if (lock !== undefined)
    await rotateLog(record.logPath, { maxSizeBytes, maxFiles, compresses }, () =>
      parts.runtime.reopenLog(record.bundle),
    );
  return needsRotation;
}

/** Keeps the logs of all running containers within bounds, until disposed. */
export function watchLogSizes(parts: EngineParts, report: (subject: string, error: unknown) => void): Disposable {
  const unread = new RepeatedFailure(report, 'logs of containers');
  let isOver = false;
  const rotateAll = async () => {
    try {
      for (const record of parts.store.withStatus('running', 'paused'))
        await rotateContainerLog(parts, record).catch((error: unknown) =>
          report(`log of container ${record.id}`, error),
        );
      unread.clear();
    } catch (error) {
      // Records that cannot be read now may be readable again.
      unread.add(error);
    }
    if (!isOver) timer = setTimeout(look, LOOK_MS).unref();
  };
  const look = () => void rotateAll();
  let timer = setTimeout(look, LOOK_MS).unref();
  return {
    [Symbol.dispose]: () => {
      isOver = true;
      clearTimeout(timer);
    },
  };
}

/** The driver that sends a container's output away, if one does. */
export function shippingDriverOf(record: Pick<ContainerRecord, 'host'>): ShippingDriver | undefined {
  const { type } = record.host.logConfig;
  return isShippingDriver(type) ? type : undefined;
}

/**
 * Finds out before a container starts whether its collector is there.
 * @throws {TareError} Unavailable, with docker's words
 */
export async function requireLogCollector(record: ContainerRecord): Promise<void> {
  const driver = shippingDriverOf(record);
  if (driver === undefined) return;
  const { requireCollector } = await loadShipping();
  try {
    await requireCollector(driver, logSource(record), record.host.logConfig.config);
  } catch (error) {
    throw new TareError('Unavailable', `failed to initialize logging driver: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Sends a container's output until it has ended for good, and a while longer. Returns at once when another process does.
 * @param stop gives up; what is not sent is sent by the next
 */
export async function shipContainerLog(
  parts: EngineParts,
  id: string,
  stop: AbortSignal,
  report: (error: unknown) => void,
): Promise<void> {
  using lock = parts.locks.tryAcquire(`log-shipping:${id}`);
  const record = parts.store.find(id);
  const driver = record && shippingDriverOf(record);
  if (lock === undefined || record === undefined || driver === undefined || stop.aborted) return;
  const ended = new AbortController();
  const late = new AbortController();
  const watch = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const follow = async () => {
    for await (const _ of parts.db.watch(AbortSignal.any([watch.signal, stop]))) {
      const row = parts.db.get<{ status: ContainerStatus }>('SELECT status FROM containers WHERE id = ?', id);
      if (row !== undefined && writing.has(row.status)) continue;
      break;
    }
    ended.abort();
    timer = setTimeout(() => late.abort(), REST_MS);
  };
  const following = follow().catch(() => ended.abort());
  try {
    await shipLog(parts, record, driver, ended.signal, AbortSignal.any([stop, late.signal]), report);
  } finally {
    watch.abort();
    await following;
    clearTimeout(timer);
  }
}

/**
 * Before a container goes: waits until its output was sent, or sends it. A collector that does not take it in time loses it.
 */
export async function shipRest(parts: EngineParts, record: ContainerRecord): Promise<void> {
  const driver = shippingDriverOf(record);
  if (driver === undefined || record.logPath === '') return;
  const { isShipped } = await loadShipping();
  const late = AbortSignal.timeout(REST_MS);
  while (!late.aborted && !(await isShipped(record.logPath, cursorPath(parts, record)))) {
    using lock = parts.locks.tryAcquire(`log-shipping:${record.id}`);
    if (lock === undefined) await sleep(POLL_MS);
    else {
      const failed = (error: unknown) => parts.onError(`log of container ${record.id}`, error);
      await shipLog(parts, record, driver, AbortSignal.abort(), late, failed);
      return;
    }
  }
}

async function shipLog(
  parts: EngineParts,
  record: ContainerRecord,
  driver: ShippingDriver,
  ended: AbortSignal,
  stop: AbortSignal,
  report: (error: unknown) => void,
): Promise<void> {
  const { openSink, ship } = await loadShipping();
  await using sink = openSink(driver, logSource(record), record.host.logConfig.config);
  await ship({ logPath: record.logPath, cursorPath: cursorPath(parts, record), sink, ended, stop, report });
}

const cursorPath = (parts: EngineParts, record: ContainerRecord): string =>
  join(containerFolder(parts.config, record.id), 'log-sent');
