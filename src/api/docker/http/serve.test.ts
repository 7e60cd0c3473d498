import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { queryObjects } from 'node:v8';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { EngineServices } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { createApi } from '../api.ts';
import { echoSession, fakeEngine, ID, view } from '../fake-engine.ts';
import { serve } from './serve.ts';

let directory: string;
const cleanups: (() => Promise<void>)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-api-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  rmSync(directory, { recursive: true });
});

async function serveFake(given: Parameters<typeof fakeEngine>[0]): Promise<string> {
  const path = join(directory, 'api.sock');
  const engine: EngineServices = fakeEngine(given);
  const serving = await serve(createApi(engine, { version: '0.0.0' }), [{ path }]);
  cleanups.push(() => serving.close());
  return path;
}

/** Sends raw bytes, and gives what has come once `until` is in it or the connection ended. */
class RawClient {
  readonly socket: Socket;
  received = '';
  isEnded = false;
  constructor(path: string, first: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
    this.socket.write(first);
  }
  async until(text: string): Promise<string> {
    await expect.poll(() => this.received.includes(text), { timeout: 5000 }).toBe(true);
    return this.received;
  }
  async end(): Promise<string> {
    await expect.poll(() => this.isEnded, { timeout: 5000 }).toBe(true);
    this.socket.destroy();
    return this.received;
  }
}

const frame = (text: string) => `\x01\0\0\0\0\0\0${String.fromCharCode(text.length)}${text}`;

const upgrade = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
test.each([
  { name: 'with Upgrade', headers: upgrade, status: 'HTTP/1.1 101 UPGRADED', type: 'multiplexed' },
  {
    name: 'with Upgrade and an empty body',
    headers: `${upgrade}Content-Length: 0\r\n`,
    status: 'HTTP/1.1 101 UPGRADED',
    type: 'multiplexed',
  },
  { name: 'without Upgrade', headers: '', status: 'HTTP/1.1 200 OK', type: 'raw' },
])('attach $name: input half-closes while output goes on', async ({ headers, status, type }) => {
  const session = echoSession(false);
  const path = await serveFake({ containers: { attach: async () => session } });
  const client = new RawClient(
    path,
    `POST /v1.51/containers/x/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n${headers}\r\n`,
  );
  const answer = await client.until('\r\n\r\n');
  expect(answer).toContain(status);
  expect(answer).toContain(`content-type: application/vnd.docker.${type}-stream`);
  client.socket.write('hello');
  await client.until(frame('hello'));
  client.socket.end();
  expect(await client.end()).toContain(`${frame('hello')}${frame('EOF')}`);
  expect(session.isDisposed()).toBe(true);
});

test('the end of input waits for the input before it', async () => {
  const order: string[] = [];
  const session = echoSession(true);
  const slow = {
    ...session,
    async write() {
      await new Promise((resolve) => setTimeout(resolve, 50));
      order.push('written');
    },
    closeStdin() {
      order.push('closed');
      session.closeStdin();
    },
  };
  const path = await serveFake({ containers: { attach: async () => slow } });
  const client = new RawClient(
    path,
    `POST /containers/x/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\n${upgrade}\r\n`,
  );
  await client.until('\r\n\r\n');
  client.socket.end('last words');
  await client.end();
  expect(order).toEqual(['written', 'closed']);
});

test('exec start: the JSON body is read, what follows it is input', async () => {
  const execs = {
    inspect: async () => ({ id: 'e', config: { tty: true, attachStdin: true } }) as never,
    requireStartable: async () => {},
    start: async () => echoSession(true),
  };
  const path = await serveFake({ execs });
  const body = '{"Detach":false,"Tty":true}';
  const client = new RawClient(
    path,
    `POST /exec/e/start HTTP/1.1\r\nHost: docker\r\n${upgrade}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 9)}`,
  );
  client.socket.write(body.slice(9));
  await client.until('vnd.docker.raw-stream');
  client.socket.write('raw');
  await client.until('\r\n\r\nraw');
  client.socket.end();
  expect(await client.end()).toMatch(/rawEOF$/);
});

test('an error on a connection to be taken over is an ordinary answer', async () => {
  const attach = async () => {
    throw new TareError('NotFound', 'No such container: x');
  };
  const path = await serveFake({ containers: { attach } });
  const client = new RawClient(path, `POST /containers/x/attach HTTP/1.1\r\nHost: docker\r\n${upgrade}\r\n`);
  const answer = await client.end();
  expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  expect(answer).toMatch(/\{"message":"No such container: x"\}\n$/);
});

