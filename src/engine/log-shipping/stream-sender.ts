import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { messageOf, TareError } from '../../errors/index.ts';
import type { CollectorAddress, SyslogOptions } from './options.ts';

const CONNECT_MS = 10_000;

export interface StreamOptions {
  tls?: SyslogOptions['tls'];
  /** 0: as long as it takes */
  writeTimeoutMs?: number;
}

/** A TCP, TLS or unix stream connection to a collector, opened when it is first needed and again after it broke. */
export class StreamSender implements AsyncDisposable {
  readonly #address: CollectorAddress;
  readonly #options: StreamOptions;
  readonly #received: (bytes: Buffer) => void;
  #socket: Socket | undefined;

  /** @param received told of what the collector answers */
  constructor(address: CollectorAddress, options: StreamOptions = {}, received: (bytes: Buffer) => void = () => {}) {
    this.#address = address;
    this.#options = options;
    this.#received = received;
  }

  /** @throws {TareError} Unavailable */
  async connect(): Promise<Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    const timeout = AbortSignal.timeout(CONNECT_MS);
    const socket = await this.#open();
    // Without a listener an error ends the process; those that matter reach whoever writes.
    socket.on('error', () => undefined);
    // A collector that closes has stopped reading: what is written afterwards would be lost without an error.
    socket.on('end', () => socket.destroy());
    socket.on('data', this.#received);
    socket.setKeepAlive(true, 60_000);
    socket.unref();
    try {
      if (socket.connecting) await once(socket, this.#isTls ? 'secureConnect' : 'connect', { signal: timeout });
    } catch (error) {
      socket.destroy();
      throw this.#unavailable(error);
    }
    this.#socket = socket;
    return socket;
  }

  /** Resolves when the kernel has it. @throws {TareError} Unavailable */
  async write(bytes: Uint8Array): Promise<void> {
    const socket = await this.connect();
    const { writeTimeoutMs = 0 } = this.#options;
    await new Promise<void>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const settle = (error?: Error | null) => {
        clearTimeout(timer);
        socket.off('close', closed);
        if (error == null) resolve();
        else {
          socket.destroy();
          reject(this.#unavailable(error));
        }
      };
      const closed = () => settle(new Error('the connection was closed'));
      if (writeTimeoutMs > 0) timer = setTimeout(() => settle(new Error('write: i/o timeout')), writeTimeoutMs);
      socket.once('close', closed);
      socket.write(bytes, settle);
    });
  }

  /** Closes the connection, so that the next write opens another. */
  drop(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  get #isTls(): boolean {
    return this.#address.transport === 'tls';
  }

  async #open(): Promise<Socket> {
    const address = this.#address;
    if ('path' in address) return connectPlain({ path: address.path });
    const { host, port } = address;
    if (!this.#isTls) return connectPlain({ host, port });
    const { connect: connectTls } = await import('node:tls');
    return connectTls({ host, port, servername: host, ...this.#options.tls });
  }

  #unavailable(error: unknown): TareError {
    const address = this.#address;
    const text =
      'path' in address
        ? `dial unix ${address.path}`
        : `dial ${address.transport === 'tls' ? 'tcp+tls' : 'tcp'} ${address.host}:${address.port}`;
    return new TareError('Unavailable', `${text}: ${messageOf(error)}`, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined || socket.destroyed) return;
    // What was written leaves the kernel before the connection does.
    const ended = once(socket, 'close', { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
    socket.end();
    socket.ref();
    await ended;
    socket.destroy();
  }
}
