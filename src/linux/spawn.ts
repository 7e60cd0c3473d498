import { check, errno, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC, O_RDWR } from './files.ts';

const posixSpawn = libc.func(
  'int posix_spawn(_Out_ int *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **envp)',
);
const actionsInit = libc.func('int posix_spawn_file_actions_init(void *actions)');
const actionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *actions)');
const actionsDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int from, int to)');
const actionsOpen = libc.func(
  'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
);
const actionsChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)');
const actionsClose = libc.func('int posix_spawn_file_actions_addclose(void *actions, int fd)');
const actionsCloseFrom = libc.func('int posix_spawn_file_actions_addclosefrom_np(void *actions, int fd)');
const attributesInit = libc.func('int posix_spawnattr_init(void *attributes)');
const attributesDestroy = libc.func('int posix_spawnattr_destroy(void *attributes)');
const attributesFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)');
const attributesMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, const void *set)');
const attributesDefault = libc.func('int posix_spawnattr_setsigdefault(void *attributes, const void *set)');
const pipe2 = libc.func('int pipe2(_Out_ int *fds, int flags)');
const waitpid = libc.func('int waitpid(int pid, _Out_ int *status, int options)');

const WNOHANG = 1;
const ECHILD = 10;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

// glibc's opaque structures: 80 and 336 bytes on x86-64; sigset_t is 128.
const ACTIONS_BYTES = 256;
const ATTRIBUTES_BYTES = 1024;
const SIGSET_BYTES = 128;
const NO_SIGNALS = Buffer.alloc(SIGSET_BYTES);
const ALL_SIGNALS = Buffer.alloc(SIGSET_BYTES, 0xff);

export interface SpawnRequest {
  /** Absolute path; no search. */
  path: string;
  /** What it is called as; its path unless given. */
  name?: string;
  /** Without the program's own name. */
  args: readonly string[];
  /** The whole environment, as NAME=VALUE. */
  env: readonly string[];
  /** Our descriptors that become the child's, by the child's number. 0, 1 and 2 are /dev/null when not named; every other is closed. */
  descriptors?: ReadonlyMap<number, number>;
}

/** glibc's spawn functions return the error instead of setting errno. */
const checkReturned = (result: number, call: string, subject?: string): void => {
  if (result !== 0) throw new SyscallError(call, result, subject);
};

/**
 * Starts a program by `posix_spawn`, in a session of its own, with `/` as working folder and default signals. The cost
 * does not grow with our memory, unlike the fork that `node:child_process` does (docs/decisions/spawning.md).
 *
 * The child is ours to reap with `reapProcess`.
 *
 * @throws {SyscallError} also when the program can't be executed (ENOENT, EACCES)
 */
export function spawnProcess(request: SpawnRequest): number {
  const actions = Buffer.alloc(ACTIONS_BYTES);
  const attributes = Buffer.alloc(ATTRIBUTES_BYTES);
  checkReturned(actionsInit(actions), 'posix_spawn_file_actions_init');
  try {
    checkReturned(attributesInit(attributes), 'posix_spawnattr_init');
    try {
      attributesFlags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
      attributesMask(attributes, NO_SIGNALS);
      attributesDefault(attributes, ALL_SIGNALS);
      addDescriptors(actions, request.descriptors ?? new Map());
      checkReturned(actionsChdir(actions, '/'), 'posix_spawn_file_actions_addchdir_np');
      const pid = [0];
      const argv = [request.name ?? request.path, ...request.args, null];
      const result = posixSpawn(pid, request.path, actions, attributes, argv, [...request.env, null]);
      checkReturned(result, 'posix_spawn', request.path);
      return pid[0]!;
    } finally {
      attributesDestroy(attributes);
    }
  } finally {
    actionsDestroy(actions);
  }
}

function addDescriptors(actions: Buffer, descriptors: ReadonlyMap<number, number>): void {
  for (const fd of [0, 1, 2]) {
    if (!descriptors.has(fd)) checkReturned(actionsOpen(actions, fd, '/dev/null', O_RDWR, 0), 'addopen');
  }
  // Through numbers above all sources and targets: a target may be the number of a source still to be moved.
  const parking = Math.max(2, ...descriptors.keys(), ...descriptors.values()) + 1;
  let parked = parking;
  for (const from of descriptors.values()) checkReturned(actionsDup2(actions, from, parked++), 'adddup2');
  parked = parking;
  for (const to of descriptors.keys()) checkReturned(actionsDup2(actions, parked++, to), 'adddup2');
  const highest = Math.max(2, ...descriptors.keys());
  for (let fd = 3; fd < highest; fd++) {
    if (!descriptors.has(fd)) checkReturned(actionsClose(actions, fd), 'addclose');
  }
  checkReturned(actionsCloseFrom(actions, highest + 1), 'addclosefrom');
}

/** A pipe whose ends close on exec. Both are the caller's to close. */
export function openPipe(): { readFd: number; writeFd: number } {
  const fds = [0, 0];
  check(pipe2(fds, O_CLOEXEC), 'pipe2');
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/**
 * Collects a child that has ended, without waiting.
 *
 * @returns exit code, 128 + signal when a signal ended it, 'running', or 'gone' when it is no child of ours (any more)
 */
export function reapProcess(pid: number): number | 'running' | 'gone' {
  const status = [0];
  const reaped = waitpid(pid, status, WNOHANG);
  if (reaped === 0) return 'running';
  if (reaped === -1) {
    if (errno() === ECHILD) return 'gone';
    throw new SyscallError('waitpid', errno(), String(pid));
  }
  const signal = status[0]! & 0x7f;
  return signal === 0 ? (status[0]! >> 8) & 0xff : 128 + signal;
}
