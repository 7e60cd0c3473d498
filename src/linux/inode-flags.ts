import { check, libc } from './ffi.ts';

const ioctl = libc.func('int ioctl(int fd, unsigned long request, _Inout_ int *argument)');

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_TOPDIR_FL = 0x00020000;

/**
 * Tells the file system that the folders in a folder have nothing to do with each other, so that ext4 spreads them over
 * the disk's block groups (chattr's `T`). Others take the flag without using it, or refuse it.
 *
 * @throws {SyscallError} ENOTTY, EOPNOTSUPP: the file system has no such flag
 * @see FS_IOC_SETFLAGS(2const)
 */
export function spreadSubfolders(fd: number): void {
  // The kernel reads and writes an int, whatever the request's number says of a long.
  const flags = [0];
  check(ioctl(fd, FS_IOC_GETFLAGS, flags), 'ioctl', 'FS_IOC_GETFLAGS');
  if (((flags[0] ?? 0) & FS_TOPDIR_FL) !== 0) return;
  check(ioctl(fd, FS_IOC_SETFLAGS, [(flags[0] ?? 0) | FS_TOPDIR_FL]), 'ioctl', 'FS_IOC_SETFLAGS');
}
