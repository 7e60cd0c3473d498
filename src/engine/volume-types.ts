import type { Filters, PruneReport } from './filter-types.ts';

export interface VolumeRecord {
  name: string;
  driver: string;
  mountpoint: string;
  createdMs: number;
  labels: Record<string, string>;
  options: Record<string, string>;
  /** Made for a container without a name of the user's. */
  anonymous: boolean;
}

export interface VolumeView extends VolumeRecord {
  /** -1 when not counted. */
  sizeBytes: number;
  refCount: number;
}

export interface VolumeService {
  create(request: {
    name?: string;
    driver?: string;
    options?: Record<string, string>;
    labels?: Record<string, string>;
  }): Promise<VolumeRecord>;
  inspect(name: string): Promise<VolumeRecord>;
  list(filters?: Filters): Promise<VolumeRecord[]>;
  remove(name: string, options?: { force?: boolean }): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
  usage(): Promise<VolumeView[]>;
  /** All that a volume holds as a tar. @throws {TareError} NotFound */
  export(name: string): AsyncIterable<Uint8Array>;
  /** Unpacks a tar over what a volume holds. @throws {TareError} NotFound; InvalidArgument: the archive, naming the entry */
  import(name: string, tar: AsyncIterable<Uint8Array>): Promise<void>;
}
