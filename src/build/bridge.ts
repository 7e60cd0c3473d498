import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { TareError } from '../errors/index.ts';
import { compileGlob, formatPlatform, hostPlatform, normalized } from '../image/index.ts';
import { type Definition, OpSchema, type sourcepolicy } from '../protocol/index.ts';
import { digestOf, type Platform } from '../storage/index.ts';
import type { Asker, BuildEvidence } from './attestations/build-evidence.ts';
import type { BuildRequest, TypedOptions } from './build-types.ts';
import type { BuilderParts } from './builder-parts.ts';
import type { StepContainer } from './executor/step-container.ts';
import { openTreeContainer } from './executor/tree-container.ts';
import type {
  BridgeRef,
  BridgeSolveRequest,
  FileStatus,
  Frontend,
  FrontendBridge,
  FrontendContainerRequest,
  FrontendResult,
  ImageConfigAnswer,
  ImageConfigQuestion,
} from './frontend.ts';
import type { OperationContext } from './operation.ts';
import { runnablePlatforms } from './platforms.ts';
import { silentProgress, type VertexWarning } from './progress.ts';
import type { BuildGraph } from './solver/build-graph.ts';
import type { Edge, GraphPolicy } from './solver/graph.ts';
import { sourcePolicy } from './solver/source-policy.ts';
import { VertexClock } from './solver/vertex-clock.ts';
import { emptyTree, type Tree } from './tree.ts';
import { TreeFiles } from './tree-files.ts';

/** What frontends of one build share. */
export interface BridgeContext {
  parts: BuilderParts;
  graph: BuildGraph;
  request: BuildRequest;
  /** What was looked at on the way. */
  evidence: BuildEvidence<SolvedRef>;
  /** The client's own. */
  bridge: Pick<FrontendBridge, 'resolveImageConfig' | 'solve'>;
  /** The client's source policies. */
  policy: GraphPolicy;
  /** @throws {TareError} NotFound: there is no such frontend */
  frontend(name: string, options: Readonly<Record<string, string>>): Promise<Frontend>;
  importCaches(caches: readonly TypedOptions[]): void;
  /** The config of an image in an OCI layout at a client. */
  resolveLayout(
    ref: string,
    from: NonNullable<ImageConfigQuestion['store']> & { platform: Platform },
    context: OperationContext,
  ): Promise<ImageConfigAnswer>;
}

/** A result that can be looked into. */
class TreeRef implements BridgeRef {
  readonly id = randomUUID();
  readonly definition: Definition | undefined;
  /** Somebody looked into it, and it was there. */
  isSolved = false;
  readonly #parts: BuilderParts;
  readonly #tree: () => Promise<Tree>;

  constructor(parts: BuilderParts, tree: () => Promise<Tree>, definition?: Definition) {
    this.#parts = parts;
    this.#tree = tree;
    this.definition = definition;
  }

  async tree(): Promise<Tree> {
    const tree = await this.#tree();
    this.isSolved = true;
    return tree;
  }

  async readFile(path: string, range?: { offset: number; length: number }): Promise<Uint8Array> {
    await using files = await this.#open();
    return files.read(path, range);
  }

  async readDirectory(path: string, includePattern?: string): Promise<readonly FileStatus[]> {
    const isWanted = includePattern ? compileGlob(includePattern) : undefined;
    await using files = await this.#open();
    return await files.list(path, isWanted);
  }

  async status(path: string): Promise<FileStatus> {
    await using files = await this.#open();
    return files.status(path);
  }

  async #open(): Promise<TreeFiles> {
    return await TreeFiles.open(this.#parts.layers, await this.tree());
  }
}

/** A result of this builder's: an edge of the build's graph, or the empty tree. */
export class SolvedRef extends TreeRef {
  readonly edge: Edge | undefined;
  readonly asker: Asker;

  /** @param policies of this part of the build, beside the build's own */
  constructor(
    { parts, graph }: BridgeContext,
    definition: Definition,
    asker: Asker,
    policies: readonly sourcepolicy.Policy[] = [],
  ) {
    const edge = graph.load(definition, sourcePolicy(policies));
    super(parts, async () => (edge === undefined ? emptyTree : await graph.tree(edge)), definition);
    this.edge = edge;
    this.asker = asker;
  }
}

/** What one frontend of a build is given. */
export class Bridge implements FrontendBridge {
  readonly options: Readonly<Record<string, string>>;
  readonly inputs: ReadonlyMap<string, Definition>;
  readonly platforms = runnablePlatforms();
  readonly #context: BridgeContext;
  readonly #asker: Asker;

  /** @param frontend that it is given to; empty: the client */
  constructor(
    context: BridgeContext,
    frontend: string,
    options: Readonly<Record<string, string>> = {},
    inputs: ReadonlyMap<string, Definition> = new Map(),
  ) {
    this.#context = context;
    this.options = options;
    this.inputs = inputs;
    this.#asker = { frontend, options: frontend === '' ? {} : options };
  }

