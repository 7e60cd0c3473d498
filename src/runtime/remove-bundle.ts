import { existsSync, rmSync } from 'node:fs';

const TRIES = 10;

/**
 * Removes a bundle, or an exec's folder, whose conmon may just be ending: it unlinks its attach socket after it has told
 * the exit code. `rmSync` stops, with `force` even silently, when a file goes away under its hands.
 */
export function removeBundle(directory: string): void {
  for (let tries = 1; tries <= TRIES; tries++) {
    rmSync(directory, { recursive: true, force: true });
    if (!existsSync(directory)) return;
  }
}
