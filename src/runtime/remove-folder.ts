import { existsSync, rmSync } from 'node:fs';

const TRIES = 10;

/**
 * Removes a folder in which a conmon may just be ending (a bundle, an exec's folder): it unlinks its attach socket after it
 * has told the exit code. `rmSync` with `force` stops silently when a file goes away under its hands, and the rest stays.
 */
export function removeConmonFolder(directory: string): void {
  for (let tries = 1; tries <= TRIES; tries++) {
    rmSync(directory, { recursive: true, force: true });
    if (!existsSync(directory)) return;
  }
}
