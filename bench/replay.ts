import { once } from 'node:events';
import { connect } from 'node:net';
import { serveUnix } from './unix-server.ts';

const LAST_CHUNK = '0\r\n\r\n';
const lastOf = (bytes: Buffer): string => bytes.toString('latin1', Math.max(0, bytes.length - LAST_CHUNK.length));
const END_OF_HEADERS = '\r\n\r\n';
/** An engine that is quiet for so long has said all. */
const QUIET_MS = 300;

/**
 * A server that answers each request, known by its first line, with the bytes that the engine answered the first time, at once: what
 * docker's client takes by itself for an answer of that size. For requests without a body, and for PUT with chunks, which are taken in
 * and dropped.
 *
 * @param path of its socket
 * @param socketPath of the engine
 */
export async function replay(path: string, socketPath: string): Promise<AsyncDisposable> {
  const answers = new Map<string, Buffer>();
  return await serveUnix(path, (socket) => {
    let asked = '';
    let put: string | undefined;
    socket.on('data', (chunk: Buffer) => {
      if (asked === '' && chunk.toString('latin1', 0, 4) === 'PUT ') put ??= '';
      if (put !== undefined) {
        put = (put + lastOf(chunk)).slice(-LAST_CHUNK.length);
        if (put !== LAST_CHUNK) return;
        put = undefined;
        return void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      }
      asked += chunk.toString('latin1');
      if (!asked.endsWith(END_OF_HEADERS)) return;
      const request = asked;
      asked = '';
      const key = request.slice(0, request.indexOf('\r\n'));
      const known = answers.get(key);
      if (known !== undefined) return void socket.write(known);
      void bytesOfAnswer(socketPath, request).then((answer) => {
        answers.set(key, answer);
        socket.write(answer);
      });
    });
  });
}

async function bytesOfAnswer(socketPath: string, request: string): Promise<Buffer> {
  const socket = connect(socketPath);
  const chunks: Buffer[] = [];
  socket.write(request, 'latin1');
  socket.setTimeout(QUIET_MS).on('timeout', () => {
    const isChunked = /^transfer-encoding: chunked/im.test(chunks[0]?.toString('latin1', 0, 4096) ?? '');
    // It has not begun, or a large answer goes on.
    if (
      chunks.length === 0 ||
      (isChunked && !chunks.slice(-LAST_CHUNK.length).map(lastOf).join('').endsWith(LAST_CHUNK))
    )
      socket.setTimeout(QUIET_MS);
    else socket.end();
  });
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks);
}
