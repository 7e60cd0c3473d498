import { type ByteString, cString as c, quoted } from './byte-string.ts';
import { EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC } from './files.ts';
import { resolveInRoot } from './resolve-in-root.ts';

/** openat2's RESOLVE_ flags (man openat2). */
export const RESOLVE_NO_XDEV = 0x01n;
const RESOLVE_NO_MAGICLINKS = 0x02n;
export const RESOLVE_NO_SYMLINKS = 0x04n;
export const RESOLVE_BENEATH = 0x08n;
export const RESOLVE_IN_ROOT = 0x10n;

const openat2 = libc.func('syscall', 'long', ['long', 'int', 'const char *', 'void *', 'size_t']);
const SYS_openat2 = 437;
const KERNEL_ATTEMPTS = 64;

// One buffer serves all: a thread runs one call at a time.
const how = new BigUint64Array(3);

/**
 * openat2(2), always close-on-exec and never through magic links.
 *
 * @param resolve RESOLVE_IN_ROOT treats `dirfd` as `/` for absolute paths, links and `..`; RESOLVE_BENEATH refuses
 *   (EXDEV) what would leave it
 */
export function openAt2(dirfd: number, path: ByteString, flags: number, resolve = RESOLVE_IN_ROOT, mode = 0): number {
  const name = c(path, 'openat2');
  how[0] = BigInt(flags | O_CLOEXEC);
  how[1] = BigInt(mode);
  how[2] = resolve | RESOLVE_NO_MAGICLINKS;
  for (let attempt = 0; ; attempt += 1) {
    const fd = Number(openat2(SYS_openat2, dirfd, name, how, 24));
    if (fd >= 0) return fd;
    const number = errno();
    // EAGAIN: a rename or mount raced with the resolution of `..`; the kernel asks for a retry.
    if (number === EINTR || (number === EAGAIN && attempt < KERNEL_ATTEMPTS)) continue;
    if (number === EAGAIN && resolve === RESOLVE_IN_ROOT) return resolveInRoot(dirfd, path, flags, mode);
    throw new SyscallError('openat2', number, quoted(path));
  }
}
