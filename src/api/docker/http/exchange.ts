import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { BulkSource } from '../../../engine/index.ts';
import { messageOf } from '../../../errors/index.ts';
import type { ApiBody, ApiLogger, ApiResponse } from '../messages.ts';
import { drainRest } from './drain.ts';
import { plainDescriptor } from './socket-handle.ts';

/** Lets a request in and has it answered. Never rejects. @param body where it is not the request's own */
export type Dispatch = (request: IncomingMessage, gone: AbortSignal, body?: BulkSource) => Promise<ApiResponse>;

/** One for all: with its stack, each would take as long as a small answer. */
export const answerClosed = new DOMException('the answer was sent, or its client left', 'AbortError');

/** Answers one request. Never rejects; a body that fails on the way breaks the connection, so that the client sees it. */
export async function exchange(
  dispatch: Dispatch,
  request: IncomingMessage,
  response: ServerResponse,
  logger?: ApiLogger,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort(answerClosed));
  request.on('error', () => {}); // the body's reader gets it
  const { status, headers, body } = await dispatch(request, gone.signal);
  if (response.destroyed) return await discard(body);
  response.writeHead(status, headers);
  try {
    if (body && !(body instanceof Uint8Array) && request.method !== 'HEAD') {
      response.flushHeaders();
      await send(body, response, gone.signal);
      if (gone.signal.aborted) return;
    }
    drainRest(request);
    if (body instanceof Uint8Array && request.method !== 'HEAD') response.end(body);
    else response.end();
  } catch (error) {
    if (!gone.signal.aborted) {
      logger?.error({ err: error }, `${request.method} ${request.url}: answer broken off: ${messageOf(error)}`);
    }
    response.destroy();
  }
}

async function send(body: ApiBody, response: ServerResponse, gone: AbortSignal): Promise<void> {
  const fd = body.sendTo === undefined ? undefined : await idleDescriptor(response.socket);
  if (fd !== undefined) return await body.sendTo!({ fd, isChunked: response.chunkedEncoding }, gone);
  let isCorked = false;
  for await (const chunk of body) {
    if (gone.aborted) return;
    if (!isCorked) {
      // Chunks that are there at the same time leave in one write: events and log lines come in many small ones.
      isCorked = true;
      response.cork();
      process.nextTick(() => {
        isCorked = false;
        response.uncork();
      });
    }
    if (!response.write(chunk, () => body.reuse?.(chunk))) await once(response, 'drain', { signal: gone });
  }
}

/** A connection's descriptor, once all that was given to it is written. @returns undefined: it is encrypted, or not this answer's turn */
async function idleDescriptor(socket: Socket | null): Promise<number | undefined> {
  if (socket === null || plainDescriptor(socket) === undefined) return undefined;
  await new Promise((resolve) => socket.write('', resolve));
  return plainDescriptor(socket);
}

/** Lets go of a body that nobody will read. */
async function discard(body: Uint8Array | AsyncIterable<Uint8Array> | undefined): Promise<void> {
  if (!body || body instanceof Uint8Array) return;
  await body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => {});
}
