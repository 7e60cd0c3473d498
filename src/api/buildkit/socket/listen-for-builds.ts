import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { TareError } from '../../../errors/index.ts';

/** Of clients at a time. */
const MAX_CONNECTIONS = 1_000;

/**
 * Hands connections to a unix socket to BuildKit's services: for `buildctl`, and for buildx's remote driver. The file is replaced if
 * nobody listens on it; whoever may open it is root here, so that only its owner may.
 *
 * @throws {TareError} Conflict: somebody listens there already
 */
export async function listenForBuilds(
  path: string,
  serve: (connection: Socket) => Promise<void>,
): Promise<AsyncDisposable> {
  if (await answers(path))
    throw new TareError(
      'Conflict',
      `${path} is in use by another daemon: stop it, or choose another --buildkit-socket`,
    );
  rmSync(path, { force: true });
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => {}); // 'close' follows
    socket.once('close', () => open.delete(socket));
    void serve(socket).catch(() => socket.destroy());
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
