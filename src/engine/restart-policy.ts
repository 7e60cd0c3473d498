import { TareError } from '../errors/index.ts';
import type { HostConfig } from '../runtime/index.ts';
import type { ContainerRecord } from './types.ts';

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** A run that lasted this long starts the back-off anew. */
const STEADY_MS = 10_000;

/**
 * Whether a container that just ended is started again, and how long that waits: 100 ms, doubled with each quick
 * failure, at most a minute.
 *
 * @param ranMs how long it ran
 * @returns undefined: it stays as it is
 */
export function restartDelayMs(
  record: Pick<ContainerRecord, 'host' | 'restartCount'> & { state: Pick<ContainerRecord['state'], 'stoppedByUser'> },
  exitCode: number,
  ranMs: number,
): number | undefined {
  if (record.state.stoppedByUser) return undefined;
  const { name, maximumRetryCount } = record.host.restartPolicy;
  const wanted =
    name === 'always' ||
    name === 'unless-stopped' ||
    (name === 'on-failure' && exitCode !== 0 && (maximumRetryCount === 0 || record.restartCount < maximumRetryCount));
  if (!wanted) return undefined;
  const doublings = ranMs >= STEADY_MS ? 0 : Math.min(record.restartCount, 16);
  return Math.min(FIRST_DELAY_MS * 2 ** doublings, LONGEST_DELAY_MS);
}

/**
 * Whether a container that rests is started when the daemon or the machine starts. As with docker, `always` holds even for
 * what a user has stopped; the others leave that alone.
 */
export function startsWithEngine({
  state,
  host,
  restartCount,
}: Pick<ContainerRecord, 'state' | 'host' | 'restartCount'>): boolean {
  // What was made and never started waits for its user.
  if (state.status !== 'exited' || state.startedMs === 0) return false;
  const { name, maximumRetryCount } = host.restartPolicy;
  if (name === 'always') return true;
  if (state.stoppedByUser) return false;
  const hasTries = maximumRetryCount === 0 || restartCount < maximumRetryCount;
  return name === 'unless-stopped' || (name === 'on-failure' && state.exitCode !== 0 && hasTries);
}

/** @throws {TareError} InvalidArgument with docker's texts */
export function checkRestartPolicy(host: Pick<HostConfig, 'restartPolicy' | 'autoRemove'>): void {
  const { name, maximumRetryCount } = host.restartPolicy;
  if (!['no', 'always', 'on-failure', 'unless-stopped'].includes(name)) {
    throw new TareError(
      'InvalidArgument',
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (maximumRetryCount < 0) {
    throw new TareError('InvalidArgument', 'invalid restart policy: maximum retry count cannot be negative');
  }
  if (maximumRetryCount > 0 && name !== 'on-failure') {
    throw new TareError(
      'InvalidArgument',
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    );
  }
  if (host.autoRemove && name !== 'no') {
    throw new TareError('InvalidArgument', "can't create 'AutoRemove' container with restart policy");
  }
}
