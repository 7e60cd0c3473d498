import type { FileOp } from '../../protocol/index.ts';
import type { ContentSelector } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { CacheDependency, Operation } from '../operation.ts';
import { describedActions } from '../solver/vertex-name.ts';
import type { Tree } from '../tree.ts';
import { ChangedTrees } from './changed-trees.ts';
import { contentOf } from './content-of.ts';
import { fileDigest, selectorDigest } from './file-key.ts';
import { distinctSelectors, fileSelectors } from './file-selectors.ts';

/** Copies, makes and removes files. Each output is a tree with one layer more. */
export function fileOperation(
  parts: Pick<BuilderParts, 'layers'>,
  op: FileOp,
  vertex: { inputs: readonly unknown[] },
): Operation {
  const selectors = fileSelectors(op, vertex.inputs.length);
  return {
    recordType: 'regular',
    description: describedActions(op.actions),
    cacheMap: async () => ({
      digest: fileDigest(op, vertex.inputs.length),
      dependencies: vertex.inputs.map((_, position) => dependencyOf(parts, selectors.get(position))),
    }),
    run: async (inputs, { signal }) => {
      const outputs: Tree[] = [];
      await using trees = new ChangedTrees(parts.layers, op.actions, inputs, signal);
      for (const [index, { output }] of op.actions.entries()) {
        if (output >= 0n) outputs[Number(output)] = await trees.after(index);
      }
      return outputs;
    },
  };
}

function dependencyOf(
  parts: Pick<BuilderParts, 'layers'>,
  selectors: readonly ContentSelector[] | undefined,
): CacheDependency {
  if (selectors === undefined) return {};
  return {
    selector: selectorDigest(selectors),
    contentDigest: (tree, { signal }) => contentOf(parts, tree, distinctSelectors(selectors), signal),
  };
}
