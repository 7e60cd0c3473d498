import { TareError } from '../errors/index.ts';
import { UsageError } from './grammar/usage-error.ts';

/** The user, or somebody who ends programs, wants an end. */
class Interrupted extends TareError {
  readonly exitCode: number;
  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('Internal', 'interrupted');
    this.exitCode = signal === 'SIGINT' ? 130 : 143;
  }
}

/** How long clearing up may take. */
const PATIENCE_MS = 5000;

/**
 * Turns the signals that end a program into an abort, so that half-made files are cleared away. What takes too long then,
 * such as a pipe that nobody writes to, is left; a second signal ends the program at once.
 */
export function interruption(): Disposable & { signal: AbortSignal } {
  const abort = new AbortController();
  let patience: NodeJS.Timeout | undefined;
  const stop = (signal: NodeJS.Signals) => {
    const interrupted = new Interrupted(signal as 'SIGINT' | 'SIGTERM');
    patience = setTimeout(() => process.exit(interrupted.exitCode), PATIENCE_MS);
    abort.abort(interrupted);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  return {
    signal: abort.signal,
    [Symbol.dispose]: () => {
      clearTimeout(patience);
      process.off('SIGINT', stop).off('SIGTERM', stop);
    },
  };
}

/** Exit code of a command that failed or was interrupted. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  return error instanceof UsageError ? 125 : 1;
}
