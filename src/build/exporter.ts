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

export interface ExportSource {
  parts: readonly ExportedPart[];
  /** The client asked for several platforms, or the frontend gave them: an index is made even of one. */
  isMultiPlatform: boolean;
  /** Documents of the frontend, by key. */
  metadata: ReadonlyMap<string, Uint8Array>;
  /** To be put into the image's config or manifest: the cache inline. */
  inlineCache?: (layers: readonly string[]) => Promise<Uint8Array | undefined>;
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
