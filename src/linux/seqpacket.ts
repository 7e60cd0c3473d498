import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import type { OnReadOpts, Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC, O_PATH } from './files.ts';
import { streamOver, unixAddress, unixSocket } from './unix-socket.ts';

const connect = libc.func('int connect(int fd, const void *address, unsigned int length)');

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
    const fd = unixSocket('seqpacket');
    try {
      await connectRetrying(fd, unixAddress(`/proc/self/fd/${directory}/${basename(path)}`), path);
      return streamOver(fd, { onread }).stream;
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
 * Whether a client of some Unix socket with this name, in whatever folder, still waits to be accepted.
 *
 * @see Linux net/unix/af_unix.c, unix_seq_show: who waits has the listener's path and no inode
 */
export function hasWaitingClients(name: string): boolean {
  return readFileSync('/proc/net/unix', 'latin1')
    .split('\n')
    .some((line) => line.endsWith(`/${name}`) && line.split(/ +/)[6] === '0');
}
