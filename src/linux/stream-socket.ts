import { fcntl } from './fcntl.ts';
import { EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';

const calls = {
  poll: libc.func('int poll(void *entries, unsigned long count, int milliseconds)'),
  send: libc.func('intptr_t send(int fd, const void *bytes, size_t size, int flags)'),
  recv: libc.func('intptr_t recv(int fd, void *buffer, size_t size, int flags)'),
};

const F_DUPFD_CLOEXEC = 1030;
const POLLIN = 1;
const POLLOUT = 4;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** How soon an abort is seen by who waits for the other end. */
const LOOK_MS = 250;
const ECANCELED = 125;

/** A second descriptor of the same open file or socket: what is done with the first, its closing too, leaves it alone. */
export function duplicate(fd: number): number {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/**
 * One end of a stream socket, for a thread that has nothing else to do: it waits where the other end is slow, whether or not the
 * descriptor is in non-blocking mode.
 */
export class StreamSocket {
  readonly #fd: number;
  readonly #isAborted: () => boolean;
  readonly #waiting = Buffer.alloc(8);

  /** @param isAborted asked a few times a second while it waits */
  constructor(fd: number, isAborted: () => boolean) {
    this.#fd = fd;
    this.#isAborted = isAborted;
    this.#waiting.writeInt32LE(fd, 0);
  }

  /** @throws {SyscallError} EPIPE, ECONNRESET: the other end is gone; ECANCELED: aborted */
  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const sent = Number(calls.send(this.#fd, bytes.subarray(done), bytes.length - done, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent >= 0) done += sent;
      else this.#wait('send', POLLOUT);
    }
  }

  /**
   * Waits for bytes.
   * @returns how many came; 0 at the end
   * @throws {SyscallError} ECONNRESET: the other end is gone; ECANCELED: aborted
   */
  read(into: Uint8Array): number {
    for (;;) {
      const received = Number(calls.recv(this.#fd, into, into.length, MSG_DONTWAIT));
      if (received >= 0) return received;
      this.#wait('recv', POLLIN);
    }
  }

  #wait(call: string, events: number): void {
    const number = errno();
    if (number === EINTR) return;
    if (number !== EAGAIN) throw new SyscallError(call, number, `descriptor ${this.#fd}`);
    this.#waiting.writeInt32LE(events, 4);
    while (calls.poll(this.#waiting, 1, LOOK_MS) === 0) {
      if (this.#isAborted()) throw new SyscallError(call, ECANCELED, `descriptor ${this.#fd}`);
      this.#waiting.writeInt32LE(events, 4);
    }
  }
}
