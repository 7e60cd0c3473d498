import { closeSync, constants, openSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { fcntl } from './fcntl.ts';
import { check, EAGAIN, EINTR, errno, libc, SyscallError } from './ffi.ts';
import { O_CLOEXEC, O_PATH, OpenFile } from './files.ts';
import { streamOver, unixAddress, unixSocket } from './unix-socket.ts';

const calls = {
  bind: libc.func('int bind(int fd, const void *address, unsigned int length)'),
  listen: libc.func('int listen(int fd, int backlog)'),
  accept4: libc.func('int accept4(int fd, void *address, void *length, int flags)'),
  recvmsg: libc.func('intptr_t recvmsg(int fd, void *message, int flags)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
};

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const F_SETFL = 4;
const O_RDWR_NONBLOCK = 0o4002;
const TIOCSWINSZ = 0x5414;
const LOOK_MS = 2;

/** A socket on which an OCI runtime hands over the terminal that it made for a container (`--console-socket`). */
export class ConsoleSocket implements Disposable {
  /** For the runtime. Leads to the file in however long a folder, as long as this is open. */
  readonly path: string;
  readonly #file: string;
  readonly #folder: number;
  readonly #listener: number;

  /** @param file made here, in a folder of ours alone; removed by disposing */
  constructor(file: string) {
    this.#file = file;
    rmSync(file, { force: true });
    using opened = new DisposableStack();
    this.#folder = openSync(dirname(file), O_PATH | constants.O_DIRECTORY | O_CLOEXEC);
    opened.use(new OpenFile(this.#folder));
    this.#listener = unixSocket('stream');
    opened.use(new OpenFile(this.#listener));
    const address = unixAddress(`/proc/self/fd/${this.#folder}/${basename(file)}`);
    check(calls.bind(this.#listener, address, address.length), 'bind', file);
    check(calls.listen(this.#listener, 1), 'listen', file);
    this.path = `/proc/${process.pid}/fd/${this.#folder}/${basename(file)}`;
    opened.move();
  }

  /**
   * Waits for the terminal's master side.
   * @param given fires when none will come any more
   * @returns its descriptor, the caller's to close; undefined: none came
   */
  async receive(given: AbortSignal): Promise<number | undefined> {
    const wait = async (attempt: () => number): Promise<number | undefined> => {
      for (;;) {
        const result = attempt();
        if (result !== -1) return result;
        const number = errno();
        if (number !== EAGAIN && number !== EINTR) throw new SyscallError('recvmsg', number, this.#file);
        if (given.aborted) return undefined;
        await sleep(LOOK_MS);
      }
    };
    const peer = await wait(() => calls.accept4(this.#listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (peer === undefined) return undefined;
    using _peer = new OpenFile(peer);
    const message = new DescriptorMessage();
    const size = await wait(() => Number(calls.recvmsg(peer, message.header, MSG_CMSG_CLOEXEC)));
    return size === undefined ? undefined : message.descriptor();
  }

  [Symbol.dispose](): void {
    closeSync(this.#listener);
    closeSync(this.#folder);
    rmSync(this.#file, { force: true });
  }
}

/** Room for a message with one descriptor (recvmsg(2), cmsg(3), unix(7)), as every 64-bit Linux lays it out. */
class DescriptorMessage {
  readonly header = Buffer.alloc(56);
  readonly #vector = Buffer.alloc(16);
  readonly #text = Buffer.alloc(4096);
  readonly #control = Buffer.alloc(24);

  constructor() {
    this.#vector.writeBigUInt64LE(koffi.address(this.#text), 0);
    this.#vector.writeBigUInt64LE(BigInt(this.#text.length), 8);
    this.header.writeBigUInt64LE(koffi.address(this.#vector), 16);
    this.header.writeBigUInt64LE(1n, 24);
    this.header.writeBigUInt64LE(koffi.address(this.#control), 32);
    this.header.writeBigUInt64LE(BigInt(this.#control.length), 40);
  }

  /** @returns undefined: the message brought none */
  descriptor(): number | undefined {
    if (this.header.readBigUInt64LE(40) < 20n) return undefined;
    const [level, type] = [this.#control.readInt32LE(8), this.#control.readInt32LE(12)];
    return level === SOL_SOCKET && type === SCM_RIGHTS ? this.#control.readInt32LE(16) : undefined;
  }
}

/**
 * A terminal's master side as a stream, which owns the descriptor; destroy it instead of ending it. It fails with EIO when the last
 * program on the other side has ended.
 *
 * @returns also the descriptor that it has now
 */
export function terminalStream(master: number): { stream: Socket; fd: number } {
  using _given = new OpenFile(master);
  fcntl(master, F_SETFL, O_RDWR_NONBLOCK);
  return streamOver(master);
}

/** Tells a terminal its size; its programs get SIGWINCH. */
export function setTerminalSize(fd: number, rows: number, columns: number): void {
  const size = Buffer.from(new Uint16Array([rows, columns, 0, 0]).buffer);
  check(calls.ioctl(fd, TIOCSWINSZ, size), 'ioctl', 'TIOCSWINSZ');
}
