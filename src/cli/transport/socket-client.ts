import { isIP, type Socket, type SocketConstructorOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { TareError } from '../../errors/index.ts';
import { BodyQueue } from './body-queue.ts';
import { apiError, queryText, type Request, type Response, type Transport } from './client.ts';
import type { ClientTls } from './client-tls.ts';
import type { Way } from './host.ts';
import { PatientSocket } from './patient-socket.ts';
import { type Head, ResponseParser } from './response-parser.ts';

/**
 * HTTP/1.1 over a unix socket or TCP, a connection a request. Our own because `node:http` costs 8 ms of start-up and this is
 * a tenth of it: no keep-alive, no redirects, no pipelining.
 */
export class SocketClient implements Transport {
  readonly local = false;
  readonly address: string;
  readonly #where: Way;
  #spare: Connection | undefined;

  private constructor(where: Way, spare: Connection) {
    this.#where = where;
    this.#spare = spare;
    this.address = 'path' in where ? `unix://${where.path}` : `tcp://${where.host}:${where.port}`;
  }

  /** Connects, so that a missing daemon is noticed here; the first request uses this connection. @throws the socket's own error, with its `code` */
  static async open(where: Way): Promise<SocketClient> {
    return new SocketClient(where, await dial(where));
  }

  async request(request: Request): Promise<Response> {
    const socket = await this.#socket();
    return await new Promise<Response>((resolve, reject) => {
      const body = new BodyQueue({
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        destroy: () => socket.destroy(),
      });
      let answered = false;
      let refused = false;
      // A daemon that refuses an upload answers and hangs up while we still write: its answer counts.
      socket.onRefusedWrite = () => {
        refused = true;
      };
      const fail = (error: unknown) => {
        request.signal?.removeEventListener('abort', abort);
        socket.destroy();
        if (answered) body.end(error);
        else reject(this.#turnedAway(error));
      };
      const abort = () => fail(request.signal?.reason);
      const parser = new ResponseParser(
        {
          head: (head: Head) => {
            answered = true;
            refused ||= head.status >= 400;
            resolve({ ...head, body });
          },
          data: (bytes) => body.push(bytes),
          end: () => {
            request.signal?.removeEventListener('abort', abort);
            body.end();
            socket.destroy();
          },
        },
        { bodyless: request.method === 'HEAD' },
      );
      socket.on('data', (bytes: Buffer) => attempt(() => parser.feed(bytes), fail));
      socket.on('end', () => attempt(() => parser.finish(), fail));
      socket.on('close', () => attempt(() => parser.finish(), fail));
      socket.on('error', fail);
      if (request.signal?.aborted) return abort();
      request.signal?.addEventListener('abort', abort, { once: true });
      send(socket, request, { host: this.#host, connection: 'close' }, () => refused).catch(fail);
    });
  }

  async upgrade(request: Request): Promise<Duplex> {
    const socket = await this.#socket();
    const response = await new Promise<Response | Socket>((resolve, reject) => {
      const body = new BodyQueue({
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        destroy: () => socket.destroy(),
      });
      let raw = false;
      const parser = new ResponseParser(
        {
          head: (head: Head) => {
            raw = head.status === 101 || head.status === 200;
            if (!raw) resolve({ ...head, body });
          },
          data: (bytes) => body.push(bytes),
          end: () => body.end(),
        },
        { upgrades: true },
      );
      const fail = (error: unknown) => {
        socket.destroy();
        reject(this.#turnedAway(error));
        body.end(error);
      };
      socket.on('data', (bytes: Buffer) => {
        attempt(() => {
          const rest = parser.feed(bytes);
          if (!raw) return;
          socket.pause();
          for (const event of ['data', 'end', 'error'] as const) socket.removeAllListeners(event);
          if (rest.length > 0) socket.unshift(rest);
          resolve(socket);
        }, fail);
      });
      socket.on('end', () => attempt(() => parser.finish(), fail));
      socket.on('error', fail);
      send(socket, request, { host: this.#host, connection: 'Upgrade', ...upgradeOf(request) }).catch(fail);
    });
    if ('status' in response) throw await apiError(response);
    return response;
  }

  /** Over TCP a daemon looks whether it is meant. */
  get #host(): string {
    if ('path' in this.#where) return 'tare';
    const { host, port } = this.#where;
    return `${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  /** TLS lets a daemon refuse a certificate when the client believes itself connected. */
  #turnedAway(error: unknown): unknown {
    if ('path' in this.#where || this.#where.tls === undefined || !(error instanceof Error)) return error;
    const hint = 'does the daemon know the authority of your certificate?';
    return new TareError('Unavailable', `${error.message}; ${hint}`, { cause: error });
  }

  async close(): Promise<void> {
    this.#spare?.destroy();
    this.#spare = undefined;
  }

  async #socket(): Promise<Connection> {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? (await dial(this.#where));
  }
}

/** A connection whose user may want to know that the other end takes no more; with TLS it is never told. */
type Connection = Socket & Pick<PatientSocket, 'onRefusedWrite'>;

function dial(where: Way): Promise<Connection> {
  if ('port' in where && where.tls !== undefined) return dialSecurely(where, where.tls);
  return new Promise((resolve, reject) => {
    // Half-open: the end of standard input must not end the output.
    const socket = new PatientSocket({ allowHalfOpen: true });
    socket.connect(where, () => {
      socket.off('error', reject);
      if ('port' in where) socket.setNoDelay(true);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

async function dialSecurely({ host, port }: { host: string; port: number }, tls: ClientTls): Promise<Connection> {
  const { connect } = await import('node:tls');
  const { verifies, ...material } = tls;
  return await new Promise((resolve, reject) => {
    const name = isIP(host) === 0 ? { servername: host } : {};
    const options: ConnectionOptions & Pick<SocketConstructorOpts, 'allowHalfOpen'> = {
      ...{ ...material, ...name, host, port, rejectUnauthorized: verifies, minVersion: 'TLSv1.2' },
      allowHalfOpen: true,
    };
    const socket = connect(options, () => {
      socket.off('error', reject);
      socket.setNoDelay(true);
      resolve(Object.assign(socket, { onRefusedWrite: undefined }));
    });
    socket.once('error', reject);
  });
}

/** What the connection is to become; docker's word for bytes unless the request has another. */
const upgradeOf = ({ headers }: Request): Record<string, string> =>
  headers?.['upgrade'] === undefined ? { upgrade: 'tcp' } : {};

/** @param isRefused the body is of no use any more: the daemon refused it before its end */
async function send(
  socket: Socket,
  request: Request,
  extra: Record<string, string>,
  isRefused: () => boolean = () => false,
): Promise<void> {
  const { body } = request;
  const headers: Record<string, string | readonly string[]> = { 'user-agent': 'tare', ...request.headers, ...extra };
  if (typeof body === 'string' || body instanceof Uint8Array)
    headers['content-length'] = String(typeof body === 'string' ? Buffer.byteLength(body) : body.length);
  else if (body !== undefined) headers['transfer-encoding'] = 'chunked';
  else if (request.method !== 'GET' && request.method !== 'HEAD') headers['content-length'] = '0';
  const query = queryText(request.query);
  let head = `${request.method} ${request.path}${query && '?'}${query} HTTP/1.1\r\n`;
  for (const [name, values] of Object.entries(headers)) {
    for (const value of typeof values === 'string' ? [values] : values) {
      if (/[\r\n\0]/.test(value)) throw new TareError('InvalidArgument', `the value of ${name} has a line break in it`);
      head += `${name}: ${value}\r\n`;
    }
  }
  head += '\r\n';
  if (typeof body === 'string') return void socket.write(head + body);
  socket.write(head);
  if (body === undefined) return;
  if (body instanceof Uint8Array) return void socket.write(body);
  for await (const chunk of body) {
    // Half a body may stay unsent: the connection is closed behind it.
    if (socket.destroyed || isRefused()) return;
    if (chunk.length === 0) continue;
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`);
    socket.write(chunk);
    const room = socket.write('\r\n');
    socket.uncork();
    if (!room) await drained(socket);
  }
  if (!socket.destroyed) socket.write('0\r\n\r\n');
}

/** Resolves when the socket takes more, or never will. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
    if (socket.destroyed || !socket.writableNeedDrain) done();
  });
}

function attempt(action: () => unknown, fail: (error: unknown) => void): void {
  try {
    action();
  } catch (error) {
    fail(error);
  }
}
