import { createServer, type IncomingMessage, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { messageOf } from '../../../errors/index.ts';
import type { Api, ApiLogger } from '../messages.ts';
import { Connections, type PeerOf } from './connections.ts';
import { type Dispatch, exchange } from './exchange.ts';
import { Hijacker } from './hijack.ts';
import { addressOf, type Listener, listen } from './listen.ts';
import { toApiRequest } from './request.ts';

export interface Serving {
  /** `unix:///path`, `tcp://address:port` or `fd://N`, in the order of the listeners. */
  addresses: string[];
  /**
   * Uses these listeners' certificates, names and origins for connections from now on.
   * @param listeners as they were given to `serve`, at the same addresses
   */
  renew(listeners: readonly Listener[]): void;
  /** Stops listening, gives requests that are being answered a moment, then closes every connection. */
  close(graceMs?: number): Promise<void>;
}

export interface ServeOptions {
  logger?: ApiLogger;
  peerOf?: PeerOf;
}

const HEADERS_LIMIT_BYTES = 64 * 1024;
const HEADERS_LIMIT = 200;
/** From a connection's first byte to the end of a request's headers. */
const HEADERS_TIMEOUT_MS = 30_000;
const CLOSE_GRACE_MS = 1_000;
/** Over TCP, where strangers may call. */
const TCP_CONNECTIONS = 1024;
const TCP_KEEP_ALIVE_MS = 120_000;
const TLS_HANDSHAKE_MS = 10_000;

/**
 * Binds an API to sockets. A unix socket's file is replaced if nobody listens on it.
 *
 * @throws {TareError} Conflict: somebody listens there already; nothing listens then
 */
export async function serve(
  api: Api,
  listeners: readonly Listener[],
  { logger, peerOf }: ServeOptions = {},
): Promise<Serving> {
  const connections = new Connections(peerOf);
  const dispatch: Dispatch = (request, signal, body) => {
    const from = { caller: connections.callerOf(request), refusal: connections.refusal(request) };
    return api.handle(toApiRequest(request, signal, from, body));
  };
  // Routing, schemas and bodies are the API's own, for they serve calls without HTTP as well: Fastify is the host alone.
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    reply.hijack();
    void exchange(dispatch, request.raw, reply.raw, logger);
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

  const hijacker = new Hijacker(api, dispatch, logger);
  const servers: Server[] = [];
  const close = async (graceMs = CLOSE_GRACE_MS) => {
    const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
    hijacker.close();
    const timer = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, graceMs);
    await Promise.all(closed);
    clearTimeout(timer);
    await app.close();
  };
  try {
    const addresses: string[] = [];
    for (const listener of listeners) {
      const server = newServer(listener, (request) => hijacker.wants(request));
      server.on(connectionEvent(listener), connections.through(listener));
      server.on('request', (request, response) => app.routing(request, response));
      hijacker.attach(server, connectionEvent(listener));
      await listen(server, listener);
      // Out of descriptors, for one: clients wait in the backlog until there are some again.
      server.on('error', (error) => logger?.error({ err: error }, `accepting connections: ${messageOf(error)}`));
      servers.push(server);
      addresses.push(addressOf(server, listener));
    }
    const renew = (renewed: readonly Listener[]) => {
      for (const [index, listener] of renewed.entries()) {
        if ('port' in listener && listener.tls !== undefined)
          (servers[index] as SecureServer).setSecureContext(listener.tls);
      }
      connections.renew(renewed);
    };
    return { addresses, close, renew };
  } catch (error) {
    await close();
    throw error;
  }
}

function newServer(listener: Listener, takesOver: (request: IncomingMessage) => boolean): Server {
  const isTcp = 'port' in listener;
  const options: ServerOptions = {
    maxHeaderSize: HEADERS_LIMIT_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: HEADERS_TIMEOUT_MS / 2,
    // An archive may take as long as it takes to arrive.
    requestTimeout: 0,
    // Clients keep a connection for their next command; the kernel tells when one on this machine is gone.
    keepAliveTimeout: isTcp ? TCP_KEEP_ALIVE_MS : 0,
    keepAlive: true,
    shouldUpgradeCallback: takesOver,
  };
  const tls = isTcp ? listener.tls : undefined;
  const server =
    tls === undefined
      ? createServer(options)
      : createSecureServer({
          ...options,
          ...tls,
          requestCert: tls.verifiesClients,
          rejectUnauthorized: tls.verifiesClients,
          handshakeTimeout: TLS_HANDSHAKE_MS,
          ALPNProtocols: ['http/1.1'],
          // The end of a client's input must not end the output.
          allowHalfOpen: true,
        });
  server.maxHeadersCount = HEADERS_LIMIT;
  if (isTcp) server.maxConnections = TCP_CONNECTIONS;
  return server;
}

/** What tells of a connection that HTTP may come through. */
const connectionEvent = (listener: Listener): 'connection' | 'secureConnection' =>
  'port' in listener && listener.tls !== undefined ? 'secureConnection' : 'connection';
