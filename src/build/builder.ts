import { randomUUID } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { LayerName } from '../storage/index.ts';
import { Attester } from './attestations/attested.ts';
import { BuildEvidence } from './attestations/build-evidence.ts';
import { Bridge, type BridgeContext, shownAs } from './bridge.ts';
import type { Builder, BuildPlatform, BuildRequest, BuildResult, TypedOptions } from './build-types.ts';
import type { BuilderParts } from './builder-parts.ts';
import { requireKnownCache } from './cache/remote/export-cache.ts';
import { cacheSource, importCache, nameOfCache } from './cache/remote/import-cache.ts';
import { CacheStore } from './cache/store.ts';
import { failedStepOf } from './executor/failed-step.ts';
import { exportResult, readCacheExports } from './export-result.ts';
import { requireExporter } from './exporters/exporter-for.ts';
import { failedCommand } from './failed-command.ts';
import type { Frontend, FrontendBridge, FrontendResult } from './frontend.ts';
import { isBuiltInFrontend } from './gateway/built-in.ts';
import { History } from './history/history.ts';
import type { OuterBuild } from './operations/build.ts';
import { operationFor } from './operations/operation-for.ts';
import { runnablePlatforms } from './platforms.ts';
import type { ProgressSink } from './progress.ts';
import type { BuildSession } from './session.ts';
import type { CopyInto, RunIn } from './snapshots/snapshot-types.ts';
import type { BuildGraph } from './solver/build-graph.ts';
import { checkEntitlements } from './solver/entitlements.ts';
import { canceled } from './solver/failure.ts';
import type { GraphPolicy, Vertex } from './solver/graph.ts';
import { Solver } from './solver/solver.ts';
import { sourcePolicy } from './solver/source-policy.ts';
import { layoutReader } from './sources/layout-reader.ts';
import { pickSession } from './sources/source-attributes.ts';
import { TreeFiles } from './tree-files.ts';

/** Caches that one build may read; each is a question to a registry or the client. */
const MAX_IMPORTS = 1_000;

/** What the builder needs beside what its operations do. */
export interface BuilderOptions extends BuilderParts {
  /** Steps that run at the same time, over all builds. */
  parallelism(): number;
  /** Told at the end of each build, and with `true` if it made anything: there may be layers and blobs that nobody keeps. */
  ended(hasLeftovers: boolean): void;
}

/** Opens a builder. Several processes may have one open on the same stores. */
export async function openBuilder(options: BuilderOptions): Promise<Builder> {
  return new OpenBuilder(options);
}

class OpenBuilder implements Builder {
  readonly #parts: BuilderOptions;
  readonly #cache: CacheStore;
  readonly #solver: Solver;
  readonly history: History;
  readonly #running = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #housekeeping: Promise<void> | undefined;

