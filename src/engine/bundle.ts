import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { unmountIfMounted } from '../linux/index.ts';
import { removeConmonFolder } from '../runtime/index.ts';

/** Where a shareable container's /dev/shm is mounted. */
export const sharedMemoryPath = (bundle: string): string => join(bundle, 'shm');

const boundFolder = (bundle: string): string => join(bundle, 'mounts');

/** Where a part of a volume or image is bound for the runtime to find it. */
export const boundPath = (bundle: string, index: number): string => join(boundFolder(bundle), String(index));

/** Removes a bundle and what is mounted in it. Repeating is safe. */
export function removeBundle(bundle: string): void {
  const bound = boundFolder(bundle);
  if (existsSync(bound)) for (const name of readdirSync(bound)) unmountIfMounted(join(bound, name));
  if (existsSync(sharedMemoryPath(bundle))) unmountIfMounted(sharedMemoryPath(bundle));
  removeConmonFolder(bundle);
}
