import type { Descriptor, DiffID, Digest, LayerName } from '../storage/index.ts';
import type { Attestation } from './frontend.ts';
import type { VertexProgress } from './progress.ts';
import type { BuildSession } from './session.ts';
import type { Tree } from './tree.ts';

/** What an exporter made of a part, for what is said about it. */
export interface ExportedForm {
  /** When it counts as made. */
  createdMs: number;
  /** Of an image. */
  image?: {
    name: string;
    manifest: Digest;
    config: Digest;
    /** Base first, with the blobs that it has them as. */
    layers: readonly { name: LayerName; diffID: DiffID; descriptor: Descriptor }[];
  };
}

/** An in-toto statement that is to be made about a part. */
export interface PartAttestation {
  predicateType: string;
  /** Name of its document, where it stands beside files. */
  path: string;
  /** Said in images alone. */
  isInlineOnly: boolean;
  /** Empty: the part itself. */
  subjects: NonNullable<Attestation['inToto']>['subjects'];
  /** Asked once for each export. @throws {TareError} InvalidArgument: its document is no JSON object, or too large */
  predicate(form: ExportedForm): Promise<object>;
}

/** One platform's part of what is exported. */
export interface ExportedPart {
  /** `linux/amd64`. */
  platformID: string;
  platform: { os: string; architecture: string; variant?: string; osVersion?: string };
  tree: Tree;
  /** The image's config as the frontend made it (`containerimage.config`), without layers; undefined: none. */
  config?: Uint8Array;
  attestations: readonly PartAttestation[];
}

/** What is known of a layer's making, for the history of an image. */
export interface LayerFacts {
  createdMs: number;
  /** The step, in one line. */
  description: string;
}

export interface ExportSource {
  parts: readonly ExportedPart[];
  /** The client asked for several platforms, or the frontend gave them: an index is made even of one. */
  isMultiPlatform: boolean;
  /** Documents of the frontend, by key. */
  metadata: ReadonlyMap<string, Uint8Array>;
  /** Of layers that this builder made; a cached step's layer has the time of its first making, so that nothing done again gives the same image. */
  layerFacts?(layer: LayerName): LayerFacts | undefined;
  /**
   * To be put into the image's config: the cache inline.
   * @param layers of the image, base first, with the blobs that it has them as
   */
  inlineCache?(
    layers: readonly { name: LayerName; diffID: DiffID; descriptor: Descriptor }[],
  ): Promise<Uint8Array | undefined>;
}

export interface ExportContext {
  /** Position among the exporters of the build, as the client names it to its session. */
  exporterID: string;
  attributes: Readonly<Record<string, string>>;
  session: BuildSession;
  progress: VertexProgress;
  signal: AbortSignal;
}

/** Makes something of a result. @returns what the client is told (`containerimage.digest` …) */
export type Exporter = (source: ExportSource, context: ExportContext) => Promise<Readonly<Record<string, string>>>;
