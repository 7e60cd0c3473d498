import { check, libc } from './ffi.ts';

const getsockopt = libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)');

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: three 32-bit numbers. */
const UCRED_BYTES = 12;

export interface PeerCredentials {
  /** As seen from the reader's PID namespace; 0: not in it. */
  pid: number;
  uid: number;
  gid: number;
}

/**
 * Who connected a unix stream socket, as the kernel noted it when they did (unix(7), SO_PEERCRED).
 * @throws {SyscallError}
 */
export function peerCredentials(fd: number): PeerCredentials {
  const value = Buffer.alloc(UCRED_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED_BYTES);
  check(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length), 'getsockopt', 'SO_PEERCRED');
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}
