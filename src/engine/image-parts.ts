import type { Downloads, Reference, Registries, RemoteDocument, RepositoryReader } from '../image/index.ts';
import type { Database, Locks } from '../state/index.ts';
import type { ContentStore, Descriptor, LayerStore } from '../storage/index.ts';

/** A container as the images see it. */
export interface ImageUser {
  id: string;
  name: string;
  /** It runs, paused or not. */
  isRunning: boolean;
}

/** What the use-cases of images work with. */
export interface ImageParts {
  db: Database;
  locks: Locks;
  content: ContentStore;
  layers: LayerStore;
  /** Registries as they are configured. The client is loaded with the first call: most commands need none. */
  registries(): Promise<Registries>;
  downloads: Downloads;
  /**
   * Asks the policy for signatures about what a pull found, the root document first.
   * @returns documents in the store that speak for it @throws {TareError} Forbidden
   */
  checkPull?(
    source: RepositoryReader,
    reference: Reference,
    documents: readonly RemoteDocument[],
  ): Promise<Descriptor[]>;
  /** Containers made from an image. Called inside of transactions, so it reads the records and nothing else. */
  containersUsing(imageID: string): ImageUser[];
  /** Milliseconds since the epoch. */
  now(): number;
}
