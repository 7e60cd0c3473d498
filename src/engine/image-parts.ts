import type { Database, Locks } from '../state/index.ts';
import type { ContentStore, LayerStore } from '../storage/index.ts';

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
  /** Containers made from an image. Called inside of transactions, so it reads the records and nothing else. */
  containersUsing(imageID: string): ImageUser[];
  /** Milliseconds since the epoch. */
  now(): number;
}
