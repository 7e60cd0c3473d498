import { closeSync, readFileSync, writeSync } from 'node:fs';
import { fcntl } from './fcntl.ts';
import { check, libc } from './ffi.ts';

const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const F_SEAL_WRITE = 8;

/**
 * A copy of a file in memory that nobody can change any more, as root neither: all four seals of memfd_create(2). It can be run as
 * `/proc/self/fd/N` by who has it under that number, where the sysctl `vm.memfd_noexec` allows that.
 *
 * @returns its descriptor, which is the caller's to close
 * @throws {SyscallError}
 */
export function sealedCopy(path: string): number {
  const bytes = readFileSync(path);
  const fd = check(memfdCreate(path.slice(path.lastIndexOf('/') + 1), MFD_CLOEXEC | MFD_ALLOW_SEALING), 'memfd_create');
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, path);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
