import { create, toJsonString } from '@bufbuild/protobuf';
import { errdefs, OpSchema } from '../../protocol/index.ts';
import type { FailedStep } from '../executor/failed-step.ts';
import type { ErrorDetail } from '../vertex-error.ts';

/**
 * By what a client opens a container where a command failed: the command, and results that show its mounts as it found and as it left
 * them, by the positions of the mounts ('' for one that shows none).
 */
export function solveDetail(
  { exec }: FailedStep,
  inputIDs: readonly string[],
  mountIDs: readonly string[],
): ErrorDetail {
  const op = create(OpSchema, { op: { case: 'exec', value: exec } });
  const solve = create(errdefs.SolveSchema, { inputIDs: [...inputIDs], mountIDs: [...mountIDs], op });
  return {
    typeUrl: 'github.com/moby/buildkit/errdefs.Solve+json',
    value: Buffer.from(toJsonString(errdefs.SolveSchema, solve)),
  };
}
