import { createServer } from 'node:http2';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { gateway, health } from '../../protocol/index.ts';
import { bridgeService } from './bridge-service.ts';
import type { FrontendCalls } from './frontend-calls.ts';
import { errorInterceptor } from './grpc-error.ts';

/** As BuildKit's: a file of 16 MiB, and what is around it. */
const MAX_MESSAGE_BYTES = (16 << 20) + (1 << 20);
const WINDOW_BYTES = 1 << 20;
/** Calls at once: each may have a message of the largest size in memory. */
const MAX_CALLS = 32;
const MAX_SESSION_MEGABYTES = 64;

/** Serves a frontend's calls over what it writes and reads; disposing closes the connection. @returns with when it was closed by whomever */
export async function serveFrontend(
  calls: FrontendCalls,
  { stdin, stdout }: { stdin: Writable; stdout: Readable },
): Promise<Disposable & { closed: Promise<void> }> {
  const [{ ConnectError }, { connectNodeAdapter }] = await Promise.all([
    import('@connectrpc/connect'),
    import('@connectrpc/connect-node'),
  ]);
  const handler = connectNodeAdapter({
    connect: false,
    grpcWeb: false,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    interceptors: [errorInterceptor(ConnectError)],
    routes(router) {
      router.service(
        gateway.LLBBridge,
        bridgeService(() => calls),
      );
      router.service(health.Health, {
        check: () => ({ status: health.HealthCheckResponse_ServingStatus.SERVING }),
      });
    },
  });
  const settings = { initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: MAX_CALLS };
  const server = createServer({ settings, maxSessionMemory: MAX_SESSION_MEGABYTES }, handler as never);
  const connection = Duplex.from({ writable: stdin, readable: stdout } as never);
  connection.on('error', () => {});
  // What is no HTTP/2 ends it too.
  server.on('sessionError', () => void connection.destroy());
  const closed = new Promise<void>((resolve) => void connection.once('close', resolve));
  server.emit('connection', connection);
  return {
    closed,
    [Symbol.dispose]() {
      connection.destroy();
      server.close();
    },
  };
}
