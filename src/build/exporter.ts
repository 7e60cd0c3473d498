import type { Descriptor, DiffID, LayerName } from '../storage/index.ts';
import type { Attestation } from './frontend.ts';
import type { VertexProgress } from './progress.ts';
import type { BuildSession } from './session.ts';
import type { Tree } from './tree.ts';

/** One platform's part of what is exported. */
export interface ExportedPart {
  /** `linux/amd64`. */
  platformID: string;
  platform: { os: string; architecture: string; variant?: string; osVersion?: string };
  tree: Tree;
  /** The image's config as the frontend made it (`containerimage.config`), without layers; undefined: none. */
  config?: Uint8Array;
  attestations: readonly Attestation[];
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
