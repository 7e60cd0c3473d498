import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2, createServer as createHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BuildService } from '../../engine/index.ts';
import { type BuildApi, openBuildApi } from './build-api.ts';

const PATIENCE_MS = 30_000;
let folder: string;
let api: BuildApi;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-gone-'));
  api = await openBuildApi({} as BuildService, { version: '0' });
});
afterEach(() => {
  api[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

test.each([
  { what: 'session', isSession: true },
  { what: 'connection for calls', isSession: false },
])('a $what ends with its client, though its own side stays open', async ({ isSession }) => {
  const path = join(folder, 'socket');
  let isOver = false;
  // As docker's socket is: one side of a connection may end before the other.
  const server = createServer({ allowHalfOpen: true }, async (connection) => {
    if (isSession) await api.session(connection, { 'x-docker-expose-session-uuid': 'one' });
    else await api.serve(connection);
    isOver = true;
  });
  await once(server.listen(path), 'listening');
  const client = connect(path);
  if (isSession) createHttp2().emit('connection', client);
  else connectHttp2('http://localhost', { createConnection: () => client });
  await vi.waitFor(() => expect(client.bytesRead).toBeGreaterThan(0), PATIENCE_MS);
  expect(isOver).toBe(false);
  client.destroy();
  await vi.waitFor(() => expect(isOver).toBe(true), PATIENCE_MS);
  server.close();
});

test('a session that is over before it has begun does no harm', async () => {
  const [connection] = duplexPair();
  void api.session(connection, { 'x-docker-expose-session-uuid': 'one' });
  api[Symbol.dispose]();
  // What node tells of it comes later: an error then would be nobody's.
  await new Promise(setImmediate);
});

test('what a client may ask of one connection at once is bounded, and it is told', async () => {
  const [near, far] = duplexPair();
  void api.serve(far);
  const client = connectHttp2('http://localhost', { createConnection: () => near });
  await once(client, 'remoteSettings');
  expect(client.remoteSettings).toMatchObject({ maxConcurrentStreams: 4096, maxHeaderListSize: 65_536 });
  const call = client.request({
    ...{ ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', te: 'trailers' },
    ...{ 'content-type': 'application/grpc', 'x-long': 'a'.repeat(40_000) },
  });
  call.end(Buffer.alloc(5)).resume();
  const [trailers] = await once(call, 'trailers');
  expect(trailers).toMatchObject({ 'grpc-status': '0' });
  client.destroy();
});
