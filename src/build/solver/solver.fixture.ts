import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Definition, DefinitionSchema, OpSchema } from '../../protocol/index.ts';
import { Database } from '../../state/index.ts';
import { digestOf, type LayerName } from '../../storage/index.ts';
import { CacheStore } from '../cache/store.ts';
import type { Operation, OperationContext } from '../operation.ts';
import { buildOperation } from '../operations/build.ts';
import type { BuildProgress } from '../progress.ts';
import type { Tree } from '../tree.ts';
import type { BuildGraph } from './build-graph.ts';
import { type Edge, type GraphPolicy, loadDefinition, type Vertex } from './graph.ts';
import { type BuildScope, Solver } from './solver.ts';

/** A vertex of a test: what it is called decides what it does. */
export interface Step {
  name: string;
  inputs?: readonly Step[];
  /** A graph in place of this step: of another one, or of what `SolverBench.files` has under its name. */
  graph?: Step | 'file';
  ignoreCache?: boolean;
}

/** The definition of a step, as a client would send it. */
export function definitionOf(step: Step): Definition {
  const def: Uint8Array[] = [];
  const metadata: Record<string, { ignoreCache?: boolean; description: Record<string, string> }> = {};
  const digests = new Map<Step, string>();
  const add = (one: Step): string => {
    const known = digests.get(one);
    if (known !== undefined) return known;
    const inputs = (one.inputs ?? []).map((input) => ({ digest: add(input), index: 0n }));
    const bytes = toBinary(OpSchema, create(OpSchema, { inputs, op: opOf(one) }));
    const digest = digestOf(bytes);
    def.push(bytes);
    metadata[digest] = {
      ...(one.ignoreCache === true ? { ignoreCache: true } : {}),
      description: { 'llb.customname': one.name },
    };
    digests.set(one, digest);
    return digest;
  };
  const digest = add(step);
  def.push(toBinary(OpSchema, create(OpSchema, { inputs: [{ digest, index: 0n }] })));
  return create(DefinitionSchema, { def, metadata });
}

function opOf({ name, graph }: Step): MessageInitShape<typeof OpSchema>['op'] {
  if (graph === undefined) return { case: 'source', value: { identifier: `test://${name}` } };
  if (graph !== 'file') return { case: 'build', value: { builder: -1n, def: definitionOf(graph) } };
  const inputs = { 'buildkit.llb.definition': { input: 0n } };
  return { case: 'build', value: { builder: -1n, inputs, attrs: { 'llb.definition.filename': name } } };
}

export const edgeOf = (step: Step, policy?: GraphPolicy): Edge => loadDefinition(definitionOf(step), policy)!;

/** What a test's step does beside making a layer of its own. */
export interface Behaviour {
  /** Of its key; undefined: its name. */
  digest?: string;
  /** Inputs whose content counts; `contents` says what it is. */
  byContent?: readonly number[];
  isEphemeral?: boolean;
  usesSecrets?: boolean;
  run?(inputs: readonly Tree[], context: OperationContext): Promise<readonly Tree[] | undefined>;
}

/** A solver over a database of its own, whose operations count their runs. */
export class SolverBench implements AsyncDisposable {
  readonly runs: string[] = [];
  readonly behaviours: Record<string, Behaviour> = {};
  /** Digest of a layer's content, for layers of equal content. */
  readonly contents = new Map<LayerName, string>();
  readonly missing = new Set<LayerName>();
  /** Definitions by the names of the steps whose graph is in a file. */
  readonly files: Record<string, () => Step> = {};
  readonly db: Database;
  readonly cache: CacheStore;
  readonly solver: Solver;
  nowMs = 1_000_000;
  #made = 0;

  private constructor(db: Database, parallelism: number) {
    this.db = db;
    this.cache = new CacheStore({
      db,
      layers: { missing: (layers) => layers.filter((layer) => this.missing.has(layer)), sizeOf: async () => 10 },
      now: () => this.nowMs++,
    });
    this.solver = new Solver({
      cache: this.cache,
      operationFor: (vertex, graph) => this.#operation(vertex, graph),
      locks: { acquire: async () => ({ [Symbol.dispose]: () => {} }) },
      parallelism: () => parallelism,
      now: () => this.nowMs++,
    });
  }

  static async open(path: string, parallelism = 4): Promise<SolverBench> {
    return new SolverBench(await Database.open(path), parallelism);
  }

  /** Builds a step in a build of its own. */
  async build(step: Step, scope: Partial<BuildScope> = {}): Promise<{ tree: Tree; progress: BuildProgress[] }> {
    const progress: BuildProgress[] = [];
    await using build = this.solver.begin({
      sessions: [],
      entitlements: new Set(),
      signal: new AbortController().signal,
      progress: (update) => void progress.push(update),
      ...scope,
    });
    return { tree: await build.tree(edgeOf(step, scope.policy)), progress };
  }

  /** Names of the steps that ran since this was asked last. */
  ran(): string[] {
    return this.runs.splice(0).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db[Symbol.dispose]();
  }

  #operation(vertex: Vertex, graph: BuildGraph): Operation {
    const { name } = vertex;
    const { op } = vertex.op;
    if (op.case === 'build') {
      const solve = (definition: Definition) => graph.nested(vertex, definition);
      const readFile = async (_: Tree, path: string) => toBinary(DefinitionSchema, definitionOf(this.files[path]!()));
      return buildOperation({ solve, readFile }, op.value, vertex);
    }
    const behaviour = this.behaviours[name] ?? {};
    const contentDigest = async (tree: Tree) =>
      digestOf(tree.layers.map((layer) => this.contents.get(layer) ?? layer).join());
    return {
      recordType: 'regular',
      description: name,
      isEphemeral: behaviour.isEphemeral ?? false,
      usesSecrets: behaviour.usesSecrets ?? false,
      cacheMap: async () => ({
        digest: digestOf(behaviour.digest ?? name),
        dependencies: vertex.inputs.map((_, input) => (behaviour.byContent?.includes(input) ? { contentDigest } : {})),
      }),
      run: async (inputs, context) => {
        this.runs.push(name);
        const given = await behaviour.run?.(inputs, context);
        if (given !== undefined) return given;
        this.#made += 1;
        return [{ layers: [...(inputs[0]?.layers ?? []), `local:${name}-${this.#made}` as LayerName] }];
      },
    };
  }
}
