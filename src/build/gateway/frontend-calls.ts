import { create, toBinary } from '@bufbuild/protobuf';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { gateway, goModeOf, PlatformSchema, SourceOpSchema, stat, worker } from '../../protocol/index.ts';
import { failedStepOf } from '../executor/failed-step.ts';
import type { BridgeRef, FileStatus, FrontendBridge, FrontendResult, ImageConfigQuestion } from '../frontend.ts';
import type { Tree } from '../tree.ts';
import { FrontendError } from '../vertex-error.ts';
import { frontendCapabilities, graphCapabilities } from './capabilities.ts';
import { FrontendContainers } from './containers.ts';
import { execProcess } from './exec-process.ts';
import { resultMessage, resultOf } from './results.ts';
import { solveDetail } from './solve-detail.ts';

/** References that one frontend may hold, and what it may say, with what it gets, of what is to be solved: the build keeps all of it. */
const MAX_REFS = 10_000;
const MAX_SOLVED_BYTES = 256 << 20;
/** Questions of one frontend that leave something with the build: what is shown of them, and what they looked at. */
const MAX_QUESTIONS = 20_000;
/** Of the name that a frontend gives its question; it is shown, and kept with the build. */
const MAX_NAME = 1_000;
/** Warnings of one frontend that are shown. */
const MAX_WARNINGS = 1_000;

/**
 * What a frontend asks over `moby.buildkit.v1.frontend.LLBBridge`, put to a bridge: for a client that is its own frontend, and for one
 * in a container. Whoever owns the connection hands the calls in, and disposes it when the frontend has gone.
 */
export class FrontendCalls implements AsyncDisposable {
  /** What the frontend returns. Rejects with what it says went wrong. */
  readonly returned: Promise<FrontendResult>;
  readonly #bridge: FrontendBridge;
  readonly #refs = new Map<string, BridgeRef>();
  readonly #containers: FrontendContainers;
  /** The frontend has said how it ended. */
  hasReturned = false;
  #solvedBytes = 0;
  #warnings = 0;
  #questions = 0;
  readonly #return: { resolve(result: FrontendResult): void; reject(error: unknown): void };

  constructor(bridge: FrontendBridge) {
    this.#bridge = bridge;
    this.#containers = new FrontendContainers(bridge);
    bridge.keepFailures();
    const { promise, resolve, reject } = Promise.withResolvers<FrontendResult>();
    this.returned = promise;
    this.returned.catch(() => {});
    this.#return = { resolve, reject };
    const giveUp = () => reject(new TareError('Unavailable', 'the build was cancelled'));
    if (bridge.signal.aborted) giveUp();
    else bridge.signal.addEventListener('abort', giveUp, { once: true });
  }

