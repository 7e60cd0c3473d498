import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { type OnReadOpts, Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { unixAddress } from './unix-address.ts';

const socket = libc.func('int socket(int domain, int type, int protocol)');
const connect = libc.func('int connect(int fd, const void *address, unsigned int length)');
const dup3 = libc.func('int dup3(int from, int to, int flags)');

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const BACKLOG_RETRY_MS = 2;
const BACKLOG_TRIES = 500;

/**
 * Connects to a SOCK_SEQPACKET unix socket and gives it as a Node stream: each read is one packet (as long as it fits
 * the buffer of `onread`), each write is one packet. The path may be longer than the 108 bytes of a socket address.
 *
 * Await each write: Node would join queued writes into one packet.
 *
 * @throws {SyscallError} ENOENT, ECONNREFUSED: nobody listens
 */
export async function connectSeqpacket(path: string, onread: OnReadOpts): Promise<Socket> {
  const directory = openSync(dirname(path), O_PATH | constants.O_DIRECTORY | O_CLOEXEC);
  try {
    const fd = check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
    try {
      await connectRetrying(fd, unixAddress(`/proc/self/fd/${directory}/${basename(path)}`), path);
      return streamOf(fd, onread);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(directory);
  }
}

async function connectRetrying(fd: number, address: Buffer, path: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    if (connect(fd, address, address.length) === 0) return;
    const number = errno();
    // EAGAIN: the listener's backlog is full, and a unix socket has no event for "there is room".
    if ((number !== EAGAIN && number !== EINTR) || tries === BACKLOG_TRIES) {
      throw new SyscallError('connect', number, path);
    }
    await sleep(BACKLOG_RETRY_MS);
  }
}

/**
 * Node takes over only descriptors whose type it knows, and SOCK_SEQPACKET is not among them, though its streams read
 * and write one well. So Node is given a stream socket, and the real one is put under its number before libuv has
 * registered it with epoll (which happens when the event loop next runs).
 */
function streamOf(fd: number, onread: OnReadOpts): Socket {
  const number = check(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  const stream = new Socket({ fd: number, readable: true, writable: true, allowHalfOpen: true, onread });
  try {
    check(dup3(fd, number, O_CLOEXEC), 'dup3');
  } catch (error) {
    stream.destroy();
    throw error;
  }
  return stream;
}

/**
 * Whether a client of some Unix socket with this name, in whatever folder, still waits to be accepted.
 *
 * @see Linux net/unix/af_unix.c, unix_seq_show: who waits has the listener's path and no inode
 */
export function hasWaitingClients(name: string): boolean {
  return readFileSync('/proc/net/unix', 'latin1')
    .split('\n')
    .some((line) => line.endsWith(`/${name}`) && line.split(/ +/)[6] === '0');
}
