import type { StepLimits } from './executor/step-spec.ts';
import type { VertexProgress } from './progress.ts';
import type { BuildSession } from './session.ts';
import type { Tree } from './tree.ts';

/** By what one input takes part in the cache key of a vertex. */
export interface CacheDependency {
  /** The part of the input that matters, for keys by definition; undefined: all of it. */
  selector?: string;
  /**
   * The digest of what the vertex uses of the input's tree: another tree with the same content then gives the same key. Undefined: the
   * input counts by its own keys alone.
   */
  contentDigest?(tree: Tree, context: OperationContext): Promise<string>;
}

/** What a source resolved to, as provenance tells it. */
export interface SourceMaterial {
  kind: 'image' | 'oci-layout' | 'git' | 'http' | 'local';
  /** The reference, address or name of a folder, without credentials. */
  ref: string;
  /** `sha256:…` of the manifest or index, or of the file; the commit. */
  digest?: string;
  /** `linux/amd64`, of an image. */
  platform?: string;
}

/** By what the results of a vertex are known. */
export interface CacheMap {
  /** Of everything that decides the results, but for the inputs; for a source: of what it resolved to. */
  digest: string;
  /** Of a source: further digests by which others may know the same. */
  alternatives?: readonly string[];
  /** One for each input, in order. */
  dependencies: readonly CacheDependency[];
  /** Of a source. */
  material?: SourceMaterial;
}

/** What an operation has while it works for one or several builds that share it. */
export interface OperationContext {
  /** Fires once no build wants the result any more. */
  signal: AbortSignal;
  progress: VertexProgress;
  /** Sessions of the builds that want it; any of them may serve, the first is asked first. */
  sessions(): readonly BuildSession[];
  /** What a build that wants it was allowed: `network.host`, `security.insecure`, `device`. */
  allows(entitlement: string): boolean;
  /** What a command may use; of the first build that says so. */
  limits?(): StepLimits | undefined;
  /** Whether a build wants to look into what a failed command leaves: its error has the trees then. */
  keepsFailures?(): boolean;
}

/** What a vertex does. It keeps nothing between builds but what its files say. */
export interface Operation {
  /** How the record is listed: `regular`, `source.local`, `source.git.checkout`, `exec.cachemount`, `frontend`, `internal`. */
  readonly recordType: string;
  /** For lists of the cache; one line. */
  readonly description: string;
  /** Resolves what is needed for the key (a tag, a commit), and no more. */
  cacheMap(context: OperationContext): Promise<CacheMap>;
  /**
   * Makes the results: one tree for each output. New layers among them are nobody's until the solver has recorded them.
   * @param inputs trees of the inputs, in order
   */
  run(inputs: readonly Tree[], context: OperationContext): Promise<readonly Tree[]>;
  /**
   * For a source whose tree depends on the build that asks (a client's folder): the result is used in this build and never recorded, and
   * held until the build ends.
   */
  readonly isEphemeral?: boolean;
  /**
   * Secrets or agents of clients have a part in it. Its key does not say all of where they go (an address, a proxy), so it is done together
   * only for builds of one caller that ask for the very same.
   */
  readonly usesSecrets?: boolean;
}
