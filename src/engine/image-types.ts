import type { ImageConfigFile } from '../image/index.ts';
import type { Descriptor } from '../storage/index.ts';
import type { Filters } from './filter-types.ts';

export interface ImageRecord {
  /** Digest of the config. */
  id: string;
  repoTags: string[];
  repoDigests: string[];
  manifest: Descriptor;
  config: ImageConfigFile;
  /** Digest of the config of the image that it was committed over, while that is here. */
  parent?: string;
  createdMs: number;
  /** Unpacked size of all layers. */
  sizeBytes: number;
  lastTaggedMs: number;
}

export interface ImageSummary extends Omit<ImageRecord, 'config'> {
  labels: Record<string, string>;
  /** Containers that use it, -1 when not counted. */
  containers: number;
  sharedSizeBytes: number;
}

export interface HistoryEntry {
  id: string;
  createdMs: number;
  createdBy: string;
  tags: string[];
  sizeBytes: number;
  comment: string;
}

/** One line of a progress stream (docker's JSONMessage without its spelling). */
export interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  currentBytes?: number;
  totalBytes?: number;
}

export interface RemovedImage {
  untagged?: string;
  deleted?: string;
}

export interface ImageService {
  /** Makes an image of one layer from a root filesystem's tar, compressed or not. Returns its id. */
  import(
    tar: AsyncIterable<Uint8Array>,
    options: { reference?: string; message?: string; changes?: string[]; platform?: string },
  ): Promise<string>;
  /** Docker archive or OCI layout in a tar (compressed or not). Yields progress, last `Loaded image: …`. */
  load(
    tar: AsyncIterable<Uint8Array>,
    options?: { platform?: string; quiet?: boolean },
  ): AsyncIterable<ProgressMessage>;
  /** The same from an OCI layout folder or unpacked docker archive on this machine. */
  loadDirectory(path: string): AsyncIterable<ProgressMessage>;
  /** A tar that is both a docker archive and an OCI layout. */
  save(refs: string[], options?: { platform?: string }): AsyncIterable<Uint8Array>;
  list(options?: { all?: boolean; filters?: Filters; sharedSize?: boolean }): Promise<ImageSummary[]>;
  /** @throws {TareError} NotFound `No such image: REF` */
  inspect(ref: string): Promise<ImageRecord>;
  history(ref: string): Promise<HistoryEntry[]>;
  tag(ref: string, target: string): Promise<void>;
  remove(ref: string, options?: { force?: boolean; noPrune?: boolean }): Promise<RemovedImage[]>;
  prune(filters?: Filters): Promise<{ removed: RemovedImage[]; spaceReclaimedBytes: number }>;
}
