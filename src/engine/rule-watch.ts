import type { NetworkService } from '../network/index.ts';
import type { Locks } from '../state/index.ts';
import { RepeatedFailure } from './repeated-failure.ts';

/** A flush is noticed within this time. */
const LOOK_MS = 500;

/**
 * Puts our firewall rules back when somebody flushes or changes them. Every living process of the engine root (daemon,
 * keeper, a command that waits for its container) offers to; one at a time does it, and another takes over when it ends.
 */
export function watchRules(
  parts: { locks: Locks; networks: NetworkService },
  report: (subject: string, error: unknown) => void,
): AsyncDisposable {
  let turn: Disposable | undefined;
  let looking: Promise<void> | undefined;
  // What fails now fails twice a second.
  const failure = new RepeatedFailure(report, 'firewall');
  const look = async (): Promise<void> => {
    try {
      turn ??= parts.locks.tryAcquire('network-watch');
      if (turn === undefined) return;
      const wasPutBack = await parts.networks.watchRules();
      if (wasPutBack) report('firewall', new Error('somebody changed or flushed our rules: they were put back'));
      failure.clear();
    } catch (error) {
      failure.add(error);
    }
  };
  const timer = setInterval(() => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
  }, LOOK_MS).unref();
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await looking;
      turn?.[Symbol.dispose]();
    },
  };
}
