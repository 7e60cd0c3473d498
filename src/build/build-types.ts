import type { Definition, sourcepolicy } from '../protocol/index.ts';
import type { LayerName } from '../storage/index.ts';
import type { RunningStep } from './executor/step-container.ts';
import type { StepLimits } from './executor/step-spec.ts';
import type { FrontendBridge, FrontendResult } from './frontend.ts';
import type { BuildHistory } from './history/history-types.ts';
import type { ProgressSink } from './progress.ts';
import type { BuildSession } from './session.ts';
import type { CopyInto, RunIn } from './snapshots/snapshot-types.ts';

/** An exporter or a cache with its options, as a client spells them. */
export interface TypedOptions {
  type: string;
  attributes: Readonly<Record<string, string>>;
}

/** One build. */
export interface BuildRequest {
  /** Names the build; the client's choice, unique among those that run. */
  ref: string;
  /** What to solve: a definition, or a frontend with its options, unless `drive` gives the result. */
  definition?: Definition;
  /** `dockerfile.v0`, `gateway.v0`. */
  frontend?: string;
  frontendOptions?: Readonly<Record<string, string>>;
  frontendInputs?: ReadonlyMap<string, Definition>;
  /** A client that is its own frontend (buildx): asks over the bridge, and gives the result at its end. */
  drive?: (bridge: FrontendBridge) => Promise<FrontendResult>;
  /** `image`, `moby`, `oci`, `docker`, `local`, `tar`; none: the cache is filled, and nothing else. */
  exporters: readonly TypedOptions[];
  cacheExports: readonly TypedOptions[];
  cacheImports: readonly TypedOptions[];
  /** `network.host`, `security.insecure`, `device=…`. */
  entitlements: readonly string[];
  /** What each of its commands may use. */
  limits?: StepLimits;
  /** What the client says of sources. */
  sourcePolicies?: readonly sourcepolicy.Policy[];
  /**
   * Asked about each source, by its identifier (`docker-image://…`), as policies left it, and about each cache that is read.
   * @throws {TareError} Forbidden
   */
  mayUse?: (identifier: string) => void;
  /** A command failed, and what it left is there until this is settled: for a look at it. */
  onFailure?: (failed: FailedCommand) => Promise<void>;
  /** Not listed in the history. */
  isInternal?: boolean;
  session: BuildSession;
}

/** A command that failed a build. */
export interface FailedCommand {
  /** What the build is going to say. */
  error: unknown;
  /** Its words. */
  args: readonly string[];
  /**
   * Runs another one on the files that it left, with its mounts, variables, secrets, folder, user and network. The next one runs on what
   * the former left.
   * @throws {TareError} CommandNotFound, NotExecutable: there is no such program; what its mounts need and the client no longer gives
   */
  start(args: readonly string[], how: { terminal: boolean }): Promise<RunningStep>;
}

export interface BuildResult {
  /** What exporters tell: `containerimage.digest`, `image.name` … */
  exporterResponse: Readonly<Record<string, string>>;
  /** Documents of the frontend, by key: of a question, `result.txt`, `result.json`, `result.statuscode`. */
  metadata: ReadonlyMap<string, Uint8Array>;
  /** How each result was made, by platform id. */
  provenance: ReadonlyMap<string, ResultProvenance>;
  /** Results are told by platform, also when there is one. */
  isMultiPlatform: boolean;
}

/** How a result was made, in SLSA's words; the document is written when it is asked for. */
export interface ResultProvenance {
  /** `https://slsa.dev/provenance/v1` */
  predicateType: string;
  /** @param mode `min`: without what the user said, and without the graph */
  predicate(mode: 'min' | 'max'): object;
}

/** A line of the cache's list. */
export interface CacheUsage {
  id: string;
  parents: readonly string[];
  recordType: string;
  description: string;
  sizeBytes: number;
  createdMs: number;
  lastUsedMs: number | undefined;
  usageCount: number;
  isMutable: boolean;
  isInUse: boolean;
  /** An image needs its layers too. */
  isShared: boolean;
}

export interface CachePrune {
  /** `until=24h`, `type=exec.cachemount`, `id~=…`, `inuse`, `private`, `shared`, as BuildKit's client sends them. */
  filters: readonly string[];
  /** Also what images share, and internal records. */
  all: boolean;
  keepDurationMs?: number;
  reservedSpaceBytes?: number;
  maxUsedSpaceBytes?: number;
  minFreeSpaceBytes?: number;
}

/** A platform that commands of builds run on. */
export interface BuildPlatform {
  os: string;
  architecture: string;
  variant?: string;
}

/** What builds are made with. */
export interface Builder extends AsyncDisposable {
  /** Builds of this engine that run, and that are over. */
  readonly history: BuildHistory;
  /** The host's own first, then those that it emulates. */
  platforms(): readonly BuildPlatform[];
  /**
   * Runs a build to its end. Disposing the builder, the signal or the session's end cancels it.
   * @throws {TareError} with the failed step's name, command, line and exit code where there is one
   */
  build(request: BuildRequest, progress: ProgressSink, signal: AbortSignal): Promise<BuildResult>;
  /** Layers that builds which run now use. */
  layersInUse(): ReadonlySet<LayerName>;
  /** Copies files into a snapshot of the caller's. @throws {TareError} as `copyInto` */
  copyInto(request: CopyInto, progress: ProgressSink, signal: AbortSignal): Promise<void>;
  /** Runs a command in a snapshot of the caller's, and gives its exit code. @throws {TareError} as `runIn` */
  runIn(request: RunIn, progress: ProgressSink, signal: AbortSignal): Promise<number>;
}
