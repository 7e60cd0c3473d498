import { fromBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type BuildOp, type Definition, DefinitionSchema } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { Operation } from '../operation.ts';
import type { Vertex } from '../solver/graph.ts';
import { emptyTree, type Tree } from '../tree.ts';

/** What of the build that it is part of a build in a build needs. */
export interface OuterBuild {
  /** Makes the tree of a definition's output, as a part of the same build. */
  solve(definition: Definition): Promise<Tree>;
  readFile(tree: Tree, path: string): Promise<Uint8Array>;
}

/** BuildKit's own frontend: the definition is what an input has in a file. */
const LLB_BUILDER = -1n;
const DEFAULT_FILE = '/buildkit.llb.definition';

/** A graph inside of a graph: its definition is in the operation or in a file of an input, and is solved when it is needed. */
export function buildOperation(outer: OuterBuild, op: BuildOp, vertex: Pick<Vertex, 'inputs' | 'policy'>): Operation {
  if (op.builder !== LLB_BUILDER) {
    throw new TareError('Unsupported', `a build operation with builder ${op.builder}: only -1, a definition, is known`);
  }
  return {
    recordType: 'regular',
    description: 'build of a definition',
    cacheMap: async () => ({
      digest: digestOf(JSON.stringify({ type: 'buildkit.build.v0', ...described(op), ...policyOf(vertex) })),
      dependencies: vertex.inputs.map(() => ({})),
    }),
    run: async (inputs) => [await outer.solve(await definitionOf(outer, op, inputs))],
  };
}

/** What was made under other policies does not count. */
const policyOf = ({ policy: { id } }: Pick<Vertex, 'policy'>) => (id === '' ? {} : { policy: id });

const described = ({ attrs, inputs, def }: BuildOp) => ({
  attrs: Object.entries(attrs).sort(),
  inputs: Object.entries(inputs)
    .map(([name, { input }]) => [name, String(input)])
    .sort(),
  def: (def?.def ?? []).map((bytes) => digestOf(bytes)),
});

async function definitionOf(outer: OuterBuild, op: BuildOp, inputs: readonly Tree[]): Promise<Definition> {
  const input = op.inputs['buildkit.llb.definition'];
  if (input === undefined) {
    if (op.def === undefined) throw new TareError('InvalidArgument', 'a build operation without a definition');
    return op.def;
  }
  const path = op.attrs['llb.definition.filename'] || DEFAULT_FILE;
  const bytes = await outer.readFile(inputs[Number(input.input)] ?? emptyTree, path);
  try {
    return fromBinary(DefinitionSchema, bytes);
  } catch (error) {
    throw new TareError('InvalidArgument', `${path} of a build operation's input is no definition`, { cause: error });
  }
}
