import { createSocket } from 'node:dgram';
import type { Reply, Responder } from './name-server.ts';

/** As much as the kernel gives: a burst waits here while we work on the last one. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/**
 * Serves names by UDP.
 * @param fd a bound socket; it is the server's from now on
 * @param options.isForOne only one container can ask: it has the kernel's usual share of memory
 */
export function serveDatagrams(
  fd: number,
  family: 4 | 6,
  respond: Responder,
  onError: (error: Error) => void,
  { isForOne = false }: { isForOne?: boolean } = {},
): Disposable {
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ...(isForOne ? {} : { recvBufferSize: RECEIVE_BUFFER_BYTES }),
    // Answers go to addresses, which need no look-up.
    lookup: (host, _options, done) => done(null, host, family),
  });
  let isOpen = true;
  const send = (answer: Reply, port: number, address: string) => {
    // One that cannot be sent is one that is lost: the asker asks again.
    if (answer !== undefined && isOpen) socket.send(answer, port, address, () => {});
  };
  const close = () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
  socket.on('error', (error) => {
    close();
    onError(error);
  });
  socket.on('message', (message, { address, port }) => {
    const reply = respond(message, address, 'udp');
    if (reply instanceof Promise) void reply.then((answer) => send(answer, port, address));
    else send(reply, port, address);
  });
  socket.bind({ fd, exclusive: true });
  return { [Symbol.dispose]: close };
}
