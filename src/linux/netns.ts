import { closeSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { check, ENOENT, errno, libc, SyscallError } from './ffi.ts';

const unshare = libc.func('int unshare(int flags)');
const setns = libc.func('int setns(int fd, int type)');
const mountCall = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
const umount2 = libc.func('int umount2(const char *target, int flags)');

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 0x1000;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const EINVAL = 22;

const CURRENT = '/proc/thread-self/ns/net';

/** Whether the window of {@link withNamespace} is open. */
let inside = false;

/**
 * Runs a synchronous function with the calling thread in another network namespace.
 *
 * A thread born inside the window would stay in that namespace for good, so the function must do nothing that starts
 * one: no asynchronous file or name look-up calls, no workers, no child processes; and the caller has warmed libuv's
 * pool before. If the way back fails the process aborts: going on would apply the host's changes to a container.
 *
 * @param namespace an open descriptor of the namespace
 * @throws {SyscallError} the namespace cannot be entered; and what `body` throws
 */
export function withNamespace<T>(namespace: number, body: () => T): T {
  return excursion(() => void check(setns(namespace, CLONE_NEWNET), 'setns', `network namespace ${namespace}`), body);
}

/** The same in the namespace of a file: a bind mount, or /proc/PID/ns/net. */
export function withNamespaceAt<T>(path: string, body: () => T): T {
  const fd = openSync(path, 'r');
  try {
    return withNamespace(fd, body);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a network namespace, keeps it by a bind mount on a new file at `path`, and runs `body` inside it once.
 * On failure nothing is left.
 */
export function createNetworkNamespace(path: string, body: () => void): void {
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
  let mounted = false;
  try {
    excursion(
      () => void check(unshare(CLONE_NEWNET), 'unshare', 'network namespace'),
      () => {
        check(mountCall(CURRENT, path, null, MS_BIND, null), 'mount', path);
        mounted = true;
        body();
      },
    );
  } catch (error) {
    if (mounted) umount2(path, MNT_DETACH);
    rmSync(path, { force: true });
    throw error;
  }
}

/**
 * Makes a network namespace, keeps it by a bind mount on a new file at `path`, and moves the calling thread there for good: from the
 * host's network, which an ordinary user cannot go back to. On failure the thread is nowhere it could go on: the process is to end.
 */
export function moveToNewNamespace(path: string, body: () => void): void {
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
  check(unshare(CLONE_NEWNET), 'unshare', 'network namespace');
  body();
  // Last: who sees the mount may take the namespace for ready.
  check(mountCall(CURRENT, path, null, MS_BIND, null), 'mount', path);
}

/** Moves the calling thread to the namespace of a file for good; threads born from now on are there, those that are stay. */
export function moveToNamespace(path: string): void {
  const fd = openSync(path, 'r');
  try {
    check(setns(fd, CLONE_NEWNET), 'setns', path);
  } finally {
    closeSync(fd);
  }
}

/** Unmounts and removes a namespace's file. Repeating is safe; the kernel drops the namespace with its last user. */
export function removeNetworkNamespace(path: string): void {
  // More than one mount can lie on the file when a creator died between its steps and a second one came.
  while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) === 0);
  const number = errno();
  if (number !== EINVAL && number !== ENOENT) throw new SyscallError('umount', number, path);
  rmSync(path, { force: true });
}

/** A namespace's identity: two paths (or the calling thread, by default) in one namespace give the same text. */
export function networkNamespaceId(path: string = CURRENT): string {
  const { dev, ino } = statSync(path);
  return `${dev}:${ino}`;
}

function excursion<T>(go: () => void, body: () => T): T {
  if (inside) throw new Error('a network namespace is entered from inside another: this would lose the way back');
  const home = openSync(CURRENT, 'r');
  try {
    inside = true;
    go();
    try {
      return body();
    } finally {
      if (setns(home, CLONE_NEWNET) !== 0) process.abort();
    }
  } finally {
    inside = false;
    closeSync(home);
  }
}
