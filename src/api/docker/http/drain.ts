import type { IncomingMessage } from 'node:http';

/** As long as a client may go on sending behind its answer, and as long as it may pause meanwhile. */
const DRAIN_MS = 30_000;
const PAUSE_MS = 5_000;

/**
 * Lets a client finish, or give up, sending a body that its answer does not wait for: called right before the answer ends.
 *
 * node:http would close the connection behind its last answer. Closing it with bytes unread resets it, and a client that
 * sends all before it reads, or stops at the failed write, would never see the answer. So the connection is half-closed,
 * and what still comes is thrown away, for a bounded time (RFC 9112, section 9.6). On a connection that is kept, the rest
 * would be taken for the next request.
 */
export function drainRest(request: IncomingMessage): void {
  if (request.complete) return;
  const { socket } = request;
  const { destroySoon } = socket;
  let isLast = false;
  let paused: NodeJS.Timeout | undefined;
  const late = setTimeout(() => socket.destroy(), DRAIN_MS).unref();
  const done = () => {
    clearTimeout(late);
    clearTimeout(paused);
    socket.off('close', done);
    socket.destroySoon = destroySoon;
    if (isLast) socket.destroySoon();
  };
  // What node:http calls behind the last answer of a connection.
  socket.destroySoon = () => {
    isLast = true;
    if (request.readableEnded) done();
    else socket.end();
  };
  paused = setTimeout(() => socket.destroy(), PAUSE_MS).unref();
  request.on('data', () => paused.refresh());
  request.once('end', done);
  socket.once('close', done);
}
