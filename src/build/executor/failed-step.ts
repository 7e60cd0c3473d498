import { VertexError } from '../vertex-error.ts';
import type { RunningStep, StepProcess } from './step-container.ts';

/** A command that did not end well. */
export class StepFailed extends VertexError {
  /** The end of what it said, on both of its streams. */
  readonly lastOutput: Uint8Array;

  constructor(
    message: string,
    what: { vertex: string; exitCode: number | undefined; lastOutput: Uint8Array },
    options?: ErrorOptions,
  ) {
    super('Internal', message, what, options);
    this.lastOutput = what.lastOutput;
  }
}

/** A command that failed, while its files and mounts are still there. */
export interface FailedStep {
  /** As it was run. */
  process: StepProcess;
  error: StepFailed;
  /** Runs another one in its place. */
  start(another: StepProcess): Promise<RunningStep>;
}
