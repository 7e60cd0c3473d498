import { readSync } from 'node:fs';

/** Fills `target` from `offset` of a file. @returns bytes read, fewer only at the end of the file */
export function readAt(fd: number, target: Buffer, offset: number): number {
  let filled = 0;
  while (filled < target.length) {
    const size = readSync(fd, target, filled, target.length - filled, offset + filled);
    if (size === 0) break;
    filled += size;
  }
  return filled;
}
