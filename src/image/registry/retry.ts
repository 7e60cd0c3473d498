import { setTimeout as sleep } from 'node:timers/promises';
import { TimedOut } from './exchange.ts';
import type { RegistryLimits } from './limits.ts';

const passing = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN'],
  ...['EAI_AGAIN', 'ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_EOF_STATE'],
]);

/** The code of a failed connection, however deep it stands in an AggregateError of several addresses. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0 && !('code' in error)) return codeOf(error.errors[0]);
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Whether a connection that failed so may stand a moment later. */
export const mayPass = (error: unknown): boolean => error instanceof TimedOut || passing.has(codeOf(error) ?? '');

/** Statuses after which the same request may succeed. */
export const mayPassStatus = (status: number): boolean =>
  status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504;

/**
 * Waits before a further try.
 * @param failures so far, 1 or more
 * @param askedMs what `Retry-After` asked for
 */
export async function backOff(
  limits: RegistryLimits,
  failures: number,
  askedMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const fullMs = Math.min(limits.maxBackoffMs, limits.backoffMs * 2 ** (failures - 1));
  // Many clients that were turned away together must not come back together.
  const ms = Math.max(fullMs * (0.5 + Math.random() / 2), askedMs ?? 0);
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
