import type { DiffOp } from '../../protocol/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Operation } from '../operation.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { filled, goDigest } from './go-json.ts';

/**
 * What one tree has more, less and otherwise than another, as layers that can be laid on a third. Where one was made from the
 * other, these are its own layers above; otherwise the trees are compared and a layer is made of it.
 */
export function diffOperation(
  { layers }: Pick<BuilderParts, 'layers'>,
  op: DiffOp,
  vertex: { inputs: readonly unknown[] },
): Operation {
  // -1: an empty tree.
  const positions = { lower: Number(op.lower?.input ?? -1n), upper: Number(op.upper?.input ?? -1n) };
  return {
    recordType: 'regular',
    description: 'diff of two trees',
    cacheMap: async () => ({
      digest: goDigest({
        Type: 'buildkit.diff.v0',
        Diff: { lower: filled({ input: positions.lower }), upper: filled({ input: positions.upper }) },
      }),
      dependencies: vertex.inputs.map(() => ({})),
    }),
    run: async (inputs, { signal }) => {
      const [lower, upper] = [inputs[positions.lower] ?? emptyTree, inputs[positions.upper] ?? emptyTree];
      if (isPrefix(lower, upper)) return [{ layers: upper.layers.slice(lower.layers.length) }];
      return [{ layers: [await layers.difference(lower.layers, upper.layers, signal)] }];
    },
  };
}

const isPrefix = (lower: Tree, upper: Tree): boolean =>
  lower.layers.length <= upper.layers.length && lower.layers.every((name, index) => name === upper.layers[index]);
