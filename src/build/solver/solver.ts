import type { LayerName } from '../../storage/index.ts';
import type { CacheStore } from '../cache/store.ts';
import type { StepLimits } from '../executor/step-spec.ts';
import type { Operation } from '../operation.ts';
import type { ProgressSink } from '../progress.ts';
import type { BuildSession } from '../session.ts';
import type { Tree } from '../tree.ts';
import { BuildGraph } from './build-graph.ts';
import { FreshResults } from './fresh-results.ts';
import type { GraphPolicy, Vertex } from './graph.ts';
import { SharedWorks } from './shared-work.ts';
import { Slots } from './slots.ts';

/** What a solver works with. */
export interface SolverParts {
  cache: CacheStore;
  /** @param build for operations that solve graphs of their own */
  operationFor(vertex: Vertex, build: BuildGraph): Operation;
  /** Equal work of several processes waits for each other. */
  locks: { acquire(name: string, signal?: AbortSignal): Promise<Disposable> };
  /** Steps that run at the same time. */
  parallelism(): number;
  now(): number;
}

/** A build, as the solver sees it. */
export interface BuildScope {
  sessions: readonly BuildSession[];
  entitlements: ReadonlySet<string>;
  limits?: StepLimits | undefined;
  progress: ProgressSink;
  signal: AbortSignal;
  /** For all of the build's definitions. */
  policy?: GraphPolicy;
}

/** What several builds have in common while they run: equal steps run once. */
export class Solver {
  readonly parts: SolverParts;
  readonly works = new SharedWorks<readonly Tree[]>();
  readonly fresh = new FreshResults();
  readonly slots: Slots;

  readonly #building = new Set<BuildGraph>();

  constructor(parts: SolverParts) {
    this.parts = parts;
    this.slots = new Slots(() => parts.parallelism());
  }

  /** Begins a build. Dispose it when its results are exported: what still runs for it alone is given up. */
  begin(scope: BuildScope): BuildGraph {
    const build = new BuildGraph(this, scope);
    this.#building.add(build);
    return build;
  }

  ended(build: BuildGraph): void {
    this.#building.delete(build);
    this.fresh.release(build);
  }

  /**
   * Of a build, and of others of the same callers that want the same vertex: whoever comes to it first makes it for all, and needs the
   * secrets that only one of them may have.
   */
  sessionsFor({ digest }: Vertex, build: BuildGraph): readonly BuildSession[] {
    const own = build.scope.sessions;
    const callers = new Set(own.map(({ owner }) => owner));
    const isBeside = (other: BuildGraph): boolean =>
      other !== build &&
      !other.signal.aborted &&
      other.wants(digest) &&
      other.scope.sessions.every(({ owner }) => callers.has(owner));
    const others = [...this.#building].filter(isBeside).flatMap(({ scope }) => scope.sessions);
    return [...new Set([...own, ...others])];
  }

  /** Of all builds that run. */
  layersInUse(): ReadonlySet<LayerName> {
    return new Set([...this.#building].flatMap((build) => [...build.layersInUse()]));
  }
}
