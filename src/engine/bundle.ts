import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { unmountIfMounted } from '../linux/index.ts';
import { removeConmonFolder } from '../runtime/index.ts';

/** Where a shareable container's /dev/shm is mounted. */
export const sharedMemoryPath = (bundle: string): string => join(bundle, 'shm');

/** Removes a bundle and what is mounted in it. Repeating is safe. */
export function removeBundle(bundle: string): void {
  if (existsSync(sharedMemoryPath(bundle))) unmountIfMounted(sharedMemoryPath(bundle));
  removeConmonFolder(bundle);
}
