import { readDirectory, S_IFDIR, SyscallError, statusAt } from '../../linux/index.ts';
import { Descent } from './descent.ts';

export interface TreeSize {
  /** Of all files, counted once for hard links; folders count nothing (as in Docker). */
  sizeBytes: number;
  inodes: number;
}

/** Adds up what is in an open folder, however deep. */
export function* sizeSteps(fd: number): Generator<void, TreeSize, void> {
  const total: TreeSize = { sizeBytes: 0, inodes: 0 };
  const seen = new Set<string>();
  using descent = new Descent(fd);
  const frames = [readDirectory(fd)];
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const entry = frame.pop();
    if (entry === undefined) {
      frames.pop();
      if (frames.length > 0) descent.leave();
      continue;
    }
    yield;
    try {
      const status = statusAt(descent.fd, entry.name);
      if (status.type === S_IFDIR) {
        total.inodes += 1;
        descent.enter(entry.name);
        frames.push(readDirectory(descent.fd));
        continue;
      }
      if (status.links > 1) {
        const key = `${status.fileSystem} ${status.inode}`;
        if (seen.has(key)) continue;
        seen.add(key);
      }
      total.inodes += 1;
      total.sizeBytes += status.sizeBytes;
    } catch (error) {
      // Removed or replaced while we look.
      if (!(error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code))) throw error;
    }
  }
  return total;
}
