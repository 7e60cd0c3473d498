import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC, O_PATH } from './files.ts';
import { streamOver, unixAddress, unixSocket } from './unix-socket.ts';

const connect = libc.func('int connect(int fd, const void *address, unsigned int length)');

const BACKLOG_RETRY_MS = 2;
const BACKLOG_TRIES = 500;

/** Where packets are put, one by one. @see OnReadOpts of node:net, which this is one of */
export interface PacketReader {
  buffer: Uint8Array;
  /** @param bytes how long the packet is that the buffer begins with @returns false: no more for now */
  callback(bytes: number): boolean;
}

/**
 * Connects to a SOCK_SEQPACKET unix socket and gives it as a Node stream: each read is one packet (as long as it fits
 * the buffer of `onread`), each write is one packet. The path may be longer than the 108 bytes of a socket address.
 *
 * Await each write: Node would join queued writes into one packet. What the other end sent before it went is read before the
 * stream's 'error' or 'close', also where packets of ours were left unread there.
 *
 * @throws {SyscallError} ENOENT, ECONNREFUSED: nobody listens
 */
export async function connectSeqpacket(path: string, onread: PacketReader): Promise<Socket> {
  const directory = openSync(dirname(path), O_PATH | constants.O_DIRECTORY | O_CLOEXEC);
  try {
    const fd = unixSocket('seqpacket');
    try {
      await connectRetrying(fd, unixAddress(`/proc/self/fd/${directory}/${basename(path)}`), path);
      const { stream, fd: own } = streamOver(fd, { onread });
      const destroy = stream._destroy.bind(stream);
      stream._destroy = (error, done) => {
        if (error !== null) readRest(own, onread);
        destroy(error, done);
      };
      return stream;
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(directory);
  }
}

/**
 * Reads what came before an end. A seqpacket socket tells that it was reset, once, before it gives the packets that it holds.
 *
 * @see Linux net/core/datagram.c, __skb_try_recv_datagram
 */
function readRest(fd: number, { buffer, callback }: PacketReader): void {
  for (let resets = 0; resets < 2; ) {
    try {
      const bytes = readSync(fd, buffer);
      if (bytes === 0) return;
      callback(bytes);
    } catch (error) {
      if (!isReset(error)) return;
      resets += 1;
    }
  }
}

const isReset = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ECONNRESET';

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