  constructor(parts: BuilderOptions) {
    this.#parts = parts;
    this.history = new History({ ...parts, freed: () => parts.ended(true) });
    this.#cache = new CacheStore({ db: parts.db, layers: parts.layers, now: () => parts.now() });
    this.#solver = new Solver({
      cache: this.#cache,
      operationFor: (vertex, graph) => operationFor(parts, vertex, this.#outer(graph, vertex)),
      locks: parts.locks,
      parallelism: parts.parallelism,
      now: () => parts.now(),
    });
  }

  async build(request: BuildRequest, progress: ProgressSink, signal: AbortSignal): Promise<BuildResult> {
    const work = this.#build(request, progress, AbortSignal.any([signal, this.#closing.signal]));
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  async copyInto(request: CopyInto, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const { copyInto } = await import('./snapshots/copy-into.ts');
    await this.#driven(request.session, [], (bridge) => copyInto(this.#parts, request, bridge), progress, signal);
  }

  async runIn(request: RunIn, progress: ProgressSink, signal: AbortSignal): Promise<number> {
    const { runIn } = await import('./snapshots/run-in.ts');
    const allowed = entitlementsOf(request);
    const context = { sessions: () => [request.session], allows: (one: string) => allowed.includes(one) };
    const work = (bridge: FrontendBridge) => runIn(this.#parts, request, bridge, context);
    return await this.#driven(request.session, allowed, work, progress, signal);
  }

  /** Work that needs trees as a build does, and whose result is none. */
  async #driven<T>(
    session: BuildSession,
    entitlements: readonly string[],
    work: (bridge: FrontendBridge) => Promise<T>,
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<T> {
    const works: Promise<T>[] = [];
    const drive = async (bridge: FrontendBridge): Promise<FrontendResult> => {
      works.push(work(bridge));
      await works[0];
      return { refs: new Map(), metadata: new Map(), attestations: new Map() };
    };
    const request = { ref: randomUUID(), exporters: [], cacheExports: [], cacheImports: [], isInternal: true };
    try {
      await this.build({ ...request, ...{ session, entitlements, drive } }, progress, signal);
    } finally {
      // A build that is given up does not wait for it, but the snapshot is its until it ends.
      await Promise.allSettled(works);
    }
    return await works[0]!;
  }

  layersInUse(): ReadonlySet<LayerName> {
    return this.#solver.layersInUse();
  }

  platforms(): readonly BuildPlatform[] {
    return runnablePlatforms();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(canceled());
    await Promise.allSettled(this.#running);
    await this.#housekeeping;
  }

  async #build(request: BuildRequest, progress: ProgressSink, signal: AbortSignal): Promise<BuildResult> {
    const stop = new AbortController();
    using _asker = onAbort(signal, () => stop.abort(canceled()));
    using _client = onAbort(request.session.ended, () => stop.abort(clientGone()));
    const left = { isAny: true };
    try {
      await using _content = await this.#parts.holdContent();
      const isGivenUp = () => stop.signal.aborted;
      return await this.history.record(request, progress, isGivenUp, (told) =>
        this.#run(request, told, stop.signal, left),
      );
    } finally {
      this.#keepHouse(left.isAny);
    }
  }

  /** @param left is told when nothing was made, which no build that fails knows */
  async #run(
    request: BuildRequest,
    progress: ProgressSink,
    signal: AbortSignal,
    left: { isAny: boolean },
  ): Promise<BuildResult> {
    const entitlements = new Set(request.entitlements);
    const policy = policyOf(request);
    const { content, layers } = this.#parts;
    const arrivals = () => content.arrivals + layers.arrivals;
    const arrived = arrivals();
    await using graph = this.#solver.begin({
      sessions: [request.session],
      entitlements,
      limits: request.limits,
      progress,
      signal,
      policy: {
        id: policy.id,
        check: (op) => {
          checkEntitlements(entitlements, op);
          return policy.check(op);
        },
      },
    });
    graph.keepsFailures = request.onFailure !== undefined;
    const cacheExports = readCacheExports(request);
    const context = this.#bridgeContext(graph, request, policy);
    const attester = new Attester(context);
    for (const exporter of request.exporters) requireExporter(this.#parts, exporter);
    context.importCaches(request.cacheImports);
    try {
      const result = await untilAborted(this.#solve(context), signal);
      const exported = await exportResult(this.#cache, context, attester, result, cacheExports);
      left.isAny = graph.hasMade || arrivals() > arrived;
      return { ...exported, metadata: result.metadata };
    } catch (error) {
      const step = failedStepOf(error);
      if (step === undefined || request.onFailure === undefined || signal.aborted) throw error;
      await using failed = failedCommand(context, error, step);
      await untilAborted(request.onFailure(failed), signal);
      throw error;
    }
  }

  async #solve(context: BridgeContext): Promise<FrontendResult> {
    const { request } = context;
    const { definition, frontend = '' } = request;
    const bridge = new Bridge(context, frontend, request.frontendOptions, request.frontendInputs);
    if (request.drive !== undefined) return await request.drive(bridge);
    if (frontend) return await (await context.frontend(frontend, request.frontendOptions ?? {}))(bridge);
    return await bridge.solve(definition === undefined ? {} : { definition });
  }

  #bridgeContext(graph: BuildGraph, request: BuildRequest, policy: GraphPolicy): BridgeContext {
    const imported = new Set<string>();
    const parts = this.#parts;
    const context: BridgeContext = {
      ...{ parts, graph, request, policy, evidence: new BuildEvidence(parts.now()) },
      bridge: {
        solve: (asked) => new Bridge(context, '').solve(asked),
        resolveImageConfig: (ref, question) => new Bridge(context, '').resolveImageConfig(ref, question),
      },
      frontend: (name, options) => frontendFor(context, name, options),
      importCaches: (caches: readonly TypedOptions[]) => {
        for (const cache of caches) {
          const id = JSON.stringify(cache);
          if (imported.has(id)) continue;
          if (imported.size >= MAX_IMPORTS)
            throw new TareError('InvalidArgument', `a build that imports more than ${MAX_IMPORTS} caches`);
          imported.add(id);
          requireKnownCache(cache.type);
          request.mayUse?.(cacheSource(cache));
          // What goes wrong is shown there; the build goes on without it.
          const reading = shownAs(graph, `importing cache manifest from ${nameOfCache(cache)}`, (operation) =>
            importCache(parts, cache, [request.session], operation),
          );
          graph.import(reading);
        }
      },
      resolveLayout: async (ref, { sessionID, storeID, platform }, operation) => {
        const { signal } = operation;
        const session = await pickSession(operation, sessionID);
        const source = layoutReader(session.contentStore(storeID), ref);
        const found = await parts.images.resolve(ref, {
          ...{ mode: 'default' as const, sessions: [session], signal, source, platform },
        });
        return { ref, digest: found.indexOrManifest, config: found.config };
      },
    };
    return context;
  }

  #outer(graph: BuildGraph, vertex: Vertex): OuterBuild {
    const { layers } = this.#parts;
    return {
      solve: (definition) => graph.nested(vertex, definition),
      readFile: async (tree, path) => {
        await using files = await TreeFiles.open(layers, tree);
        return files.read(path);
      },
    };
  }

  /** What the history no longer has is nobody's. Nobody waits for it but the builder's end. */
  #keepHouse(hasLeftovers: boolean): void {
    const before = this.#housekeeping;
    const work = async () => {
      await before;
      this.#parts.ended((await this.history.trim()) || hasLeftovers);
    };
    this.#housekeeping = work().catch((error: unknown) => this.#parts.report('trimming the history of builds', error));
  }
}

