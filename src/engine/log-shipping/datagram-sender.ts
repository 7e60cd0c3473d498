import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { messageOf, TareError } from '../../errors/index.ts';
import { isIPv6, UnixDatagramSocket } from '../../linux/index.ts';

/** Sends datagrams, each in order. */
export interface DatagramSender extends AsyncDisposable {
  /** @throws {TareError} Unavailable: no such host or socket */
  connect(): Promise<void>;
  send(datagram: Uint8Array): Promise<void>;
}

/** To a UDP port. Like all UDP, nobody hears of what does not arrive. */
export class UdpSender implements DatagramSender {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  async connect(): Promise<void> {
    if (this.#socket !== undefined) return;
    try {
      const { address } = await lookup(this.#host);
      const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
      using opening = new DisposableStack();
      opening.defer(() => socket.close());
      // "Connection refused" of an earlier datagram is told to a later one: it says nothing of that one.
      socket.on('error', () => undefined);
      socket.unref();
      // No route there, for one. node:dgram tells it to whom its types have for success alone.
      const failure = await new Promise<Error | undefined>((resolve) =>
        socket.connect(this.#port, address, resolve as () => void),
      );
      if (failure) throw failure;
      opening.move();
      this.#socket = socket;
    } catch (error) {
      throw new TareError('Unavailable', `dial udp ${this.#host}:${this.#port}: ${messageOf(error)}`, { cause: error });
    }
  }

  async send(datagram: Uint8Array): Promise<void> {
    await this.connect();
    await new Promise<void>((resolve) => this.#socket?.send(datagram, () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

/** To the first of some unix sockets that listens. */
export class UnixSender implements DatagramSender {
  readonly #paths: readonly string[];
  #socket: UnixDatagramSocket | undefined;

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  async connect(): Promise<void> {
    let failure: unknown;
    for (const path of this.#paths) {
      if (this.#socket !== undefined) return;
      try {
        this.#socket = new UnixDatagramSocket(path);
      } catch (error) {
        failure ??= error;
      }
    }
    if (this.#socket === undefined) throw unavailable(failure);
  }

  async send(datagram: Uint8Array): Promise<void> {
    await this.connect();
    try {
      await this.#socket?.send(datagram);
    } catch (error) {
      this.#socket?.[Symbol.dispose]();
      this.#socket = undefined;
      throw unavailable(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}

const unavailable = (error: unknown) =>
  new TareError('Unavailable', `Unix syslog delivery error: ${messageOf(error)}`, { cause: error });
