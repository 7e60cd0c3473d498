import { type ByteString, cString, quoted } from './byte-string.ts';
import { check, errno, libc, SyscallError } from './ffi.ts';

const calls = {
  lsetxattr: libc.func('int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)'),
  lgetxattr: libc.func('intptr_t lgetxattr(const char *path, const char *name, void *value, size_t size)'),
  flistxattr: libc.func('intptr_t flistxattr(int fd, void *list, size_t size)'),
  llistxattr: libc.func('intptr_t llistxattr(const char *path, void *list, size_t size)'),
  lremovexattr: libc.func('int lremovexattr(const char *path, const char *name)'),
  fsetxattr: libc.func('int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)'),
};

const ENODATA = 61;
const EOPNOTSUPP = 95;
const ERANGE = 34;

/** The kernel's largest value, XATTR_SIZE_MAX, and list, XATTR_LIST_MAX. */
const LARGEST = 65536;

/**
 * A name beneath a directory descriptor as a path. The *xattrat calls are younger than the kernels we run on, and the
 * f*xattr ones cannot reach links and device nodes; the magic link leads to the directory itself, wherever it is.
 */
const pathOf = (dirfd: number, name: ByteString): string | Buffer =>
  cString(`/proc/self/fd/${dirfd}/${name === '' ? '.' : name}`, 'xattr');

const cName = (attribute: ByteString): string | Buffer => cString(attribute, 'xattr');

const about = (attribute: ByteString, name: ByteString): string => `${attribute} of ${quoted(name)}`;

/** Sets an extended attribute of a name itself ('' is the directory), never of what it links to. */
export function setXattrAt(dirfd: number, name: ByteString, attribute: ByteString, value: Uint8Array): void {
  const result = calls.lsetxattr(pathOf(dirfd, name), cName(attribute), value, value.length, 0);
  check(result, 'lsetxattr', about(attribute, name));
}

/** Sets an extended attribute of an open file. */
export function setXattr(fd: number, attribute: ByteString, value: Uint8Array): void {
  check(calls.fsetxattr(fd, cName(attribute), value, value.length, 0), 'fsetxattr', attribute);
}

/** @returns undefined: the file has no such attribute, or its file system has none at all */
export function getXattrAt(dirfd: number, name: ByteString, attribute: ByteString): Buffer | undefined {
  const path = pathOf(dirfd, name);
  for (let size = 256; ; size = LARGEST) {
    const buffer = Buffer.allocUnsafe(size);
    const length = Number(calls.lgetxattr(path, cName(attribute), buffer, size));
    if (length >= 0) return buffer.subarray(0, length);
    const number = errno();
    if (number === ENODATA || number === EOPNOTSUPP) return undefined;
    if (number !== ERANGE || size === LARGEST) throw new SyscallError('lgetxattr', number, about(attribute, name));
  }
}

const list = Buffer.allocUnsafeSlow(LARGEST);

/** Names of the extended attributes, sorted. */
export function listXattrsAt(dirfd: number, name: ByteString): ByteString[] {
  return listed(calls.llistxattr(pathOf(dirfd, name), list, list.length), quoted(name));
}

/** The same of an open file, for which no path is walked. */
export const listXattrs = (fd: number): ByteString[] =>
  listed(calls.flistxattr(fd, list, list.length), `descriptor ${fd}`);

function listed(result: number | bigint, what: string): ByteString[] {
  const length = Number(result);
  if (length === 0) return [];
  if (length < 0) {
    const number = errno();
    if (number === EOPNOTSUPP) return [];
    throw new SyscallError('listxattr', number, what);
  }
  return list
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort();
}

/** Removes an attribute; no error when there is none. */
export function removeXattrAt(dirfd: number, name: ByteString, attribute: ByteString): void {
  if (calls.lremovexattr(pathOf(dirfd, name), cName(attribute)) === 0) return;
  const number = errno();
  if (number !== ENODATA) throw new SyscallError('lremovexattr', number, about(attribute, name));
}
