import { currentRequest, formatCaller } from '../../engine/index.ts';

/**
 * Whom something belongs to that a request brings, and that later ones name: builds that run are on lists, and a build's secrets and what
 * it was allowed are its own caller's. undefined: a caller of whom nothing is known, who is told apart from nobody.
 */
export function ownerAtWork(): string | undefined {
  const caller = currentRequest()?.caller;
  return caller === undefined || caller.kind === 'address' ? undefined : formatCaller(caller);
}

/** Whether the request at work may use what belongs to somebody. */
export const belongsToCaller = (owner: string | undefined): boolean => owner === undefined || owner === ownerAtWork();
