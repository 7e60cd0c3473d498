import type { Definition } from '../../protocol/index.ts';
import type { LayerName } from '../../storage/index.ts';
import { ImportedKeys } from '../cache/imported-keys.ts';
import type { CacheKey, KeySource } from '../cache/key.ts';
import type { ImportedCache } from '../cache/remote/carried.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { canceled } from './failure.ts';
import { type Edge, type GraphPolicy, loadDefinition, noPolicy, type Vertex, verticesOf } from './graph.ts';
import { NestedGraphs } from './nested-graphs.ts';
import type { Member } from './shared-work.ts';
import { SolveNode } from './solve-node.ts';
import type { BuildScope, Solver } from './solver.ts';

/** The first one's check comes first. */
const joined = (...policies: readonly GraphPolicy[]): GraphPolicy => ({
  id: policies.flatMap(({ id }) => (id === '' ? [] : [id])).join(),
  check: (op) => policies.map(({ check }) => check(op)).includes(true),
});

const nothing: KeySource = { find: () => [], result: () => undefined, roots: () => [] };

/** The vertices of one build, as far as they were asked for. Frontends add to it while they work. */
export class BuildGraph implements AsyncDisposable {
  readonly solver: Solver;
  readonly scope: BuildScope;
  /** Fires when the build is given up, or over. */
  readonly signal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #nodes = new Map<string, SolveNode>();
  readonly #nested = new NestedGraphs();
  readonly #held = new AsyncDisposableStack();
  readonly #used = new Set<LayerName>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #imports: Promise<KeySource>[] = [];
  /** Layers that were seen to be there: none goes while a build holds the content. */
  readonly presentLayers = new Set<LayerName>();
  /** Something was not found in the cache, and had to be made. */
  hasMade = false;
  /** Somebody may look into what a failed command leaves. */
  keepsFailures = false;

  constructor(solver: Solver, scope: BuildScope) {
    this.solver = solver;
    this.scope = scope;
    this.signal = AbortSignal.any([scope.signal, this.#stop.signal]);
  }

  /**
   * @param policy of this definition, before the build's own
   * @returns what a definition wants; undefined: the empty tree
   * @throws as `loadDefinition`, and what the policies say
   */
  load(definition: Definition, policy = noPolicy): Edge | undefined {
    const { policy: ofBuild = noPolicy } = this.scope;
    return loadDefinition(definition, joined(policy, ofBuild));
  }

  /**
   * The tree of a graph that a build operation of this one turned out to stand for; the same policies hold for it.
   * @throws as `load` and `tree`; {TareError} InvalidArgument: it needs that operation itself, or stands too deep in others
   */
  async nested(by: Vertex, definition: Definition): Promise<Tree> {
    const edge = loadDefinition(definition, by.policy);
    if (edge === undefined) return emptyTree;
    this.#nested.add(by, edge);
    return await this.tree(edge);
  }

  /** Makes the tree of an edge, or finds it. Asking again costs nothing. @throws {VertexError} what failed */
  async tree(edge: Edge): Promise<Tree> {
    for (const vertex of verticesOf(edge)) this.#ensure(vertex);
    return await this.treeOf(edge);
  }

  /** By what an edge's result is known; undefined: it is this build's alone. */
  async key(edge: Edge): Promise<CacheKey | undefined> {
    for (const vertex of verticesOf(edge)) this.#ensure(vertex);
    return await this.node(edge.vertex).key(edge.output);
  }

  /** Of an edge whose vertex the graph has already. */
  treeOf(edge: Edge): Promise<Tree> {
    return this.node(edge.vertex).tree(edge.output);
  }

  node(vertex: Vertex): SolveNode {
    const node = this.#nodes.get(vertex.digest);
    if (node === undefined) throw new Error(`vertex ${vertex.digest} is not in the graph`);
    return node;
  }

  /** Whether a vertex was asked for so far. */
  wants(digest: string): boolean {
    return this.#nodes.has(digest);
  }

  /** Vertices that were asked for so far, inputs first. */
  nodes(): IterableIterator<SolveNode> {
    return this.#nodes.values();
  }

  /** Where keys are looked up: our records, then imported ones. */
  async sources(): Promise<readonly KeySource[]> {
    return [this.solver.parts.cache, ...(await Promise.all(this.#imports))];
  }

  /** From now on keys are looked up there, too. What is asked waits for it; if it fails, it is an empty one. */
  import(cache: Promise<ImportedCache>): void {
    const keys = cache.then((loaded) => new ImportedKeys(loaded));
    this.#imports.push(keys.catch(() => nothing));
  }

  /** Layers of what was asked for so far. */
  layersInUse(): ReadonlySet<LayerName> {
    return this.#used;
  }

  /** For a vertex' part in work that several builds may want; without one, for what is done for this build alone. */
  member(progress: Member['progress'], vertex?: Vertex): Member {
    const { sessions, entitlements, limits } = this.scope;
    return {
      ...{ signal: this.signal, progress },
      sessions: () => (vertex === undefined ? sessions : this.solver.sessionsFor(vertex, this)),
      allows: (entitlement) => entitlements.has(entitlement),
      limits: () => limits,
      keepsFailures: () => this.keepsFailures,
    };
  }

  /** Keeps something until the build is over: what a failed step left, for those who look into it. */
  hold(resource: AsyncDisposable): void {
    this.#held.use(resource);
  }

  use(tree: Tree): void {
    for (const layer of tree.layers) this.#used.add(layer);
  }

  /** Work that must have ended before the build is over. */
  follow(work: Promise<unknown>): void {
    const followed = work.then(
      () => {},
      () => {},
    );
    this.#running.add(followed);
    void followed.then(() => this.#running.delete(followed));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(canceled());
    await Promise.all(this.#running);
    try {
      await this.#held.disposeAsync();
      await this.solver.parts.cache.touch(this.#used);
    } finally {
      // Else its layers would be taken for ones in use as long as this process lives.
      this.solver.ended(this);
    }
  }

  #ensure(vertex: Vertex): void {
    if (this.#nodes.has(vertex.digest)) return;
    this.#nodes.set(vertex.digest, new SolveNode(this, vertex));
  }
}
