import { createServer, type Server, type Socket } from 'node:net';
import type { Responder } from './name-server.ts';

/** Of all who ask at one address. */
const MAX_CONNECTIONS = 512;
const MAX_CONNECTIONS_OF_ONE = 32;
/** Questions of one connection that are being worked on; more wait in its socket. */
const MAX_PIPELINED = 16;
const IDLE_MS = 10_000;

/**
 * Serves names by TCP (RFC 7766): many questions a connection, answered as they are ready.
 * @param fd a bound socket, not yet listening; it is the server's from now on
 * @param options.isForOne only one container can ask, from whatever address
 */
export function serveStream(
  fd: number,
  respond: Responder,
  onError: (error: Error) => void,
  { isForOne = false }: { isForOne?: boolean } = {},
): Disposable {
  const maxConnections = isForOne ? MAX_CONNECTIONS_OF_ONE : MAX_CONNECTIONS;
  const connections = new Set<Socket>();
  const ofOne = new Map<string, number>();
  const server: Server = createServer((socket) => {
    const source = socket.remoteAddress ?? '';
    const own = ofOne.get(source) ?? 0;
    if (connections.size >= maxConnections || own >= MAX_CONNECTIONS_OF_ONE) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    ofOne.set(source, own + 1);
    socket.on('error', () => {}); // followed by close
    socket.on('close', () => {
      connections.delete(socket);
      const left = (ofOne.get(source) ?? 1) - 1;
      if (left > 0) ofOne.set(source, left);
      else ofOne.delete(source);
    });
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    converse(socket, source, respond);
  });
  server.on('error', onError);
  server.listen({ fd });
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
}

/** Reads length-prefixed messages, and reads on only as fast as their answers leave. */
function converse(socket: Socket, source: string, respond: Responder): void {
  let pending: Buffer = Buffer.alloc(0);
  let underway = 0;
  let isFull = false;
  const answer = async (message: Buffer): Promise<void> => {
    const reply = await respond(message, source, 'tcp');
    underway -= 1;
    if (socket.destroyed) return;
    if (reply === undefined) return void socket.destroy(); // what made no sense makes none of what follows
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    isFull = !socket.write(Buffer.concat([length, reply]));
    if (socket.isPaused()) proceed();
  };
  const proceed = (): void => {
    while (!isFull && underway < MAX_PIPELINED && pending.length >= 2) {
      const end = 2 + pending.readUInt16BE(0);
      if (pending.length < end) break;
      const message = pending.subarray(2, end);
      pending = pending.subarray(end);
      underway += 1;
      void answer(message);
    }
    if (isFull || underway >= MAX_PIPELINED) socket.pause();
    else socket.resume();
  };
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    proceed();
  });
  socket.on('drain', () => {
    isFull = false;
    proceed();
  });
}
