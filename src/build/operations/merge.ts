import { TareError } from '../../errors/index.ts';
import type { MergeOp } from '../../protocol/index.ts';
import type { Operation } from '../operation.ts';
import { filled, goDigest } from './go-json.ts';

/** A merge of merges has the layers of all of them: far more than can be laid on each other, before they are a list too long to hold. */
const MAX_LAYERS = 10_000;

/**
 * Lays trees on each other: of two that have a path, the later one's is seen, and what a later one deletes is gone. A tree is a
 * list of layers, so this is one list after the other; nothing is copied.
 */
export function mergeOperation(_parts: unknown, op: MergeOp, vertex: { inputs: readonly unknown[] }): Operation {
  const positions = op.inputs.map(({ input }) => Number(input));
  return {
    recordType: 'regular',
    description: `merge ${positions.length} trees`,
    cacheMap: async () => ({
      digest: goDigest({
        Type: 'buildkit.merge.v0',
        Merge: { inputs: op.inputs.map(({ input }) => filled({ input })) },
      }),
      dependencies: vertex.inputs.map(() => ({})),
    }),
    run: async (inputs) => {
      const count = positions.reduce((sum, position) => sum + (inputs[position]?.layers.length ?? 0), 0);
      if (count > MAX_LAYERS)
        throw new TareError(
          'InvalidArgument',
          `a merge of ${count} layers: at most ${MAX_LAYERS} are laid on each other`,
        );
      return [{ layers: positions.flatMap((position) => inputs[position]?.layers ?? []) }];
    },
  };
}
