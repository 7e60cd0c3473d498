import { existsSync, rmSync } from 'node:fs';

const TRIES = 10;

/**
 * Removes a folder in which a conmon may just be ending (a bundle, an exec's folder): it unlinks its attach socket after it
 * has told the exit code. `rmSync` with `force` stops silently when a file goes away under its hands, and the rest stays; it fails when
 * one comes, as a probe's may that was just beginning.
 */
export function removeConmonFolder(directory: string): void {
  for (let tries = 1; tries <= TRIES; tries++) {
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOTEMPTY' || tries === TRIES) throw error;
    }
    if (!existsSync(directory)) return;
  }
}