  ping(_request: gateway.PingRequest): gateway.PongResponse {
    return create(gateway.PongResponseSchema, {
      FrontendAPICaps: frontendCapabilities(),
      LLBCaps: graphCapabilities(),
      Workers: [
        create(worker.WorkerRecordSchema, {
          platforms: this.#bridge.platforms.map(({ os, architecture, variant }) =>
            create(PlatformSchema, { OS: os, Architecture: architecture, Variant: variant ?? '' }),
          ),
        }),
      ],
    });
  }

  inputs(_request: gateway.InputsRequest): gateway.InputsResponse {
    return create(gateway.InputsResponseSchema, { Definitions: Object.fromEntries(this.#bridge.inputs) });
  }

  async resolveImageConfig(request: gateway.ResolveImageConfigRequest): Promise<gateway.ResolveImageConfigResponse> {
    this.#count();
    const store =
      request.ResolverType === 1
        ? { sessionID: request.SessionID || this.#bridge.sessionID, storeID: request.StoreID }
        : undefined;
    const question = questionOf(request.Ref, request, store);
    const { ref, digest, config } = await this.#bridge.resolveImageConfig(request.Ref, question);
    return create(gateway.ResolveImageConfigResponseSchema, { Ref: ref, Digest: digest, Config: config });
  }

  async resolveSourceMeta(request: gateway.ResolveSourceMetaRequest): Promise<gateway.ResolveSourceMetaResponse> {
    this.#count();
    const { identifier = '', attrs = {} } = request.Source ?? {};
    const [, scheme, ref] = /^(docker-image|oci-layout):\/\/(.+)$/s.exec(identifier) ?? [];
    // Of other sources there is nothing to tell.
    if (scheme === undefined || ref === undefined)
      return create(gateway.ResolveSourceMetaResponseSchema, { ...(request.Source && { Source: request.Source }) });
    const store =
      scheme === 'oci-layout'
        ? {
            sessionID: attrs['oci.session'] || this.#bridge.sessionID,
            storeID: attrs['oci.store'] ?? '',
          }
        : undefined;
    const answer = await this.#bridge.resolveImageConfig(ref, questionOf(ref, request, store));
    return create(gateway.ResolveSourceMetaResponseSchema, {
      Source: create(SourceOpSchema, { identifier: `${scheme}://${answer.ref}`, attrs }),
      Image: { Digest: answer.digest, Config: answer.config },
    });
  }

  async solve(request: gateway.SolveRequest): Promise<gateway.SolveResponse> {
    this.#count();
    this.#solvedBytes += toBinary(gateway.SolveRequestSchema, request).length;
    this.#requireRoom();
    const asked = this.#bridge.solve({
      ...(request.Definition && { definition: request.Definition }),
      ...(request.Frontend !== '' && { frontend: request.Frontend }),
      frontendOptions: request.FrontendOpt,
      frontendInputs: new Map(Object.entries(request.FrontendInputs)),
      cacheImports: request.CacheImports.map(({ Type, Attrs }) => ({ type: Type, attributes: Attrs })),
      evaluate: request.Evaluate,
      sourcePolicies: request.SourcePolicies,
    });
    const result = await this.#withLeft(asked);
    const message = resultMessage(result, (ref) => void this.#keep(ref));
    if (request.Final) {
      this.hasReturned = true;
      this.#return.resolve(result);
      return create(gateway.SolveResponseSchema);
    }
    if (request.allowResultReturn) return create(gateway.SolveResponseSchema, { result: plain(message, request) });
    if (result.refs.size > 1)
      throw new TareError('InvalidArgument', 'several results for a frontend that understands only one');
    const [only] = result.refs.size > 0 ? result.refs.values() : [result.ref];
    return create(gateway.SolveResponseSchema, { ref: only?.id ?? '' });
  }

  async readFile({ Ref, FilePath, Range }: gateway.ReadFileRequest): Promise<gateway.ReadFileResponse> {
    const range = Range && { offset: Number(Range.Offset), length: Number(Range.Length) };
    const Data = await this.#withLeft(this.#find(Ref).readFile(FilePath, range));
    return create(gateway.ReadFileResponseSchema, { Data });
  }

  async readDir({ Ref, DirPath, IncludePattern }: gateway.ReadDirRequest): Promise<gateway.ReadDirResponse> {
    const entries = await this.#withLeft(this.#find(Ref).readDirectory(DirPath, IncludePattern || undefined));
    return create(gateway.ReadDirResponseSchema, { entries: entries.map(statMessage) });
  }

  async statFile({ Ref, Path }: gateway.StatFileRequest): Promise<gateway.StatFileResponse> {
    const found = await this.#withLeft(this.#find(Ref).status(Path));
    return create(gateway.StatFileResponseSchema, { stat: statMessage(found) });
  }

  async evaluate({ Ref }: gateway.EvaluateRequest): Promise<gateway.EvaluateResponse> {
    if (Ref !== '') await this.#withLeft(this.#find(Ref).tree());
    return create(gateway.EvaluateResponseSchema);
  }

  async newContainer(request: gateway.NewContainerRequest): Promise<gateway.NewContainerResponse> {
    this.#count();
    await this.#withLeft(this.#containers.open(request, (id) => this.#find(id)));
    return create(gateway.NewContainerResponseSchema);
  }

  async releaseContainer({ ContainerID }: gateway.ReleaseContainerRequest): Promise<gateway.ReleaseContainerResponse> {
    await this.#containers.release(ContainerID);
    return create(gateway.ReleaseContainerResponseSchema);
  }

  execProcess(messages: AsyncIterable<gateway.ExecMessage>): AsyncGenerator<gateway.ExecMessage, void> {
    return execProcess(messages, (init) => this.#containers.start(init));
  }

  return({ result, error }: gateway.ReturnRequest): gateway.ReturnResponse {
    this.hasReturned = true;
    if (error) {
      const details = error.details.map(({ typeUrl, value }) => ({ typeUrl, value }));
      this.#return.reject(new FrontendError(kindOfCode(error.code), error.message, details));
    } else {
      const find = (id: string) => this.#find(id);
      try {
        this.#return.resolve(resultOf(result ?? create(gateway.ResultSchema), find));
      } catch (failure) {
        this.#return.reject(failure);
        throw failure;
      }
    }
    return create(gateway.ReturnResponseSchema);
  }

  warn(request: gateway.WarnRequest): gateway.WarnResponse {
    this.#warnings += 1;
    if (this.#warnings > MAX_WARNINGS) return create(gateway.WarnResponseSchema);
    const { info } = request;
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
    this.#bridge.warn({
      vertex: request.digest,
      level: Number(request.level),
      short: text(request.short),
      detail: request.detail.map(text),
      ...(request.url !== '' && { url: request.url }),
      ...(info && { source: { filename: info.filename, data: info.data, language: info.language } }),
      ranges: request.ranges.map(({ start, end }) => ({
        start: { line: start?.line ?? 0, character: start?.character ?? 0 },
        end: { line: end?.line ?? 0, character: end?.character ?? 0 },
      })),
    });
    return create(gateway.WarnResponseSchema);
  }

  /** The frontend is gone without a word. */
  abandon(cause: unknown): void {
    this.#return.reject(new TareError(kindOf(cause), messageOf(cause), { cause }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#return.reject(new TareError('Unavailable', 'the frontend is gone'));
    await this.#containers[Symbol.asyncDispose]();
  }

  /** An error of a command gets results that show what it left. */
  async #withLeft<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const step = failedStepOf(error);
      if (step === undefined) throw error;
      const idsOf = (trees: readonly (Tree | undefined)[]) =>
        trees.map((tree) => (tree === undefined ? '' : this.#keep(this.#bridge.refOf(tree)).id));
      const detail = solveDetail(step, idsOf(step.inputs), idsOf(step.mounts));
      throw new FrontendError(kindOf(error), messageOf(error), [detail], { cause: error });
    }
  }

  #keep(ref: BridgeRef): BridgeRef {
    if (this.#refs.has(ref.id)) return ref;
    this.#solvedBytes += (ref.definition?.def ?? []).reduce((sum, { length }) => sum + length, 0);
    this.#requireRoom();
    this.#refs.set(ref.id, ref);
    return ref;
  }

  /** The build keeps what was solved, too: whoever is at his bounds solves nothing more. */
  #requireRoom(): void {
    if (this.#refs.size >= MAX_REFS)
      throw new TareError('InvalidArgument', `a frontend that holds more than ${MAX_REFS} results`);
    if (this.#solvedBytes > MAX_SOLVED_BYTES)
      throw new TareError(
        'InvalidArgument',
        `a frontend that has over ${MAX_SOLVED_BYTES} bytes of definitions solved`,
      );
  }

  #count(): void {
    this.#questions += 1;
    if (this.#questions > MAX_QUESTIONS)
      throw new TareError('InvalidArgument', `a frontend that asks more than ${MAX_QUESTIONS} questions`);
  }

  #find(id: string): BridgeRef {
    const ref = this.#refs.get(id);
    if (!ref) throw new TareError('InvalidArgument', `no such ref: ${id}`);
    return ref;
  }
}

/** Clients of before arrays of references get bare ids. */
function plain(message: gateway.Result, { allowResultArrayRef }: gateway.SolveRequest): gateway.Result {
  if (allowResultArrayRef) return message;
  const { result } = message;
  if (result.case === 'ref') message.result = { case: 'refDeprecated', value: result.value.id };
  else if (result.case === 'refs') {
    const refs = Object.fromEntries(Object.entries(result.value.refs).map(([key, { id }]) => [key, id]));
    message.result = { case: 'refsDeprecated', value: create(gateway.RefMapDeprecatedSchema, { refs }) };
  }
  return message;
}

function questionOf(
  ref: string,
  {
    Platform: platform,
    ResolveMode,
    LogName,
    SourcePolicies: sourcePolicies,
  }: Pick<gateway.ResolveImageConfigRequest, 'Platform' | 'ResolveMode' | 'LogName' | 'SourcePolicies'>,
  store: ImageConfigQuestion['store'],
): ImageConfigQuestion {
  return {
    resolveMode: ResolveMode === 'pull' || ResolveMode === 'local' ? ResolveMode : 'default',
    ...(platform && {
      platform: {
        os: platform.OS,
        architecture: platform.Architecture,
        ...(platform.Variant !== '' && { variant: platform.Variant }),
        ...(platform.OSVersion !== '' && { osVersion: platform.OSVersion }),
      },
    }),
    logName: (LogName || `resolve image config for ${ref}`).slice(0, MAX_NAME),
    sourcePolicies,
    ...(store && { store }),
  };
}

function statMessage(status: FileStatus): stat.Stat {
  return create(stat.StatSchema, {
    path: status.path,
    mode: goModeOf(status.mode),
    uid: status.uid,
    gid: status.gid,
    size: BigInt(status.sizeBytes),
    modTime: status.modifiedNs,
    linkname: status.linkname ?? '',
  });
}

function kindOfCode(code: number): ReturnType<typeof kindOf> {
  const kinds: Readonly<Record<number, ReturnType<typeof kindOf>>> = {
    3: 'InvalidArgument',
    5: 'NotFound',
    6: 'AlreadyExists',
    7: 'Forbidden',
    12: 'Unsupported',
    14: 'Unavailable',
    16: 'Unauthorized',
  };
  return kinds[code] ?? 'Internal';
}
