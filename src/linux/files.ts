import { close, closeSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { type ByteString, cString as c, quoted } from './byte-string.ts';
import { check, EINTR, errno, libc, SyscallError } from './ffi.ts';

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_DIRECTORY = process.arch === 'arm64' ? 0o40000 : 0o200000;
export const O_NOFOLLOW = process.arch === 'arm64' ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

export const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;

const calls = {
  openat: libc.func('int openat(int fd, const char *path, int flags, uint32_t mode)'),
  mkdirat: libc.func('int mkdirat(int fd, const char *path, uint32_t mode)'),
  mknodat: libc.func('int mknodat(int fd, const char *path, uint32_t mode, uint64_t device)'),
  symlinkat: libc.func('int symlinkat(const char *target, int fd, const char *path)'),
  linkat: libc.func('int linkat(int fromFd, const char *from, int toFd, const char *to, int flags)'),
  unlinkat: libc.func('int unlinkat(int fd, const char *path, int flags)'),
  renameat2: libc.func('syscall', 'long', ['long', 'int', 'const char *', 'int', 'const char *', 'uint32_t']),
  fchownat: libc.func('int fchownat(int fd, const char *path, uint32_t uid, uint32_t gid, int flags)'),
  fchown: libc.func('int fchown(int fd, uint32_t uid, uint32_t gid)'),
  fchmodat: libc.func('int fchmodat(int fd, const char *path, uint32_t mode, int flags)'),
  fchmod: libc.func('int fchmod(int fd, uint32_t mode)'),
  utimensat: libc.func('int utimensat(int fd, const char *path, void *times, int flags)'),
  futimens: libc.func('int futimens(int fd, void *times)'),
  readlinkat: libc.func('intptr_t readlinkat(int fd, const char *path, void *buffer, size_t size)'),
  ftruncate: libc.func('int ftruncate(int fd, int64_t size)'),
  lseek: libc.func('int64_t lseek(int fd, int64_t offset, int whence)'),
  copyFileRange: libc.func(
    'intptr_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t size, uint32_t flags)',
  ),
  syncFileRange: libc.func('int sync_file_range(int fd, int64_t offset, int64_t size, uint32_t flags)'),
  syncfs: libc.func('int syncfs(int fd)'),
};

/** An open descriptor that closes itself at the end of its scope. */
export class OpenFile implements Disposable, AsyncDisposable {
  readonly fd: number;
  #open = true;
  constructor(fd: number) {
    this.fd = fd;
  }
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
  /** The same in another thread: where the descriptor is the last that holds a mount, closing it may take a second. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    close(this.fd, (error) => (error ? reject(error) : resolve()));
    await promise;
  }
}

/** openat(2), always close-on-exec. The last component may be a link unless O_NOFOLLOW is given. */
export function openAt(dirfd: number, path: ByteString, flags: number, mode = 0o600): number {
  for (;;) {
    const fd = calls.openat(dirfd, c(path, 'openat'), flags | O_CLOEXEC, mode);
    if (fd >= 0) return fd;
    const number = errno();
    if (number !== EINTR) throw new SyscallError('openat', number, quoted(path));
  }
}

export function makeDirectoryAt(dirfd: number, path: ByteString, mode: number): void {
  check(calls.mkdirat(dirfd, c(path, 'mkdirat'), mode), 'mkdirat', quoted(path));
}

/** @param mode file type and permissions @param device as `makeDevice` makes it; 0 for others than devices */
export function makeNodeAt(dirfd: number, path: ByteString, mode: number, device: bigint): void {
  check(calls.mknodat(dirfd, c(path, 'mknodat'), mode, device), 'mknodat', quoted(path));
}

/** Whether the kernel has a device of these numbers: 12 and 20 bits. */
export const isDeviceNumber = (major: number, minor: number): boolean =>
  [major, minor].every((number) => Number.isInteger(number) && number >= 0) && major <= 0xfff && minor <= 0xf_ffff;

/** glibc's makedev. @throws {TareError} InvalidArgument: of what is more, a part would be left out */
export function makeDevice(major: number, minor: number): bigint {
  if (!isDeviceNumber(major, minor)) throw new TareError('InvalidArgument', `there is no device ${major}:${minor}`);
  const [a, b] = [BigInt(major), BigInt(minor)];
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn);
}

export function makeLinkAt(target: ByteString, dirfd: number, path: ByteString): void {
  check(calls.symlinkat(c(target, 'symlinkat'), dirfd, c(path, 'symlinkat')), 'symlinkat', quoted(path));
}

/** A hard link; when `from` is a symbolic link, to the link itself. */
export function hardLinkAt(fromFd: number, from: ByteString, toFd: number, to: ByteString): void {
  check(calls.linkat(fromFd, c(from, 'linkat'), toFd, c(to, 'linkat'), 0), 'linkat', quoted(to));
}

export function unlinkAt(dirfd: number, path: ByteString): void {
  check(calls.unlinkat(dirfd, c(path, 'unlinkat'), 0), 'unlinkat', quoted(path));
}

export function removeDirectoryAt(dirfd: number, path: ByteString): void {
  check(calls.unlinkat(dirfd, c(path, 'unlinkat'), AT_REMOVEDIR), 'rmdir', quoted(path));
}

const SYS_renameat2 = process.arch === 'arm64' ? 276 : 316;

/** renameat2(2). `noReplace`: fail with EEXIST instead of replacing `to`; `exchange`: each takes the other's place, in one step. */
export function renameAt(
  fromFd: number,
  from: ByteString,
  toFd: number,
  to: ByteString,
  options: { noReplace?: boolean; exchange?: boolean } = {},
): void {
  const flags = (options.noReplace ? 1 : 0) | (options.exchange ? 2 : 0);
  const result = calls.renameat2(SYS_renameat2, fromFd, c(from, 'renameat2'), toFd, c(to, 'renameat2'), flags);
  check(Number(result), 'renameat2', quoted(from));
}

/** Changes the owner of a name itself, never of what it links to. */
export function changeOwnerAt(dirfd: number, path: ByteString, uid: number, gid: number): void {
  check(calls.fchownat(dirfd, c(path, 'fchownat'), uid, gid, AT_SYMLINK_NOFOLLOW), 'fchownat', quoted(path));
}

export function changeOwner(fd: number, uid: number, gid: number): void {
  check(calls.fchown(fd, uid, gid), 'fchown', `descriptor ${fd}`);
}

/** Follows a link at the last component: call it only for names known not to be one. */
export function changeModeAt(dirfd: number, path: ByteString, mode: number): void {
  check(calls.fchmodat(dirfd, c(path, 'fchmodat'), mode, 0), 'fchmodat', quoted(path));
}

export function changeMode(fd: number, mode: number): void {
  check(calls.fchmod(fd, mode), 'fchmod', `descriptor ${fd}`);
}

const times = new BigInt64Array(4);

function fillTimes(accessNs: bigint, modifyNs: bigint): BigInt64Array {
  [accessNs, modifyNs].forEach((time, index) => {
    const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    times[2 * index] = (time - nanoseconds) / 1_000_000_000n;
    times[2 * index + 1] = nanoseconds;
  });
  return times;
}

/** Sets the times of a name itself, never of what it links to. Nanoseconds since the epoch, also negative. */
export function changeTimesAt(dirfd: number, path: ByteString, accessNs: bigint, modifyNs: bigint): void {
  const result = calls.utimensat(dirfd, c(path, 'utimensat'), fillTimes(accessNs, modifyNs), AT_SYMLINK_NOFOLLOW);
  check(result, 'utimensat', quoted(path));
}

export function changeTimes(fd: number, accessNs: bigint, modifyNs: bigint): void {
  check(calls.futimens(fd, fillTimes(accessNs, modifyNs)), 'futimens', `descriptor ${fd}`);
}

/** A link's target. `path` may be '' for an O_PATH descriptor of the link itself. */
export function readLinkAt(dirfd: number, path: ByteString): ByteString {
  const buffer = Buffer.allocUnsafe(4096);
  const size = Number(calls.readlinkat(dirfd, c(path, 'readlinkat'), buffer, buffer.length));
  check(size, 'readlinkat', quoted(path));
  return buffer.toString('latin1', 0, size);
}

export function truncate(fd: number, sizeBytes: number): void {
  check(calls.ftruncate(fd, sizeBytes), 'ftruncate', `descriptor ${fd}`);
}

const ENXIO = 6;

/**
 * The next stretch of a file that holds data, for files with holes.
 *
 * @returns undefined: only a hole follows
 */
export function nextData(fd: number, offset: number): { start: number; end: number } | undefined {
  const start = Number(calls.lseek(fd, offset, 3));
  if (start < 0) {
    const number = errno();
    if (number === ENXIO) return undefined;
    throw new SyscallError('lseek', number, `descriptor ${fd}`);
  }
  const end = Number(calls.lseek(fd, start, 4));
  check(end, 'lseek', `descriptor ${fd}`);
  return { start, end };
}

const offsets = new BigInt64Array(2);

/** Copies inside the kernel, sharing blocks where the file system can. @returns bytes copied; 0 at the end */
export function copyFileRange(from: number, fromOffset: number, to: number, toOffset: number, size: number): number {
  offsets[0] = BigInt(fromOffset);
  offsets[1] = BigInt(toOffset);
  const copied = calls.copyFileRange(from, offsets.subarray(0, 1), to, offsets.subarray(1, 2), size, 0);
  return check(Number(copied), 'copy_file_range', `descriptor ${from}`);
}

/**
 * Starts writing a stretch of a file to disk, so that a later fsync has little left to do. Off the main thread: the
 * call itself waits when the disk's queue is full.
 */
export function startWriteback(fd: number, offset: number, sizeBytes: number): Promise<void> {
  const SYNC_FILE_RANGE_WRITE = 2;
  return new Promise((resolve, reject) => {
    // Only a hint: where a file system cannot do it, fsync does all the work.
    const done = (error: Error | null): void => (error ? reject(error) : resolve());
    calls.syncFileRange.async(fd, offset, sizeBytes, SYNC_FILE_RANGE_WRITE, done);
  });
}

/** Waits, off the main thread, until the whole file system of a descriptor is on disk. */
export function syncFileSystem(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    calls.syncfs.async(fd, (error: Error | null, result: number) => {
      if (error) reject(error);
      else if (result === -1) reject(new SyscallError('syncfs', 5, `descriptor ${fd}`));
      else resolve();
    });
  });
}
