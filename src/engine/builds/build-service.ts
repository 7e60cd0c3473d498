import type {
  BuildHistory,
  BuildPlatform,
  BuildRequest,
  BuildResult,
  BuildSession,
  CachePrune,
  CacheUsage,
  FailedCommand,
  ProgressSink,
} from '../../build/index.ts';
import type { BuildOptions } from './build-options.ts';
import type { InstructionSink } from './instruction-events.ts';
import type { FromOptions, WorkingContainer, WorkingContainerView } from './working/working-types.ts';

/** What a build gave. */
export interface BuildOutcome {
  /** The image's id, when an image was made. */
  imageID?: string;
  /** Of its manifest, or of the index. */
  digest?: string;
  /** Everything that exporters told: `containerimage.digest`, `image.name` … */
  exporterResponse: Readonly<Record<string, string>>;
  /** How each result was made (SLSA), of several platforms by name. None: who built it does not tell here. */
  provenance?: readonly { platform?: string; predicate: object }[];
  /** To a question: `frontend.lint` and others. */
  answer?: BuildAnswer;
}

/** A frontend's answer to a question. */
export interface BuildAnswer {
  /** For people. */
  text: string;
  /** The same as a document. */
  json: string;
  /** An exit code: not 0 when checks found something that is to fail. */
  status: number;
}

/** Who builds, as clients of BuildKit list it. */
export interface BuildWorker {
  /** The engine's. */
  id: string;
  platforms: readonly BuildPlatform[];
  /** The host's address on the network of builds; undefined: it has none there. */
  hostAddress?: string;
}

export interface BuildWatch {
  progress?: ProgressSink;
  signal?: AbortSignal;
  /** Names the build; unique. */
  ref?: string;
  /** Of a client elsewhere, in place of this process's own. */
  session?: BuildSession;
  /** A command failed: runs others where it did, before the build gives up. */
  onFailure?: (failed: FailedCommand) => Promise<void>;
}

/** Building images. */
export interface BuildService {
  /** Builds with folders, secrets and outputs of this process. @throws {TareError} what failed, with its place in a file where there is one */
  build(options: BuildOptions, watch?: BuildWatch): Promise<BuildOutcome>;
  /** As `build`, told instruction by instruction. Nothing was told before an error: it is about the request or the file as a whole. */
  buildByInstruction(options: BuildOptions, tell: InstructionSink, signal: AbortSignal): Promise<BuildOutcome>;
  /** A build in the builder's own words, with a session of the caller's. */
  solve(request: BuildRequest, progress: ProgressSink, signal: AbortSignal): Promise<BuildResult>;
  /**
   * Makes a working container: an image in the making, changed step by step without a Dockerfile.
   * @param ref an image, or `scratch`
   * @throws {TareError} NotFound: the image; AlreadyExists: the name
   */
  from(ref: string, options?: FromOptions): Promise<WorkingContainer>;
  /** @param ref name, id, or unique beginning of an id @throws {TareError} NotFound */
  workingContainer(ref: string): Promise<WorkingContainer>;
  /** Newest first. */
  workingContainers(): Promise<WorkingContainerView[]>;
  /** What the cache holds. @param filters as in `CachePrune` */
  usage(filters?: readonly string[]): Promise<readonly CacheUsage[]>;
  /** Forgets what of the cache nobody uses now, oldest first, and tells of each. At the end there is an event. */
  prune(request: CachePrune): AsyncIterable<CacheUsage>;
  /** By which rules the cache is pruned by itself; none: it is not. */
  policy(): Promise<readonly CachePrune[]>;
  worker(): Promise<BuildWorker>;
  /** Builds that run and builds that are over, with what was said of them. */
  history(): Promise<BuildHistory>;
}
