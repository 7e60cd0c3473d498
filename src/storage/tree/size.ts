import { type ByteString, OpenFile, readDirectory, S_IFDIR, SyscallError, statusAt } from '../../linux/index.ts';
import { openFolder } from './copy.ts';

export interface TreeSize {
  /** Of all files, counted once for hard links; folders count nothing (as in Docker). */
  sizeBytes: number;
  inodes: number;
}

/** Adds up what is in an open folder. */
export function* sizeSteps(fd: number): Generator<void, TreeSize, void> {
  const total: TreeSize = { sizeBytes: 0, inodes: 0 };
  yield* add(fd, total, new Set());
  return total;
}

function* add(fd: number, total: TreeSize, seen: Set<string>): Generator<void, void, void> {
  for (const { name } of readDirectory(fd)) {
    yield;
    try {
      const status = statusAt(fd, name);
      if (status.type === S_IFDIR) {
        total.inodes += 1;
        using inner = new OpenFile(openFolder(fd, name));
        yield* add(inner.fd, total, seen);
        continue;
      }
      if (status.links > 1) {
        const key: ByteString = `${status.fileSystem} ${status.inode}`;
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
}
