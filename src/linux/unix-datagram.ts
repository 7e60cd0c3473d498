import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { unixAddress, unixSocket } from './unix-socket.ts';

const connect = libc.func('int connect(int fd, const void *address, unsigned int length)');
const send = libc.func('long send(int fd, const void *buffer, size_t length, int flags)');

const MSG_NOSIGNAL = 0x4000;
const FULL_RETRY_MS = 5;
const FULL_TRIES = 400;

/** A SOCK_DGRAM unix socket connected to the one at a path. Node.js has none. */
export class UnixDatagramSocket implements Disposable {
  readonly #path: string;
  #fd: number | undefined;

  /** @throws {SyscallError} ENOENT, ECONNREFUSED: nobody listens; EPROTOTYPE: a stream socket; ENAMETOOLONG */
  constructor(path: string) {
    this.#path = path;
    const address = unixAddress(path);
    const fd = unixSocket('datagram');
    if (connect(fd, address, address.length) !== 0) {
      const number = errno();
      closeSync(fd);
      throw new SyscallError('connect', number, path);
    }
    this.#fd = fd;
  }

  /**
   * Waits up to two seconds for a receiver whose queue is full.
   * @throws {SyscallError} ECONNREFUSED: the receiver is gone; EMSGSIZE; EAGAIN: its queue stays full
   */
  async send(datagram: Uint8Array): Promise<void> {
    for (let tries = 1; ; tries++) {
      if (this.#fd === undefined) throw new SyscallError('send', 9, this.#path);
      if (send(this.#fd, datagram, datagram.length, MSG_NOSIGNAL) >= 0) return;
      const number = errno();
      if ((number !== EAGAIN && number !== EINTR) || tries === FULL_TRIES)
        throw new SyscallError('send', number, this.#path);
      await sleep(FULL_RETRY_MS);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
