import { rmSync } from 'node:fs';
import { createServer, request } from 'node:http';

/** Requests that wait for something else than the engine. */
const WAITING = /\/events|\/wait(?:\?|$)/;

/** Passes a client's requests on to an engine. */
export interface WatchedSocket extends AsyncDisposable {
  /**
   * Of the time since the last question, that in which the engine had nothing to answer: the client's own work, and what it waits for.
   * @returns milliseconds
   */
  idleMs(): number;
}

/**
 * Serves an engine at another socket and notices when it is at work.
 *
 * @param path of the socket
 * @param socketPath of the engine
 */
export async function watchSocket(path: string, socketPath: string): Promise<WatchedSocket> {
  let underWay = 0;
  let idleMs = 0;
  let since = performance.now();
  const count = (change: 1 | -1) => {
    const now = performance.now();
    if (underWay === 0) idleMs += now - since;
    since = now;
    underWay += change;
  };
  const server = createServer((asked, answer) => {
    const isWork = !WAITING.test(asked.url!);
    if (isWork) count(1);
    const asking = request({ socketPath, method: asked.method!, path: asked.url!, headers: asked.headers }, (said) => {
      answer.writeHead(said.statusCode!, said.headers);
      said.pipe(answer);
    });
    asking.on('error', () => answer.destroy());
    answer.on('close', () => {
      if (isWork) count(-1);
      asking.destroy();
    });
    asked.pipe(asking);
  });
  rmSync(path, { force: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    idleMs() {
      if (underWay === 0) idleMs += performance.now() - since;
      since = performance.now();
      const idle = idleMs;
      idleMs = 0;
      return idle;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