  get sessionID(): string {
    return this.#context.request.session.id;
  }

  get signal(): AbortSignal {
    return this.#context.graph.signal;
  }

  async solve(request: BridgeSolveRequest): Promise<FrontendResult> {
    this.signal.throwIfAborted();
    this.#context.importCaches(request.cacheImports ?? []);
    const result = await this.#solve(request);
    if (request.evaluate === true) await Promise.all([result.ref, ...result.refs.values()].map((ref) => ref?.tree()));
    return result;
  }

  async #solve(request: BridgeSolveRequest): Promise<FrontendResult> {
    const { definition, frontend, frontendOptions, frontendInputs, sourcePolicies } = request;
    if (frontend) {
      if (definition !== undefined && definition.def.length > 0) {
        throw new TareError('InvalidArgument', 'a definition and a frontend are given: want one of them');
      }
      const run = await this.#context.frontend(frontend, frontendOptions ?? {});
      return await run(new Bridge(this.#context, frontend, frontendOptions, frontendInputs));
    }
    const ref = definition && new SolvedRef(this.#context, definition, this.#asker, sourcePolicies);
    if (ref !== undefined) this.#context.evidence.refs.push(ref);
    return { ref, refs: new Map(), metadata: new Map(), attestations: new Map() };
  }

  async resolveImageConfig(ref: string, question: ImageConfigQuestion): Promise<ImageConfigAnswer> {
    const { parts, graph, request, evidence, resolveLayout } = this.#context;
    const wanted = question.platform;
    const platform: Platform =
      wanted === undefined
        ? hostPlatform()
        : {
            os: wanted.os,
            architecture: wanted.architecture,
            ...(wanted.variant ? { variant: wanted.variant } : {}),
            ...(wanted.osVersion ? { 'os.version': wanted.osVersion } : {}),
          };
    return await shownAs(graph, question.logName || `resolve image config for ${ref}`, async (context) => {
      const platformID = formatPlatform(normalized(platform));
      const asked = this.#converted(ref, question);
      if (question.store !== undefined) {
        const answer = await resolveLayout(asked, { ...question.store, platform }, context);
        evidence.images.push({ kind: 'oci-layout', ref: answer.ref, digest: answer.digest, platform: platformID });
        return answer;
      }
      const options = { mode: question.resolveMode, platform, sessions: [request.session], signal: graph.signal };
      const { indexOrManifest: digest, config } = await parts.images.resolve(asked, options);
      evidence.images.push({ kind: 'image', ref: asked, digest, platform: platformID });
      return { ref: asked, digest, config };
    });
  }

  warn(warning: VertexWarning): void {
    this.#context.graph.scope.progress({ warnings: [warning] });
  }

  keepFailures(): void {
    this.#context.graph.keepsFailures = true;
  }

  refOf(tree: Tree): BridgeRef {
    return new TreeRef(this.#context.parts, async () => tree);
  }

  async openContainer({ mounts, ...request }: FrontendContainerRequest): Promise<StepContainer> {
    const { parts, graph } = this.#context;
    const shown = mounts.map(async ({ mount, ref }) => ({ mount, tree: await ref?.tree() }));
    const open = async () => {
      const all = { ...request, mounts: await Promise.all(shown) };
      const container = await openTreeContainer(parts, all, graph.member(silentProgress));
      graph.hold(container);
      return container;
    };
    const opening = open();
    graph.follow(opening);
    return await opening;
  }

  /** What the source policies make of an image's reference. */
  #converted(ref: string, { store, sourcePolicies = [] }: ImageConfigQuestion): string {
    const scheme = store === undefined ? 'docker-image://' : 'oci-layout://';
    const op = create(OpSchema, { op: { case: 'source', value: { identifier: `${scheme}${ref}` } } });
    sourcePolicy(sourcePolicies).check(op);
    this.#context.policy.check(op);
    const identifier = op.op.case === 'source' ? op.op.value.identifier : '';
    if (!identifier.startsWith(scheme))
      throw new TareError('Unsupported', `source policies make ${identifier} of the image ${ref}: want ${scheme}…`);
    return identifier.slice(scheme.length);
  }
}

/** Shows work that is no vertex of a definition as one. */
export async function shownAs<T>(
  graph: BuildGraph,
  name: string,
  work: (context: OperationContext) => Promise<T>,
): Promise<T> {
  const digest = digestOf(randomUUID());
  const vertex = { digest, name, inputs: [], metadata: undefined };
  const clock = new VertexClock(vertex, graph.scope.progress, () => graph.solver.parts.now());
  clock.begin();
  try {
    const result = await work(graph.member(clock.progress));
    clock.end();
    return result;
  } catch (error) {
    clock.end({ error: graph.signal.aborted ? 'context canceled' : error });
    throw error;
  }
}
