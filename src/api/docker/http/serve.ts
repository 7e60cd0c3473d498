import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, type ListenOptions } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { messageOf, TareError } from '../../../errors/index.ts';
import type { Api, ApiLogger } from '../messages.ts';
import { exchange } from './exchange.ts';
import { Hijacker } from './hijack.ts';

export type Listener = { path: string; mode?: number; gid?: number } | { host: string; port: number } | { fd: number };

export interface Serving {
  /** `unix:///path`, `tcp://address:port` or `fd://N`, in the order of the listeners. */
  addresses: string[];
  /** Stops listening, gives requests that are being answered a moment, then closes every connection. */
  close(): Promise<void>;
}

const HEADERS_LIMIT_BYTES = 64 * 1024;
const CLOSE_GRACE_MS = 1_000;

/**
 * Binds an API to sockets. A unix socket's file is replaced if nobody listens on it.
 *
 * @throws {TareError} Conflict: somebody listens there already; nothing listens then
 */
export async function serve(api: Api, listeners: readonly Listener[], logger?: ApiLogger): Promise<Serving> {
  // Routing, schemas and bodies are the API's own, for they serve calls without HTTP as well: Fastify is the host alone.
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    reply.hijack();
    void exchange(api, request.raw, reply.raw, logger);
  };
  // Loaded by a daemon alone.
  const { fastify } = await import('fastify');
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    // A path it cannot read: the API refuses it in docker's form.
    frameworkErrors: (_error, request, reply) => answer(request, reply),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.all('/*', answer);
  app.setNotFoundHandler(answer);
  await app.ready();

  const hijacker = new Hijacker(api, logger);
  const servers: Server[] = [];
  const close = async () => {
    const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
    hijacker.close();
    const timer = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, CLOSE_GRACE_MS);
    await Promise.all(closed);
    clearTimeout(timer);
    await app.close();
  };
  try {
    const addresses: string[] = [];
    for (const listener of listeners) {
      const server = createServer({
        maxHeaderSize: HEADERS_LIMIT_BYTES,
        // An archive may take as long as it takes to arrive.
        requestTimeout: 0,
        // Clients keep a connection for their next command; the kernel tells when one is gone.
        keepAliveTimeout: 0,
        keepAlive: true,
        shouldUpgradeCallback: (request) => hijacker.wants(request),
      });
      server.on('request', (request, response) => app.routing(request, response));
      hijacker.attach(server);
      await listen(server, listener);
      // Out of descriptors, for one: clients wait in the backlog until there are some again.
      server.on('error', (error) => logger?.error({ err: error }, `accepting connections: ${messageOf(error)}`));
      servers.push(server);
      addresses.push(addressOf(server, listener));
    }
    return { addresses, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function listen(server: Server, listener: Listener): Promise<void> {
  if (!('path' in listener)) return await bound(server, listener);
  await removeStale(listener.path);
  const mode = listener.mode ?? 0o660;
  // The file must never be there with wider rights than it will have.
  const before = process.umask(0o777 & ~mode);
  const listening = bound(server, { path: listener.path });
  process.umask(before);
  await listening;
  chmodSync(listener.path, mode);
  const gid = listener.gid ?? dockerGroup();
  if (gid !== undefined) chownSync(listener.path, 0, gid);
}

function bound(server: Server, options: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const where = options.path ?? (options.fd === undefined ? `${options.host}:${options.port}` : `fd ${options.fd}`);
      reject(new TareError('Conflict', `cannot listen on ${where}: ${messageOf(cause)}`, { cause }));
    });
    server.listen(options, () => resolve());
  });
}

/** Removes a socket file that a killed process left. @throws {TareError} Conflict: it is in use, or no socket */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new TareError('Conflict', `cannot listen on ${path}: it exists and is no socket`);
  const isServed = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
  if (isServed)
    throw new TareError('Conflict', `cannot listen on ${path}: another engine answers there; stop it first`);
  unlinkSync(path);
}

/** Id of the group whose members may use the engine, when the host has it. */
function dockerGroup(): number | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/group', 'utf8').match(/^docker:[^:]*:([0-9]+):/m);
  return line ? Number(line[1]) : undefined;
}

function addressOf(server: Server, listener: Listener): string {
  if ('path' in listener) return `unix://${listener.path}`;
  if ('fd' in listener) return `fd://${listener.fd}`;
  const address = server.address();
  if (address === null || typeof address === 'string') return `tcp://${listener.host}:${listener.port}`;
  return `tcp://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}
