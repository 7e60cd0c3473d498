import type { Definition, Mount, NetMode, sourcepolicy } from '../protocol/index.ts';
import type { StepContainer } from './executor/step-container.ts';
import type { VertexWarning } from './progress.ts';
import type { Tree } from './tree.ts';

export interface ImageConfigAnswer {
  /** The reference, with what a source policy made of it. */
  ref: string;
  /** Of the manifest or the index. */
  digest: string;
  /** The config document as stored. */
  config: Uint8Array;
}

export interface ImageConfigQuestion {
  /** `default` and `local`: what is stored if it fits, else the registry's word; `pull`: always that. */
  resolveMode: 'default' | 'pull' | 'local';
  platform?: { os: string; architecture: string; variant?: string; osVersion?: string };
  /** Line of the progress under which it is shown. */
  logName: string;
  /** An OCI layout at the client instead of a registry. */
  store?: { sessionID: string; storeID: string };
  /** Beside the build's own. */
  sourcePolicies?: readonly sourcepolicy.Policy[];
}

export interface FileStatus {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  modifiedNs: bigint;
  linkname?: string;
}

/** A result that a frontend may look into, or hand back. Making it costs nothing; looking into it solves it. */
export interface BridgeRef {
  readonly id: string;
  /** What it was asked by; undefined: a result of a nested frontend without one. */
  readonly definition: Definition | undefined;
  /** Solves it and keeps it until the build ends. */
  tree(): Promise<Tree>;
  /** @throws {TareError} NotFound; InvalidArgument: larger than 16 MiB without a range */
  readFile(path: string, range?: { offset: number; length: number }): Promise<Uint8Array>;
  readDirectory(path: string, includePattern?: string): Promise<readonly FileStatus[]>;
  status(path: string): Promise<FileStatus>;
}

/** What a statement about a result says; kinds as in the gateway protocol. */
export interface Attestation {
  kind: 'in-toto' | 'bundle';
  /** Where the document, or the folder of documents, lies. */
  ref?: BridgeRef;
  path: string;
  metadata: Readonly<Record<string, Uint8Array>>;
  inToto?: {
    predicateType: string;
    subjects: readonly { kind: 'self' | 'raw'; name: string; digests: readonly string[] }[];
  };
}

/** What a build results in: one tree, or one for each platform, and documents beside them (`containerimage.config`, `refs.platforms` …). */
export interface FrontendResult {
  ref?: BridgeRef | undefined;
  /** By platform id, when there are several. */
  refs: ReadonlyMap<string, BridgeRef | undefined>;
  metadata: ReadonlyMap<string, Uint8Array>;
  attestations: ReadonlyMap<string, readonly Attestation[]>;
}

export interface BridgeSolveRequest {
  definition?: Definition;
  frontend?: string;
  frontendOptions?: Readonly<Record<string, string>>;
  frontendInputs?: ReadonlyMap<string, Definition>;
  cacheImports?: readonly { type: string; attributes: Readonly<Record<string, string>> }[];
  /** Solve it before answering. */
  evaluate?: boolean;
  /** For the sources of the definition, beside the build's own. */
  sourcePolicies?: readonly sourcepolicy.Policy[];
}

/** A container for commands that a frontend runs by itself: nothing becomes of what they write. */
export interface FrontendContainerRequest {
  mounts: readonly { mount: Mount; ref?: BridgeRef | undefined }[];
  network: NetMode;
  /** Of its programs, as Go calls it; '' for the host's. */
  architecture: string;
}

/** What a frontend can ask of the builder while it works. */
export interface FrontendBridge {
  /** `filename`, `target`, `build-arg:NAME`, `platform`, `context:NAME` … as the client gave them. */
  readonly options: Readonly<Record<string, string>>;
  /** Parts of other builds handed in by name. */
  readonly inputs: ReadonlyMap<string, Definition>;
  readonly sessionID: string;
  /** Where commands run without a word about it. */
  readonly platforms: readonly { os: string; architecture: string; variant?: string }[];
  readonly signal: AbortSignal;
  resolveImageConfig(ref: string, question: ImageConfigQuestion): Promise<ImageConfigAnswer>;
  solve(request: BridgeSolveRequest): Promise<FrontendResult>;
  warn(warning: VertexWarning): void;
  /** From now on errors of commands have the files that these left. */
  keepFailures(): void;
  /** A result for a tree that is there already. */
  refOf(tree: Tree): BridgeRef;
  /** It ends with the build at the latest. @throws {TareError} Forbidden, InvalidArgument, NotFound: its mounts; Unsupported */
  openContainer(request: FrontendContainerRequest): Promise<StepContainer>;
}

export type Frontend = (bridge: FrontendBridge) => Promise<FrontendResult>;
