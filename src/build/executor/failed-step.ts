import type { ExecOp } from '../../protocol/index.ts';
import type { Tree } from '../tree.ts';
import { VertexError } from '../vertex-error.ts';

/** A command that failed, and the files that it left. */
export interface FailedStep {
  exec: ExecOp;
  /** Of its programs, as Go calls it. */
  architecture: string;
  /** By the position of the mount, as the command found it; undefined: it shows no tree. */
  inputs: readonly (Tree | undefined)[];
  /** The same, as the command left it. Nobody keeps these trees but the content that the build holds. */
  mounts: readonly (Tree | undefined)[];
}

/** A command that did not end well. */
export class StepFailed extends VertexError {
  /** The end of what it said, on both of its streams. */
  readonly lastOutput: Uint8Array;
  /** Undefined: nobody wanted to look into it. */
  readonly step: FailedStep | undefined;

  constructor(
    message: string,
    what: {
      vertex: string;
      exitCode: number | undefined;
      lastOutput: Uint8Array;
      step: FailedStep | undefined;
    },
    options?: ErrorOptions,
  ) {
    super('Internal', message, what, options);
    this.lastOutput = what.lastOutput;
    this.step = what.step;
  }
}

/** The command that an error comes from, if its files were kept. */
export function failedStepOf(error: unknown): FailedStep | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof StepFailed) return at.step;
  return undefined;
}
