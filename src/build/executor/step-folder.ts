import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { unmountIfMounted } from '../../linux/index.ts';

/** Where the parts of trees and caches are that a step mounts. */
export const MOUNTS = 'mounts';

/**
 * Removes a step's folder in memory, and first of all what is mounted in it: behind a mount lie others' files.
 * Repeating is safe.
 */
export function removeStepFolder(directory: string): void {
  for (const folder of [join(directory, MOUNTS), directory]) {
    for (const name of existsSync(folder) ? readdirSync(folder) : []) while (unmountIfMounted(join(folder, name)));
  }
  rmSync(directory, { recursive: true, force: true });
}
