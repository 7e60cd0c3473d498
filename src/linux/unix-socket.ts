import { type OnReadOpts, Socket } from 'node:net';
import { check, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC } from './files.ts';

const socket = libc.func('int socket(int domain, int type, int protocol)');
const dup3 = libc.func('int dup3(int from, int to, int flags)');

const AF_UNIX = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const types = { stream: 1, datagram: 2, seqpacket: 5 } as const;
const ENAMETOOLONG = 36;

/** A new unix socket in non-blocking mode. @returns its descriptor, the caller's to close @throws {SyscallError} */
export const unixSocket = (type: keyof typeof types): number =>
  check(socket(AF_UNIX, types[type] | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');

/**
 * struct sockaddr_un: the family, then a path of at most 107 bytes and its zero.
 * @throws {SyscallError} ENAMETOOLONG
 */
export function unixAddress(path: string): Buffer {
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF_UNIX, 0);
  if (address.write(path, 2) !== Buffer.byteLength(path) || Buffer.byteLength(path) > 107) {
    throw new SyscallError('connect', ENAMETOOLONG, path);
  }
  return address;
}

/**
 * A stream over a descriptor that Node's streams read and write well but do not take over, for they do not know its type: a
 * SOCK_SEQPACKET socket, a terminal. So Node is given a stream socket, and the real one is put under its number before libuv has
 * registered it with epoll (which happens when the event loop next runs).
 *
 * @param fd stays the caller's
 * @returns the stream, and the descriptor that it owns
 * @throws {SyscallError}
 */
export function streamOver(fd: number, options: { onread?: OnReadOpts } = {}): { stream: Socket; fd: number } {
  const own = unixSocket('stream');
  const stream = new Socket({ fd: own, readable: true, writable: true, allowHalfOpen: true, ...options });
  try {
    check(dup3(fd, own, O_CLOEXEC), 'dup3');
  } catch (error) {
    stream.destroy();
    throw error;
  }
  return { stream, fd: own };
}