/** What the client says of sources, and what its caller may use. */
function policyOf({ ref, mayUse, sourcePolicies }: BuildRequest): GraphPolicy {
  const ofClient = sourcePolicy(sourcePolicies);
  if (mayUse === undefined) return ofClient;
  return {
    // What another one made of a graph that only shows on the way says nothing of who may use its sources.
    id: [ref, ofClient.id].join(),
    check: (op) => {
      const isConverted = ofClient.check(op);
      if (op.op.case === 'source') mayUse(op.op.value.identifier);
      return isConverted;
    },
  };
}

const entitlementsOf = ({ network, isPrivileged, devices = [] }: RunIn): string[] => [
  ...(network === 'host' ? ['network.host'] : []),
  ...(isPrivileged === true ? ['security.insecure'] : []),
  ...(devices.length > 0 ? ['device'] : []),
];

/** Acts once, at once if it has fired. Disposed: no more. */
function onAbort(signal: AbortSignal, act: () => void): Disposable {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', act) };
}

const clientGone = () =>
  new TareError('Unavailable', 'the session of the client has ended: the client is gone, or its connection broke');

/** Each is loaded by the first build that wants it. @throws {TareError} NotFound */
async function frontendFor(
  context: BridgeContext,
  name: string,
  options: Readonly<Record<string, string>>,
): Promise<Frontend> {
  if (name === 'dockerfile.v0' || (name === 'gateway.v0' && isBuiltInFrontend(options['source'] ?? ''))) {
    return (await import('./dockerfile/frontend.ts')).dockerfileFrontend;
  }
  if (name === 'gateway.v0') return (await import('./gateway/frontend-container.ts')).gatewayFrontend(context);
  throw new TareError('NotFound', `there is no frontend ${JSON.stringify(name)}: want dockerfile.v0 or gateway.v0`);
}

/** Frontends of others may go on long after nobody wants their answer. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  using _signal = onAbort(signal, () => aborted.reject(signal.reason));
  return await Promise.race([work, aborted.promise]);
}
