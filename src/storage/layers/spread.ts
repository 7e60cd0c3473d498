import {
  AT_FDCWD,
  O_DIRECTORY,
  OpenFile,
  openAt,
  SyscallError,
  spreadSubfolders,
  toByteString,
} from '../../linux/index.ts';

/**
 * Has the folders in a folder lie apart on the disk. Layers and snapshots come and go by ten thousands of files; without a journal, ext4
 * steps over every inode that was freed in the last minutes, one by one, when it looks for a free one (fs/ext4/ialloc.c,
 * recently_deleted): unpacking in the block group of layers just removed took forty times as long, filling a snapshot ten times. A
 * group of its own for each spares that, and costs nothing elsewhere.
 */
export function spread(directory: string): void {
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
  try {
    spreadSubfolders(folder.fd);
  } catch (error) {
    // A file system without such flags has no such groups.
    if (!(error instanceof SyscallError)) throw error;
  }
}