test('a client that goes away ends its session', async () => {
  const session = echoSession(true);
  const path = await serveFake({ containers: { attach: async () => session } });
  const client = new RawClient(
    path,
    `POST /containers/x/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\n${upgrade}\r\n`,
  );
  await client.until('\r\n\r\n');
  client.socket.destroy();
  await expect.poll(() => session.isDisposed(), { timeout: 5000 }).toBe(true);
});

test('an upgrade that nothing knows is an ordinary request', async () => {
  const path = await serveFake({});
  const client = new RawClient(
    path,
    'GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n',
  );
  expect(await client.until('OK')).toMatch(/^HTTP\/1\.1 200 OK/);
});

test('wait sends its headers before the container ends', async () => {
  const { promise, resolve } = Promise.withResolvers<{ exitCode: number; error: string }>();
  const path = await serveFake({ containers: { inspect: async () => view(), wait: () => promise } });
  const answer = await new Promise<import('node:http').IncomingMessage>((onResponse) =>
    request({ socketPath: path, method: 'POST', path: `/containers/${ID}/wait?condition=next-exit` }, onResponse).end(),
  );
  expect(answer.statusCode).toBe(200);
  resolve({ exitCode: 7, error: '' });
  let body = '';
  for await (const chunk of answer) body += chunk;
  expect(JSON.parse(body)).toEqual({ StatusCode: 7 });
});

test('an answer that fails after its headers breaks the connection', async () => {
  async function* save() {
    yield Buffer.from('tar');
    throw new TareError('Internal', 'disk error');
  }
  const path = await serveFake({ images: { save } });
  const failed = new Promise<Error>((resolve) => {
    request({ socketPath: path, path: '/images/x/get' }, (answer) => {
      answer.on('error', resolve);
      answer.resume();
    }).end();
  });
  expect((await failed).message).toBe('aborted');
});

test.each([
  ['GET', '/%zz', 404],
  ['GET', '/containers/%E0%A4%A/json', 400],
  ['PROPFIND', '/info', 404],
  ['OPTIONS', '/info', 404],
  ['GET', `/images/${'a'.repeat(5000)}/json`, 501],
])('%s %s is answered in docker’s form', async (method, path, status) => {
  const socketPath = await serveFake({});
  const answer = await new Promise<import('node:http').IncomingMessage>((resolve) =>
    request({ socketPath, method, path }, resolve).end(),
  );
  expect(answer.statusCode).toBe(status);
  let body = '';
  for await (const chunk of answer) body += chunk;
  expect(Object.keys(JSON.parse(body))).toEqual(['message']);
});

/** Refuses an archive at its first byte. */
async function* refuseAtOnce(input: AsyncIterable<Uint8Array>): AsyncGenerator<never> {
  for await (const _ of input) throw new TareError('InvalidArgument', 'a hostile entry');
  yield* [];
}

test.each(['close', 'keep-alive'])(
  'a refusal reaches a client that sends all before it reads (%s)',
  async (connection) => {
    const path = await serveFake({ images: { load: refuseAtOnce } });
    const piece = Buffer.alloc(65_536);
    for (let round = 0; round < 20; round++) {
      const sizeBytes = 64 * piece.length;
      const client = new RawClient(
        path,
        `POST /images/load HTTP/1.1\r\nHost: d\r\nConnection: ${connection}\r\nContent-Length: ${sizeBytes}\r\n\r\n`,
      );
      client.socket.pause();
      for (let sent = 0; sent < sizeBytes; sent += piece.length) {
        await new Promise<void>((resolve, reject) => {
          client.socket.write(piece, (error) => (error ? reject(error) : resolve()));
        });
      }
      client.socket.resume();
      expect(await client.until('\n')).toMatch(/^HTTP\/1\.1 400 /);
      expect(await client.until('}')).toContain('{"message":"a hostile entry"}');
      if (connection === 'close') await client.end();
      else {
        client.received = '';
        client.socket.write('GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n');
        expect(await client.until('OK')).toMatch(/^HTTP\/1\.1 200 /);
        client.socket.destroy();
      }
    }
  },
);

