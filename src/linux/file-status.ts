import { type ByteString, cString, quoted } from './byte-string.ts';
import { check, ENOENT, errno, libc, SyscallError } from './ffi.ts';

const statx = libc.func('int statx(int fd, const char *path, int flags, uint32_t mask, void *buffer)');
const getdents = libc.func('syscall', 'long', ['long', 'int', 'void *', 'size_t']);

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const ENOTDIR = 20;
const SYS_getdents64 = process.arch === 'arm64' ? 61 : 217;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** What the kernel says of a file. */
export interface FileStatus {
  /** Type and permissions, as st_mode. */
  mode: number;
  /** `mode & S_IFMT`. */
  type: number;
  links: number;
  uid: number;
  gid: number;
  inode: bigint;
  sizeBytes: number;
  /** Of 512 bytes, whatever the file system's block size. */
  blocks: number;
  accessNs: bigint;
  modifyNs: bigint;
  /** When the inode changed last, which nobody can set. */
  changeNs: bigint;
  /** Of a device node. */
  deviceMajor: number;
  deviceMinor: number;
  /** Of the file system that the file is on. */
  fileSystem: string;
}

const buffer = Buffer.alloc(256);

/** Reads struct statx (man statx). */
function decode(): FileStatus {
  const mode = buffer.readUInt16LE(28);
  return {
    mode,
    type: mode & S_IFMT,
    links: buffer.readUInt32LE(16),
    uid: buffer.readUInt32LE(20),
    gid: buffer.readUInt32LE(24),
    inode: buffer.readBigUInt64LE(32),
    sizeBytes: Number(buffer.readBigUInt64LE(40)),
    blocks: Number(buffer.readBigUInt64LE(48)),
    accessNs: buffer.readBigInt64LE(64) * 1_000_000_000n + BigInt(buffer.readUInt32LE(72)),
    changeNs: buffer.readBigInt64LE(96) * 1_000_000_000n + BigInt(buffer.readUInt32LE(104)),
    modifyNs: buffer.readBigInt64LE(112) * 1_000_000_000n + BigInt(buffer.readUInt32LE(120)),
    deviceMajor: buffer.readUInt32LE(128),
    deviceMinor: buffer.readUInt32LE(132),
    fileSystem: `${buffer.readUInt32LE(136)}:${buffer.readUInt32LE(140)}`,
  };
}

/** The status of a name beneath a directory, of a link itself. */
export function statusAt(dirfd: number, path: ByteString): FileStatus {
  const result = statx(dirfd, cString(path, 'statx'), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer);
  check(result, 'statx', quoted(path));
  return decode();
}

/** The same; undefined: there is no such name, or the path goes through what is no directory. */
export function statusIfAny(dirfd: number, path: ByteString): FileStatus | undefined {
  if (statx(dirfd, cString(path, 'statx'), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer) === 0) return decode();
  const number = errno();
  if (number === ENOENT || number === ENOTDIR) return undefined;
  throw new SyscallError('statx', number, quoted(path));
}

/** The status of an open descriptor, O_PATH ones too. */
export function statusOf(fd: number): FileStatus {
  check(statx(fd, '', AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer), 'statx', `descriptor ${fd}`);
  return decode();
}

/** One name in a directory; the type is S_IFDIR and so on, or 0 where the file system does not say. */
export interface DirectoryEntry {
  name: ByteString;
  type: number;
}

const entryBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * The names in an open directory (opened for reading, not O_PATH), without `.` and `..`, in the file system's order.
 * Reads from the descriptor's position: a fresh descriptor gives them all.
 */
export function readDirectory(fd: number): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (;;) {
    const size = Number(getdents(SYS_getdents64, fd, entryBuffer, entryBuffer.length));
    check(size, 'getdents64', `descriptor ${fd}`);
    if (size === 0) return entries;
    // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
    for (let at = 0; at < size; at += entryBuffer.readUInt16LE(at + 16)) {
      const name = entryBuffer.toString('latin1', at + 19, entryBuffer.indexOf(0, at + 19));
      if (name !== '.' && name !== '..') entries.push({ name, type: (entryBuffer[at + 18] as number) << 12 });
    }
  }
}
