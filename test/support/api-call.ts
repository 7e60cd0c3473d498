import { Agent, request } from 'node:http';

const agent = new Agent({ keepAlive: true });

/**
 * Sends one request of Docker's API over a connection that stays open, so that what is met is the engine.
 * @throws the engine refused
 */
export async function call(socket: string, method: string, path: string, body?: unknown): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    'content-length': Buffer.byteLength(text),
    ...(text !== '' && { 'content-type': 'application/json' }),
  };
  const sent = request({ agent, socketPath: socket, method, path, headers }, (response) => {
    let answer = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      answer += chunk;
    });
    response.on('error', reject);
    response.on('end', () => {
      if ((response.statusCode ?? 0) < 300) resolve(answer);
      else reject(new Error(`${method} ${path}: ${response.statusCode} ${answer}`));
    });
  });
  sent.on('error', reject);
  sent.end(text);
  return await promise;
}
