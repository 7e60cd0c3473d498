import { join } from 'node:path';

const FLOCK = '/usr/bin/flock';

/** A process that watches for exits holds this file's lock shared. */
export const watchersLock = (execRoot: string): string => join(execRoot, 'watchers.lock');

/**
 * What conmon runs when its container has ended: the net beneath the living processes. While one of them holds the
 * watchers' lock, flock ends at once; otherwise it becomes `tare container cleanup ID`.
 */
export function exitCommandFor(execRoot: string, command: readonly string[], id: string): string[] {
  // -o: the command itself must not hold the lock, or a daemon that starts meanwhile could not watch.
  return [FLOCK, '-n', '-o', '-E', '0', watchersLock(execRoot), ...command, 'container', 'cleanup', id];
}
