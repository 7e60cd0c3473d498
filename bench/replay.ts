import { rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, request } from 'node:http';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * A server that answers each request as the engine answered it the first time, at once: what docker's client takes by itself for an
 * answer of that size.
 *
 * @param path of its socket
 * @param socketPath of the engine
 */
export async function replay(path: string, socketPath: string): Promise<AsyncDisposable> {
  const answers = new Map<string, Promise<Answer>>();
  const ask = (method: string, url: string, headers: IncomingHttpHeaders): Promise<Answer> => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const asking = request({ socketPath, method, path: url, headers: { host: headers.host } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => {
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    asking.once('error', reject).end();
    return promise;
  };
  const server = createServer(async ({ method = 'GET', url = '/', headers }, response) => {
    const key = `${method} ${url}`;
    const answer = answers.get(key) ?? ask(method, url, headers);
    answers.set(key, answer);
    const { status, headers: said, body } = await answer;
    const { connection: _, 'transfer-encoding': _encoding, ...kept } = said;
    response.writeHead(status, kept).end(body);
  });
  rmSync(path, { force: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
