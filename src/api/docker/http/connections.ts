import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Caller } from '../../../engine/index.ts';
import { Gate } from './gate.ts';
import type { Listener } from './listen.ts';

/** Who is at the other end of a connected unix socket. */
export type PeerOf = (socket: Socket) => Caller | undefined;

interface Connection {
  caller: Caller | undefined;
  door: Door;
}

/** What guards a listener; a connection has it as it is now, not as it was. */
interface Door {
  gate: Gate | undefined;
}

/** What is known of each connection for as long as it is open. */
export class Connections {
  readonly #known = new WeakMap<Socket, Connection>();
  readonly #doors: Door[] = [];
  readonly #peerOf: PeerOf | undefined;

  constructor(peerOf?: PeerOf) {
    this.#peerOf = peerOf;
  }

  /** What takes note of connections that come through a listener. */
  through(listener: Listener): (socket: Socket) => void {
    const door = { gate: gateOf(listener) };
    this.#doors.push(door);
    return (socket) => this.#known.set(socket, { door, caller: this.#callerOf(socket) });
  }

  /** Names and origins are those of these listeners from now on, which are in the order of before. */
  renew(listeners: readonly Listener[]): void {
    for (const [index, door] of this.#doors.entries()) door.gate = gateOf(listeners[index]!);
  }

  /** @returns undefined: not known, as with no way to ask */
  callerOf(request: IncomingMessage): Caller | undefined {
    return this.#known.get(request.socket)?.caller;
  }

  /** @returns why the request is refused; undefined: it may come in */
  refusal(request: IncomingMessage): string | undefined {
    return this.#known.get(request.socket)?.door.gate?.refusal(request);
  }

  #callerOf(socket: Socket): Caller | undefined {
    const address = socket.remoteAddress;
    if (address !== undefined) {
      const certificate = isSecure(socket) && socket.authorized ? socket.getPeerCertificate() : undefined;
      if (certificate?.subject === undefined) return { kind: 'address', address };
      const { CN } = certificate.subject;
      const name = [CN ?? []].flat().join(' ');
      return { kind: 'certificate', name, subject: formatSubject(certificate.subject), address };
    }
    return this.#peerOf?.(socket);
  }
}

const gateOf = (listener: Listener): Gate | undefined => ('port' in listener ? new Gate(listener) : undefined);

const isSecure = (socket: Socket): socket is TLSSocket => 'encrypted' in socket;

/** `CN=ci,O=example` */
const formatSubject = (subject: object): string =>
  Object.entries(subject)
    .flatMap(([key, value]) => [value].flat().map((each) => `${key}=${each}`))
    .join(',');
