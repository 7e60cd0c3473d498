import { check, libc } from './ffi.ts';

const call = libc.func('int fcntl(int fd, int command, int argument)');

/** fcntl(2), of the commands whose argument is a number. @throws {SyscallError} */
export const fcntl = (fd: number, command: number, argument: number, subject = `descriptor ${fd}`): number =>
  check(call(fd, command, argument), 'fcntl', subject);
