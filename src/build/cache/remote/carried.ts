import type { Descriptor, DiffID, LayerName } from '../../../storage/index.ts';
import type { OperationContext } from '../../operation.ts';
import type { Tree } from '../../tree.ts';

/** A record of the cache that stands at an input of another. */
export interface CarriedInput {
  /** Position in the list of records. */
  record: number;
  /** The part of it that counts; empty: all. */
  selector: string;
}

/**
 * A record of the cache as it goes from one builder to another: what BuildKit's `cacheconfig.v0` has. Inputs come before
 * what they are inputs of.
 */
export interface CarriedRecord<Result> {
  /** `sha256:` of `DIGEST@OUTPUT`: the key of the vertex and the position of its output. */
  digest: string;
  /** For each input the records that may stand there, any of them. None: a source, or a content's digest. */
  inputs: readonly (readonly CarriedInput[])[];
  /** None: it only leads to others. */
  results: readonly Result[];
}

/** A tree of this builder's. */
export interface LocalResult {
  layers: readonly LayerName[];
  createdMs: number;
}

/** A layer where it lies elsewhere. */
export interface RemoteLayer {
  diffID: DiffID;
  descriptor: Descriptor;
  /** When it was made, and by which step; undefined: nobody says. */
  createdMs?: number | undefined;
  description?: string | undefined;
}

/** A tree that lies elsewhere until it is loaded. */
export interface RemoteResult {
  layers: readonly RemoteLayer[];
  createdMs: number;
}

/** A tree of another builder's cache, which this one has not loaded: it is carried on as it is. */
export interface ForeignResult extends RemoteResult {
  cache: ImportedCache;
}

/** What a record of this builder's may result in. */
export type CarriedResult = LocalResult | ForeignResult;

/** A cache of another builder, its records read and checked, its layers left where they are. */
export interface ImportedCache {
  /** For progress: `registry:example.com/app:cache`. */
  readonly name: string;
  readonly records: readonly CarriedRecord<RemoteResult>[];
  /** A layer's blob, from where it lies. */
  blob(descriptor: Descriptor, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Brings a result's layers into the stores, those that are missing side by side.
   * @throws {TareError} NotFound, Unavailable: they can't be had; then the step is run
   */
  load(result: RemoteResult, context: Pick<OperationContext, 'signal' | 'progress'>): Promise<Tree>;
}
