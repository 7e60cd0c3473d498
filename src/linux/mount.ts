import { openSync, readFileSync } from 'node:fs';
import { cString, toByteString } from './byte-string.ts';
import { check, errno, libc, SyscallError } from './ffi.ts';

const calls = {
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  unshare: libc.func('int unshare(int flags)'),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  statvfs: libc.func('int statvfs(const char *path, void *buffer)'),
  fsopen: libc.func('syscall', 'long', ['long', 'const char *', 'uint32_t']),
  fsconfig: libc.func('syscall', 'long', ['long', 'int', 'uint32_t', 'const char *', 'const char *', 'int']),
  fsmount: libc.func('syscall', 'long', ['long', 'int', 'uint32_t', 'uint32_t']),
  openTree: libc.func('syscall', 'long', ['long', 'int', 'const char *', 'uint32_t']),
  moveMount: libc.func('syscall', 'long', ['long', 'int', 'const char *', 'int', 'const char *', 'uint32_t']),
  mountSetattr: libc.func('syscall', 'long', ['long', 'int', 'const char *', 'uint32_t', 'void *', 'size_t']),
};

// The new mount API has the same numbers on every architecture.
const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_fsmount = 432;
const SYS_mount_setattr = 442;

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_SYNCHRONOUS = 16;
export const MS_REMOUNT = 32;
export const MS_MANDLOCK = 64;
export const MS_DIRSYNC = 128;
export const MS_NOATIME = 1024;
export const MS_NODIRATIME = 2048;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_UNBINDABLE = 1 << 17;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;
export const MS_RELATIME = 1 << 21;
export const MS_STRICTATIME = 1 << 24;
export const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const text = (value: string, syscall: string): string | Buffer => cString(toByteString(value), syscall);

/** mount(2). Paths are ordinary text; `type` and `data` may be '' where the flags need none. */
export function mount(source: string, target: string, type: string, flags: number, data = ''): void {
  const result = calls.mount(
    text(source, 'mount'),
    text(target, 'mount'),
    type,
    flags,
    data === '' ? null : text(data, 'mount'),
  );
  check(result, 'mount', `${type} at ${target}`);
}

// struct statvfs of every 64-bit glibc: eleven words first, and f_flag is the tenth.
const vfsStatus = new BigUint64Array(16);
const F_FLAG = 9;
const restrictions: readonly (readonly [flag: bigint, option: string])[] = [
  [1n, 'ro'],
  [2n, 'nosuid'],
  [4n, 'nodev'],
  [8n, 'noexec'],
];

/** What the mount that a path lies on forbids, as mount options: `ro`, `nosuid`, `nodev`, `noexec`. */
export function mountRestrictions(path: string): string[] {
  check(calls.statvfs(text(path, 'statvfs'), vfsStatus), 'statvfs', path);
  return restrictions.filter(([flag]) => (vfsStatus[F_FLAG]! & flag) !== 0n).map(([, option]) => option);
}

/** umount2(2), never through a link. @param flags MNT_DETACH: out of sight now, gone with its last user */
export function unmount(target: string, flags = 0): void {
  check(calls.umount2(text(target, 'umount2'), flags | UMOUNT_NOFOLLOW), 'umount2', target);
}

/** Unmounts if something is mounted there; lazily when it is busy. @returns whether something was */
export function unmountIfMounted(target: string): boolean {
  for (const flags of [0, MNT_DETACH]) {
    if (calls.umount2(text(target, 'umount2'), flags | UMOUNT_NOFOLLOW) === 0) return true;
    const number = errno();
    const error = new SyscallError('umount2', number, target);
    if (error.code === 'EINVAL' || error.code === 'ENOENT') return false;
    if (error.code !== 'EBUSY') throw error;
  }
  return true;
}

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;

const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;

/** A file system being configured (fsopen(2)). Values may be set several times, as overlay's `lowerdir+` wants. */
export class FileSystemContext {
  readonly #fd: number;
  readonly #type: string;
  constructor(type: string) {
    this.#type = type;
    this.#fd = Number(calls.fsopen(SYS_fsopen, type, 1));
    check(this.#fd, 'fsopen', type);
  }

  /** The descriptor, for the caller to close. */
  get fd(): number {
    return this.#fd;
  }

  flag(key: string): void {
    this.#configure(FSCONFIG_SET_FLAG, key, null);
  }

  /** @param value at most 255 bytes */
  set(key: string, value: string): void {
    this.#configure(FSCONFIG_SET_STRING, key, text(value, 'fsconfig'));
  }

  /** Makes the file system and a mount of it. @returns a descriptor of the mount, attached nowhere yet */
  create(): number {
    this.#configure(FSCONFIG_CMD_CREATE, null, null);
    const fd = Number(calls.fsmount(SYS_fsmount, this.#fd, 1, 0));
    return check(fd, 'fsmount', this.#type);
  }

  #configure(command: number, key: string | null, value: string | Buffer | null): void {
    const result = Number(calls.fsconfig(SYS_fsconfig, this.#fd, command, key, value, 0));
    if (result === -1) throw new SyscallError('fsconfig', errno(), `${this.#type} ${key ?? 'create'}${this.#log()}`);
  }

  /** What the kernel says of the failure: the context's descriptor reads as a log. */
  #log(): string {
    try {
      const log = readFileSync(this.#fd, 'utf8').trim();
      return log === '' ? '' : ` (${log})`;
    } catch {
      return '';
    }
  }
}

/** Attaches a mount made by `FileSystemContext.create` or `openTree` at a path. */
export function attachMount(mountFd: number, target: string): void {
  const MOVE_MOUNT_F_EMPTY_PATH = 4;
  const to = text(target, 'move_mount');
  const result = calls.moveMount(SYS_move_mount, mountFd, '', AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
  check(Number(result), 'move_mount', target);
}

/** A detached copy of the mount at a path (open_tree(2) with OPEN_TREE_CLONE). @returns its descriptor */
export function openTree(path: string, options: { recursive?: boolean } = {}): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (options.recursive ? AT_RECURSIVE : 0);
  return check(Number(calls.openTree(SYS_open_tree, AT_FDCWD, text(path, 'open_tree'), flags)), 'open_tree', path);
}

export const MOUNT_ATTR_RDONLY = 1n;
export const MOUNT_ATTR_NOSUID = 2n;
export const MOUNT_ATTR_NODEV = 4n;

/** mount_setattr(2) on a mount's descriptor. */
export function setMountAttributes(
  mountFd: number,
  change: { set?: bigint; clear?: bigint; propagation?: number },
  options: { recursive?: boolean } = {},
): void {
  const attributes = new BigUint64Array([change.set ?? 0n, change.clear ?? 0n, BigInt(change.propagation ?? 0), 0n]);
  const flags = AT_EMPTY_PATH | (options.recursive ? AT_RECURSIVE : 0);
  const result = calls.mountSetattr(SYS_mount_setattr, mountFd, '', flags, attributes, 32);
  check(Number(result), 'mount_setattr', `descriptor ${mountFd}`);
}

/**
 * Gives the calling thread alone a mount namespace of its own, whose changes no other process sees. There is no way
 * back: for threads that end soon. @returns a descriptor that keeps the namespace when the thread ends
 */
export function unshareMountNamespace(): number {
  const [CLONE_FS, CLONE_NEWNS] = [0x200, 0x20000];
  check(calls.unshare(CLONE_FS | CLONE_NEWNS), 'unshare', 'mount namespace');
  mount('none', '/', '', MS_REC | MS_PRIVATE);
  return openSync('/proc/thread-self/ns/mnt', 'r');
}
