import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiError, Client, textOf } from './client.ts';
import { SocketClient } from './socket-client.ts';

let folder: string;
let server: Server;
let serve: (socket: Socket, received: () => string) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-socket-'));
  server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
    });
    socket.on('error', () => {});
    serve(socket, () => text);
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 's'), resolve));
});

afterEach(async () => {
  server.close();
  rmSync(folder, { recursive: true });
});

const client = () => SocketClient.open({ path: join(folder, 's') });

test('a request goes out whole and its answer comes back', async () => {
  serve = (socket, received) =>
    socket.on('data', () => {
      if (!received().endsWith('{"a":1}')) return;
      socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"b":2}\r\n0\r\n\r\n');
      seen = received();
    });
  let seen = '';
  const api = new Client(await client());
  expect(await api.json('POST', '/x', { query: { q: 'a b', no: false, list: ['1', '2'] }, body: { a: 1 } })).toEqual({
    b: 2,
  });
  expect(seen).toMatch(/^POST \/x\?q=a%20b&list=1&list=2 HTTP\/1\.1\r\n/);
  expect(seen).toMatch(/\r\ncontent-length: 7\r\n/);
});

test('a stream is sent in chunks', async () => {
  const ended = Promise.withResolvers<string>();
  serve = (socket, received) =>
    socket.on('data', () => {
      if (!received().endsWith('0\r\n\r\n')) return;
      ended.resolve(received());
      socket.end('HTTP/1.1 204 No Content\r\n\r\n');
    });
  const body = async function* () {
    yield Buffer.from('hello');
    yield Buffer.alloc(0);
    yield Buffer.from('you');
  };
  expect((await (await client()).request({ method: 'PUT', path: '/x', body: body() })).status).toBe(204);
  expect(await ended.promise).toMatch(/\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n$/);
});

test('a refusal in the middle of an upload is the answer', async () => {
  serve = (socket) =>
    socket.once('data', () => socket.write('HTTP/1.1 409 Conflict\r\nContent-Length: 17\r\n\r\n{"message":"no!"}'));
  const endless = async function* () {
    for (;;) yield Buffer.alloc(65536);
  };
  const api = new Client(await client());
  await expect(api.stream('POST', '/images/load', { body: endless() })).rejects.toMatchObject({
    kind: 'Conflict',
    message: 'no!',
    status: 409,
  });
});

test.each([65_536, 4 << 20])(
  'a refusal counts although a write of %d bytes fails before it is read',
  async (sizeBytes) => {
    const answer = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 24\r\n\r\n{"message":"bad entry!"}';
    for (let round = 0; round < 20; round++) {
      const hungUp = Promise.withResolvers<void>();
      serve = (socket) =>
        socket.once('data', () => {
          socket.pause();
          socket.once('close', () => hungUp.resolve());
          socket.write(answer, () => socket.destroy());
        });
      const body = async function* () {
        yield Buffer.alloc(sizeBytes);
        // At once, before the event loop looks at what can be read.
        await hungUp.promise;
        for (;;) yield Buffer.alloc(1 << 20);
      };
      const api = new Client(await client());
      await expect(api.stream('POST', '/images/load', { body: body() })).rejects.toMatchObject({
        message: 'bad entry!',
        status: 400,
      });
    }
  },
);

test('a daemon that hangs up in the middle of an upload without an answer is noticed', async () => {
  serve = (socket) => socket.once('data', () => socket.destroy());
  const endless = async function* () {
    for (;;) yield Buffer.alloc(1 << 20);
  };
  const request = (await client()).request({ method: 'POST', path: '/x', body: endless() });
  await expect(request).rejects.toThrow(/closed before the answer was complete|ECONNRESET/);
});

test('a daemon that hangs up in the middle is noticed', async () => {
  serve = (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'));
  const { body } = await (await client()).request({ method: 'GET', path: '/x' });
  await expect(textOf(body)).rejects.toThrow(/closed before the answer was complete/);
});

test('an upgrade hands the connection over, both ways and half-closed', async () => {
  serve = (socket, received) => {
    socket.once('data', () => socket.write('HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nearly '));
    socket.once('end', () => socket.end(`got ${received().slice(-2)}`));
  };
  const connection = await (await client()).upgrade({ method: 'POST', path: '/x' });
  connection.end('hi');
  let text = '';
  for await (const chunk of connection) text += chunk;
  expect(text).toBe('early got hi');
});

test('a refused upgrade has the daemon’s message', async () => {
  serve = (socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n{"message":"gone"}'));
  const refused = (await client()).upgrade({ method: 'POST', path: '/x' });
  await expect(refused).rejects.toBeInstanceOf(ApiError);
  await expect(refused).rejects.toThrow('gone');
});

test('a reader that does not read stops the sender', async () => {
  const chunk = Buffer.alloc(65536);
  let sent = 0;
  serve = (socket) =>
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const push = () => {
        while (sent < 64 * 2 ** 20) {
          sent += chunk.length;
          if (!socket.write(chunk)) return void socket.once('drain', push);
        }
        socket.end();
      };
      push();
    });
  const { body } = await (await client()).request({ method: 'GET', path: '/x' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(sent).toBeLessThan(8 * 2 ** 20);
  let received = 0;
  for await (const bytes of body) received += bytes.length;
  expect(received).toBe(64 * 2 ** 20);
});

test('a line break in a header is refused', async () => {
  serve = () => {};
  const request = (await client()).request({ method: 'GET', path: '/x', headers: { a: 'b\r\nc: d' } });
  await expect(request).rejects.toThrow(/line break/);
});
