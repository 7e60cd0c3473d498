import { readSync, writeSync } from 'node:fs';
import {
  type ByteString,
  changeMode,
  changeModeAt,
  changeOwner,
  changeOwnerAt,
  changeTimes,
  changeTimesAt,
  copyFileRange,
  type FileStatus,
  getXattrAt,
  hardLinkAt,
  listXattrsAt,
  makeDevice,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  nextData,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  OpenFile,
  openAt,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  SyscallError,
  setXattr,
  setXattrAt,
  statusOf,
  truncate,
} from '../../linux/index.ts';

/** Bytes copied between two chances to do something else. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** Files up to this size are read and written: that is sooner done than asking the kernel where their holes are. */
const SMALL_BYTES = 64 * 1024;

const small = Buffer.allocUnsafeSlow(SMALL_BYTES);

/** Where files with several names went, by inode, so that they stay one file. */
export type CopiedLinks = Map<string, { fd: number; path: ByteString }>;

const isOverlays = (attribute: ByteString): boolean => /^(trusted|user)\.overlay\./.test(attribute);

/**
 * Copies one entry with owner, mode, attributes, times and holes; a folder without what is in it. Never follows a link.
 *
 * @param links remembers hard links; their paths are relative to `linkRootFd`
 */
export function* copyEntry(
  from: { fd: number; name: ByteString; status: FileStatus },
  to: { fd: number; name: ByteString },
  links: CopiedLinks,
  linkRoot: { fd: number; path: ByteString; space: string },
): Generator<void, void, void> {
  const { status } = from;
  if (status.type === S_IFSOCK) return;
  const key = `${linkRoot.space} ${status.fileSystem} ${status.inode}`;
  if (status.type !== S_IFDIR && status.links > 1) {
    const first = links.get(key);
    if (first !== undefined) {
      hardLinkAt(first.fd, first.path, to.fd, to.name);
      return;
    }
    links.set(key, { fd: linkRoot.fd, path: linkRoot.path });
  }
  if (status.type === S_IFREG) {
    yield* copyFile(from, to, (fd, now) => {
      changeOwner(fd, now.uid, now.gid);
      changeMode(fd, now.mode & 0o7777);
      for (const attribute of listXattrsAt(from.fd, from.name)) {
        const value = isOverlays(attribute) ? undefined : getXattrAt(from.fd, from.name, attribute);
        if (value !== undefined) tolerant(() => setXattr(fd, attribute, value));
      }
      changeTimes(fd, now.accessNs, now.modifyNs);
    });
    return;
  }
  if (status.type === S_IFDIR) makeDirectoryAt(to.fd, to.name, 0o700);
  else if (status.type === S_IFLNK) makeLinkAt(readLinkAt(from.fd, from.name), to.fd, to.name);
  else makeNodeAt(to.fd, to.name, status.type | 0o600, makeDevice(status.deviceMajor, status.deviceMinor));
  copyStatus(from, to, status);
  yield;
}

/** Owner, mode, attributes and times of anything but a regular file. */
export function copyStatus(
  from: { fd: number; name: ByteString },
  to: { fd: number; name: ByteString },
  status: FileStatus,
): void {
  changeOwnerAt(to.fd, to.name, status.uid, status.gid);
  if (status.type !== S_IFLNK) {
    using node = new OpenFile(openAt(to.fd, to.name, O_PATH | O_NOFOLLOW));
    changeModeAt(-1, `/proc/self/fd/${node.fd}`, status.mode & 0o7777);
  }
  for (const key of listXattrsAt(from.fd, from.name)) {
    if (isOverlays(key)) continue;
    const value = getXattrAt(from.fd, from.name, key);
    if (value !== undefined) tolerant(() => setXattrAt(to.fd, to.name, key, value));
  }
  changeTimesAt(to.fd, to.name, status.accessNs, status.modifyNs);
}

/**
 * Makes a file with the content of another, holes of large ones included. Nothing when the name is no regular file any more.
 *
 * @param dress gives the new file, which is open, the rest of its status
 * @param permissions that it is made with, without the process's umask
 */
export function* copyFile(
  from: { fd: number; name: ByteString },
  to: { fd: number; name: ByteString },
  dress: (targetFd: number, status: FileStatus) => void,
  permissions = 0o600,
): Generator<void, void, void> {
  // O_NONBLOCK: should the name have become a FIFO meanwhile, opening it must not wait.
  using source = new OpenFile(openAt(from.fd, from.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const status = statusOf(source.fd);
  if (status.type !== S_IFREG) return;
  using target = new OpenFile(openAt(to.fd, to.name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, permissions));
  if (status.sizeBytes <= SMALL_BYTES) copySmall(source.fd, target.fd, status.sizeBytes);
  else {
    for (let offset = 0; ; ) {
      const data = nextData(source.fd, offset);
      if (data === undefined) break;
      yield* copyData(source.fd, target.fd, data.start, Math.min(data.end, status.sizeBytes));
      offset = data.end;
    }
    truncate(target.fd, status.sizeBytes);
  }
  dress(target.fd, status);
  yield;
}

function copySmall(from: number, to: number, sizeBytes: number): void {
  let offset = 0;
  while (offset < sizeBytes) {
    const read = readSync(from, small, 0, sizeBytes - offset, offset);
    // Shortened while we read it.
    if (read === 0) {
      truncate(to, sizeBytes);
      return;
    }
    for (let done = 0; done < read; ) done += writeSync(to, small, done, read - done, offset + done);
    offset += read;
  }
}

function* copyData(from: number, to: number, start: number, end: number): Generator<void, void, void> {
  let canCopyInKernel = true;
  for (let offset = start; offset < end; ) {
    const size = Math.min(PIECE_BYTES, end - offset);
    let copied = 0;
    if (canCopyInKernel) {
      try {
        copied = copyFileRange(from, offset, to, offset, size);
      } catch (error) {
        if (!(error instanceof SyscallError && /^(EXDEV|EINVAL|ENOSYS|EOPNOTSUPP)$/.test(error.code))) throw error;
        canCopyInKernel = false;
      }
    }
    if (!canCopyInKernel) {
      const buffer = Buffer.allocUnsafe(Math.min(size, 1024 * 1024));
      const read = readSync(from, buffer, 0, buffer.length, offset);
      for (let done = 0; done < read; ) done += writeSync(to, buffer, done, read - done, offset + done);
      copied = read;
    }
    // Shortened while we read it.
    if (copied === 0) return;
    offset += copied;
    yield;
  }
}

/** Attributes that the target's file system cannot hold stay behind. */
function tolerant(set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!(error instanceof SyscallError && /^(EOPNOTSUPP|EPERM)$/.test(error.code))) throw error;
  }
}

export const openFolder = (dirfd: number, name: ByteString): number => openAt(dirfd, name, O_DIRECTORY | O_NOFOLLOW);
