import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from '../linux/index.ts';
import { datagramSocketFor } from './client-address.ts';

/** Clients of one port at a time; beyond it the one that was silent the longest gives way. */
const MAX_SESSIONS = 1024;
/** As conntrack does with a UDP flow that was answered, roughly. */
const IDLE_MS = 90_000;
/** Datagrams kept while the socket to the container is being made. */
const MAX_WAITING = 16;
/** What may wait for a socket that does not take more: UDP may lose, and memory stays flat. */
const MAX_QUEUED_BYTES = 1 << 20;

export interface DatagramTarget {
  address: string;
  port: number;
}

/**
 * Carries datagrams from a bound port of this host to a container, and its answers back to the client that asked.
 *
 * @param fd a bound socket, taken over
 * @param listensOn the address it is bound to
 */
export function proxyDatagrams(fd: number, listensOn: string, target: DatagramTarget): Disposable {
  const server = createSocket(isIPv6(listensOn) ? 'udp6' : 'udp4');
  // Insertion order is order of last use.
  const sessions = new Map<string, Session>();
  const end = (key: string): void => {
    sessions.get(key)?.close();
    sessions.delete(key);
  };
  server.on('message', (datagram, { address, port }) => {
    const key = `${address} ${port}`;
    const answerTo = (answer: Buffer) => reply(server, answer, port, address);
    const session = sessions.get(key) ?? new Session({ address, port }, target, answerTo);
    sessions.delete(key);
    sessions.set(key, session);
    const [oldest] = sessions.keys();
    if (sessions.size > MAX_SESSIONS && oldest !== undefined) end(oldest);
    session.send(datagram);
  });
  // What fails here is one datagram.
  server.on('error', () => {});
  server.bind({ fd });
  const sweep = setInterval(() => {
    const before = performance.now() - IDLE_MS;
    for (const [key, session] of sessions) if (session.usedMs < before) end(key);
  }, IDLE_MS / 4).unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(sweep);
      for (const key of [...sessions.keys()]) end(key);
      server.close();
    },
  };
}

function reply(server: Socket, answer: Buffer, port: number, address: string): void {
  if (server.getSendQueueSize() < MAX_QUEUED_BYTES) server.send(answer, port, address);
}

/** One client's way to the container: a socket connected to it, so that nobody else's datagrams come back by it. */
class Session {
  usedMs = performance.now();
  readonly #socket: Socket;
  #waiting: Buffer[] | undefined = [];

  constructor(client: DatagramTarget, target: DatagramTarget, answer: (datagram: Buffer) => void) {
    this.#socket = datagramSocketFor(client, target);
    // The container refuses, or is gone: the client asks again, or not.
    this.#socket.on('error', () => {});
    this.#socket.on('message', (datagram) => {
      this.usedMs = performance.now();
      answer(datagram);
    });
    this.#socket.on('connect', () => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      for (const datagram of waiting) this.#socket.send(datagram);
    });
    this.#socket.connect(target.port, target.address);
  }

  send(datagram: Buffer): void {
    this.usedMs = performance.now();
    if (this.#waiting === undefined) {
      if (this.#socket.getSendQueueSize() < MAX_QUEUED_BYTES) this.#socket.send(datagram);
    } else if (this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(datagram);
    }
  }

  close(): void {
    this.#socket.close();
  }
}
