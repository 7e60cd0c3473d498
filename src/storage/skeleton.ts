import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Folders and empty files that lie below every image, so that each container has the places where things are mounted
 * without writing them itself. An image that has them keeps its own. Relative paths, parents first.
 */
export interface Skeleton {
  folders: readonly string[];
  files: readonly string[];
}

/** Makes what is missing of a skeleton, and returns its folder. */
export function makeSkeleton(directory: string, { folders, files }: Skeleton): string {
  // Whatever our umask: these are what the container's own users see.
  for (const folder of ['', ...folders]) {
    mkdirSync(join(directory, folder), { recursive: true });
    chmodSync(join(directory, folder), 0o755);
  }
  for (const file of files) {
    closeSync(openSync(join(directory, file), 'a'));
    chmodSync(join(directory, file), 0o644);
  }
  return directory;
}
