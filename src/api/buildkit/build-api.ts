import { once } from 'node:events';
import { createServer, type Http2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { BuildSession } from '../../build/index.ts';
import { type BuildService, frontendGateway } from '../../engine/index.ts';
import { kindOf, TareError } from '../../errors/index.ts';
import { content, control, gateway, health, trace } from '../../protocol/index.ts';
import type { BuildAuditEntry } from './audit.ts';
import { callsByHeader } from './bridge.ts';
import { contentService } from './content.ts';
import { controlService } from './control.ts';
import { RunningBuilds } from './running-builds.ts';
import { becomeHttp2 } from './session/http2-connection.ts';
import { Sessions } from './sessions.ts';

/** Definitions of large builds, files that a frontend reads. */
const MAX_MESSAGE_BYTES = 64 << 20;
const WINDOW_BYTES = 1 << 20;
/** Calls at once of one connection. BuildKit has no limit; each target of a bake keeps two open all the time, and needs more to go on. */
const MAX_CALLS = 4096;
/** Of one call. */
const MAX_HEADER_BYTES = 64 << 10;

/** BuildKit's services over connections that others accept. */
export interface BuildApi extends Disposable {
  /** Serves gRPC on a connection. Resolves when it is closed. */
  serve(connection: Duplex): Promise<void>;
  /** Takes a connection on which the client serves gRPC. Resolves when it is closed. */
  session(connection: Duplex, headers: Readonly<Record<string, string | undefined>>): Promise<void>;
  /** The session of a client that is there, or about to come. @param id '': of one that offers nothing @throws {TareError} NotFound */
  findSession(id: string, signal: AbortSignal): Promise<BuildSession>;
}

export interface BuildApiOptions {
  version: string;
  /** Told of what a client cannot be told in full. */
  report?: (subject: string, error: unknown) => void;
  /** Told of each build when it is over. */
  audit?: ((entry: BuildAuditEntry) => void) | undefined;
}

/** Loads what gRPC needs: called when the first client comes. */
export async function openBuildApi(builds: BuildService, options: BuildApiOptions): Promise<BuildApi> {
  const sessions = new Sessions();
  const server = await grpcServer(builds, sessions, options);
  return {
    async serve(connection) {
      endWithClient(connection);
      await closing(connection, () => server.emit('connection', becomeHttp2(connection)));
    },
    async session(connection, headers) {
      endWithClient(connection);
      try {
        await sessions.serve(connection, headers);
      } finally {
        connection.destroy();
      }
    },
    findSession: (id, signal) => sessions.find(id, signal),
    [Symbol.dispose]() {
      sessions.close();
      server.close();
    },
  };
}

/** HTTP/2 knows no half of a connection: a client that ends its side is gone, and its session with it. */
function endWithClient(connection: Duplex): void {
  connection.once('end', () => connection.destroy());
}

function closing(connection: Duplex, begin: () => void): Promise<void> {
  return new Promise((resolve) => {
    if (connection.destroyed) return resolve();
    connection.once('close', resolve);
    // It would stay half open.
    connection.once('end', () => connection.destroy());
    begin();
  });
}

async function grpcServer(
  builds: BuildService,
  sessions: Sessions,
  { version, report, audit }: BuildApiOptions,
): Promise<Http2Server> {
  const [{ ConnectError }, { connectNodeAdapter }, { bridgeService, errorInterceptor }] = await Promise.all([
    import('@connectrpc/connect'),
    import('@connectrpc/connect-node'),
    frontendGateway(),
  ]);
  const running = new RunningBuilds();
  const translate = errorInterceptor(ConnectError, (method, error) => {
    // Other errors are told to the client in full.
    if (kindOf(error) === 'Internal' && !(error instanceof TareError)) report?.(method, error);
  });
  const handler = connectNodeAdapter({
    connect: false,
    grpcWeb: false,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    // Nothing is: most clients are on this machine, and both sides would wait for it.
    compressMinBytes: MAX_MESSAGE_BYTES,
    interceptors: [translate],
    routes(router) {
      router.service(control.Control, controlService({ builds, sessions, running, version, audit }));
      router.service(gateway.LLBBridge, bridgeService(callsByHeader(running)));
      router.service(content.Content, contentService(builds));
      router.service(health.Health, healthService());
      router.service(trace.TraceService, { export: () => ({}) });
    },
    fallback: unimplemented,
  });
  const settings = {
    initialWindowSize: WINDOW_BYTES,
    maxConcurrentStreams: MAX_CALLS,
    maxHeaderListSize: MAX_HEADER_BYTES,
  };
  const server = createServer({ settings }, handler as never);
  server.on('sessionError', () => {}); // the connection closes
  return server;
}

/** Who can ask is served. */
function healthService(): Partial<ServiceImpl<typeof health.Health>> {
  const answer = create(health.HealthCheckResponseSchema, {
    status: health.HealthCheckResponse_ServingStatus.SERVING,
  });
  return {
    check: () => answer,
    list: () => create(health.HealthListResponseSchema, { statuses: { '': answer } }),
    async *watch(_request, { signal }) {
      yield answer;
      if (!signal.aborted) await once(signal, 'abort');
    },
  };
}

/** What gRPC's clients expect of a service that is not there. */
function unimplemented(request: unknown, response: unknown): void {
  const { url = '' } = request as Http2ServerRequest;
  const answer = response as Http2ServerResponse;
  answer.writeHead(200, {
    'content-type': 'application/grpc',
    'grpc-status': '12',
    'grpc-message': encodeURIComponent(`unknown method ${url}`),
  });
  answer.end();
}
