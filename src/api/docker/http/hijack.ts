import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../../../errors/index.ts';
import type { Api, ApiLogger, ApiResponse } from '../messages.ts';
import { answerClosed, type Dispatch } from './exchange.ts';
import { isPlainUpload, Upload } from './upload.ts';

/** What node:http keeps on a socket for its parser; not in its types. */
interface ParserOfSocket {
  parser?: { onIncoming: ((request: IncomingMessage, keepAlive: boolean) => number) | null } | null;
}

const pathOf = ({ url = '/' }: IncomingMessage): string => url.split('?', 1)[0] as string;

/** Returned for a request's headers: what follows is not for the parser. */
const NO_BODY_FOR_PARSER = 2;

/**
 * Connections that an answer takes over (attach, exec start), or whose request's body is read past the HTTP parser
 * (archives). Such a request leaves node:http through its `upgrade` event, with or without an Upgrade header: only there
 * the socket comes free of the HTTP parser, and the client's end of input stays apart from the end of the connection.
 */
export class Hijacker {
  readonly #api: Pick<Api, 'hijacks' | 'takesBulk'>;
  readonly #dispatch: Dispatch;
  readonly #logger: ApiLogger | undefined;
  readonly #open = new Set<Duplex>();

  constructor(api: Pick<Api, 'hijacks' | 'takesBulk'>, dispatch: Dispatch, logger?: ApiLogger) {
    this.#api = api;
    this.#dispatch = dispatch;
    this.#logger = logger;
  }

  /** Whether a request is one of these. Upgrades that nothing here knows (`h2c` from curl) are ignored, as RFC 9110 allows. */
  wants(request: IncomingMessage): boolean {
    return this.#api.hijacks(request.method ?? 'GET', pathOf(request)) || this.#isBulk(request);
  }

  #isBulk(request: IncomingMessage): boolean {
    return this.#api.takesBulk(request.method ?? 'GET', pathOf(request)) && isPlainUpload(request);
  }

  /** @param connection the event of a connection that the parser has got */
  attach(server: Server, connection: 'connection' | 'secureConnection'): void {
    server.on(connection, (socket: Socket) => this.#forceUpgrade(socket as Socket & ParserOfSocket));
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => {}); // 'close' follows
      this.#open.add(socket);
      socket.once('close', () => this.#open.delete(socket));
      if (head.length > 0) socket.unshift(head);
      void this.#serve(request, socket);
    });
  }

  /** Breaks every connection that is taken over. */
  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** Clients that hijack without saying so (API before 1.20, and many scripts) get the same way out of the parser. */
  #forceUpgrade(socket: Socket & ParserOfSocket): void {
    const parser = socket.parser;
    const onIncoming = parser?.onIncoming;
    if (!parser || !onIncoming) return;
    parser.onIncoming = (request, keepAlive) => {
      // node:http sets `upgrade` while it parses and decides by it right after.
      const incoming = request as IncomingMessage & { upgrade: boolean };
      const isBulk = this.#isBulk(request);
      if (!incoming.upgrade && (isBulk || this.wants(request))) incoming.upgrade = true;
      const answer = onIncoming(request, keepAlive);
      return isBulk ? NO_BODY_FOR_PARSER : answer;
    };
  }

  async #serve(request: IncomingMessage, socket: Duplex): Promise<void> {
    const gone = new AbortController();
    socket.once('close', () => gone.abort(answerClosed));
    try {
      const body = this.#isBulk(request) ? new Upload(request, socket as Socket, gone.signal) : undefined;
      const response = await this.#dispatch(request, gone.signal, body);
      if (response.upgrade) {
        if (!response.shakesHands) await written(socket, head(response));
        await response.upgrade(socket, response.headers);
      } else {
        await answerPlainly(response, socket);
      }
    } catch (error) {
      this.#logger?.error(
        { err: error },
        `${request.method} ${request.url}: connection broken off: ${messageOf(error)}`,
      );
      socket.destroy();
    }
  }
}

/** HTTP/2 that takes a TLS connection over while a write is under way ends the process (node_http2.cc, is_write_in_progress). */
const written = (socket: Duplex, text: string): Promise<void> =>
  new Promise((resolve) => {
    socket.write(text, () => resolve());
  });

function head({ status, headers }: ApiResponse): string {
  // Docker's own reason phrase; some clients look for it.
  const reason = status === 101 ? 'UPGRADED' : (STATUS_CODES[status] ?? '');
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}\r\n`;
}

/** An error, or a detached start: an ordinary answer, after which the connection ends. */
async function answerPlainly(response: ApiResponse, socket: Duplex): Promise<void> {
  const headers = { ...response.headers, date: new Date().toUTCString(), connection: 'close' };
  socket.write(head({ ...response, headers }));
  if (response.body instanceof Uint8Array) socket.write(response.body);
  else for await (const chunk of response.body ?? []) socket.write(chunk);
  socket.end();
  // Unread input would turn the close into a reset, and the client would lose the answer.
  socket.resume();
  socket.once('end', () => socket.destroy());
  setTimeout(() => socket.destroy(), 10_000).unref();
}
