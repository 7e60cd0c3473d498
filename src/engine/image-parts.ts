import type { Downloads, Registries } from '../image/index.ts';
import type { Database, Locks } from '../state/index.ts';
import type { ContentStore, LayerStore } from '../storage/index.ts';
import type { ImageTrust } from './image-trust.ts';

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
  /** Blobs that one push sends at once. */
  concurrentUploads: number;
  /** Undefined: every image is trusted. */
  trust?: ImageTrust;
  /** Containers made from an image. Called inside of transactions, so it reads the records and nothing else. */
  containersUsing(imageID: string): ImageUser[];
  /** How many that are, for each image that has any. */
  countContainers(): Map<string, number>;
  /** Milliseconds since the epoch. */
  now(): number;
}