test.each([
  { what: 'goes on sending', sends: true, limitMs: 30_000 },
  { what: 'stops in the middle', sends: false, limitMs: 5_000 },
])('a refused client that $what is cut off', async ({ sends, limitMs }) => {
  const path = await serveFake({ images: { load: refuseAtOnce } });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const head = 'POST /images/load HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n';
    const client = new RawClient(path, `${head}first`);
    client.socket.on('error', () => {});
    let isClosed = false;
    client.socket.once('close', () => {
      isClosed = true;
    });
    await client.until('hostile entry');
    // Answered and half-closed, but still listened to.
    await expect.poll(() => client.isEnded).toBe(true);
    for (let waitedMs = 0; waitedMs < limitMs - 1000; waitedMs += 1000) {
      if (sends) client.socket.write('more');
      await new Promise((resolve) => setImmediate(resolve));
      await vi.advanceTimersByTimeAsync(1000);
    }
    client.socket.write('still taken');
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(false);
    await vi.advanceTimersByTimeAsync(limitMs);
    await expect
      .poll(() => {
        client.socket.write('no more');
        return isClosed;
      })
      .toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

test('headers over the limit are refused', async () => {
  const path = await serveFake({});
  const client = new RawClient(path, `GET /_ping HTTP/1.1\r\nHost: d\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`);
  expect(await client.end()).toMatch(/^HTTP\/1\.1 431/);
});

test('the unix socket is for its owner and group', async () => {
  const path = await serveFake({});
  expect(statSync(path).mode & 0o777).toBe(0o660);
});

test('a socket that is in use is refused, a left-over one replaced', async () => {
  const path = await serveFake({});
  const api = createApi(fakeEngine({}), { version: '0.0.0' });
  await expect(serve(api, [{ path }])).rejects.toThrow(/another engine answers there/);
  await expect(serve(api, [{ path: directory }])).rejects.toThrow(/is no socket/);
});

test('tcp on a free port', async () => {
  const serving = await serve(createApi(fakeEngine({}), { version: '1.2.3' }), [{ host: '127.0.0.1', port: 0 }]);
  cleanups.push(() => serving.close());
  const answer = await fetch(`${serving.addresses[0]?.replace('tcp:', 'http:')}/_ping`);
  expect(await answer.text()).toBe('OK');
  expect(answer.headers.get('server')).toBe('Tare/1.2.3 (linux)');
});

test('who closes lets what is being answered end, and breaks off the rest', async () => {
  const finish = Promise.withResolvers<{ exitCode: number; error: string }>();
  const never = new Promise<never>(() => {});
  const wait = async (id: string) => (id === 'slow' ? await finish.promise : await never);
  const path = join(directory, 'api.sock');
  const engine = fakeEngine({ containers: { inspect: async (id: string) => view({ id }), wait } });
  const serving = await serve(createApi(engine, { version: '0.0.0' }), [{ path }]);
  const ask = (id: string) => new RawClient(path, `POST /containers/${id}/wait HTTP/1.1\r\nHost: d\r\n\r\n`);
  const [slow, stuck] = [ask('slow'), ask('stuck')];
  await Promise.all([slow.until('200 OK'), stuck.until('200 OK')]);
  const closed = serving.close(1_000);
  finish.resolve({ exitCode: 7, error: '' });
  expect(await slow.until('"StatusCode":7')).toContain('200 OK');
  await closed;
  await expect.poll(() => stuck.socket.closed || stuck.isEnded).toBe(true);
  expect(stuck.received).not.toContain('StatusCode');
  for (const { socket } of [slow, stuck]) socket.destroy();
});

test('output that a client takes slowly leaves nothing behind in memory', async () => {
  const pieces = 60;
  // As much as one write takes.
  const chunk = new Uint8Array(256 * 1024);
  let passed = 0;
  const session = {
    tty: true,
    output: (async function* () {
      for (; passed < pieces; passed += 1) yield { stream: 'stdout' as const, chunk };
      await new Promise(() => {});
    })(),
    write: async () => {},
    closeStdin: () => {},
    async [Symbol.asyncDispose]() {},
  };
  const path = await serveFake({ containers: { attach: async () => session } });
  const promises = () => queryObjects(Promise, { format: 'count' });
  const client = connect(path);
  const before = promises();
  client.write(`POST /containers/x/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n`);
  let bytes = 0;
  client.on('data', (got: Buffer) => {
    bytes += got.length;
  });
  await expect.poll(() => bytes, { timeout: 40_000 }).toBeGreaterThanOrEqual(pieces * chunk.length);
  expect(promises() - before).toBeLessThan(pieces / 2);
  client.destroy();
});
