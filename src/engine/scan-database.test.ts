import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { updateScanDatabase } from './scan-database.ts';

/** An empty zip file. */
const zip = Buffer.concat([Buffer.from('PK\x05\x06'), Buffer.alloc(18)]);
const modified = 'Wed, 21 Oct 2015 07:28:00 GMT';

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

async function mirror(answer: Answer) {
  const stack = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'tare-scan-db-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    answer(request, response, asked.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const from = `http://127.0.0.1:${(server.address() as AddressInfo).port}/osv/`;
  return {
    folder,
    asked,
    from,
    update: (...ecosystems: string[]) => Array.fromAsync(updateScanDatabase(join(folder, 'db'), { ecosystems, from })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const send: Answer = (request, response) => {
  if (request.headers['if-modified-since'] === modified) response.writeHead(304).end();
  else response.writeHead(200, { 'last-modified': modified }).end(zip);
};

test('a file an ecosystem, fetched again only when it changed', async () => {
  await using server = await mirror(send);
  expect(await server.update('Debian:12', 'Rocky Linux')).toEqual([
    { ecosystem: 'Debian:12', receivedBytes: 22 },
    { ecosystem: 'Rocky Linux', receivedBytes: 22 },
  ]);
  expect(server.asked).toEqual(['/osv/Debian%3A12/all.zip', '/osv/Rocky%20Linux/all.zip']);
  const db = join(server.folder, 'db');
  expect(readdirSync(db).sort()).toEqual(['Debian:12.zip', 'Rocky Linux.zip']);
  expect(statSync(join(db, 'Debian:12.zip')).mtime).toEqual(new Date(modified));
  expect(statSync(db).mode & 0o777).toBe(0o700);
  expect(await server.update('Debian:12')).toEqual([{ ecosystem: 'Debian:12', receivedBytes: undefined }]);
});

test('a connection that breaks is tried again, and what it left is gone', async () => {
  await using server = await mirror((request, response, count) => {
    if (count > 1) return send(request, response, count);
    response.writeHead(200, { 'content-length': '1000' }).write(zip.subarray(0, 10));
    response.flushHeaders();
    setTimeout(() => response.destroy(), 20);
  });
  expect(await server.update('PyPI')).toEqual([{ ecosystem: 'PyPI', receivedBytes: 22 }]);
  expect(server.asked).toHaveLength(2);
  expect(readdirSync(join(server.folder, 'db'))).toEqual(['PyPI.zip']);
});

test.each<[string, Answer, string, RegExp, number]>([
  ['no such ecosystem', (_, response) => response.writeHead(404).end(), 'NotFound', /there is no database of Go/, 1],
  [
    'a server in trouble',
    (_, response) => response.writeHead(503).end(),
    'Unavailable',
    /cannot fetch the database of Go: .*answered 503/,
    3,
  ],
  ['a page in its place', (_, response) => response.end('<html>'), 'InvalidArgument', /what came is no zip file/, 1],
  ['nothing', (_, response) => response.end(), 'InvalidArgument', /what came is no zip file/, 1],
  ['a broken line', (_, response) => response.destroy(), 'Unavailable', /cannot fetch the database of Go/, 3],
])('%s: said, and nothing is kept but what was there', async (_, answer, kind, message, tries) => {
  let isBroken = false;
  await using server = await mirror((...exchange) => (isBroken ? answer : send)(...exchange));
  await server.update('Go');
  isBroken = true;
  const before = server.asked.length;
  await expect(server.update('Go')).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  expect(server.asked.length - before).toBe(tries);
  const db = join(server.folder, 'db');
  expect(readdirSync(db)).toEqual(['Go.zip']);
  expect(readFileSync(join(db, 'Go.zip'))).toEqual(zip);
});

test.each(['', '../x', 'a/b', '.hidden', 'x\n', 'a'.repeat(200)])(
  'an ecosystem %j is refused before anything is asked',
  async (name) => {
    await using server = await mirror(send);
    await expect(server.update('Go', name)).rejects.toMatchObject({
      kind: 'InvalidArgument',
      message: expect.stringContaining('invalid ecosystem'),
    });
    expect(server.asked).toEqual([]);
  },
);

test.each(['ftp://x', 'x', 'file:///etc/passwd'])('an address %s is refused', async (from) => {
  await expect(Array.fromAsync(updateScanDatabase('/nonexistent', { from }))).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringContaining('want https://HOST[/PATH]'),
  });
});

test('what a killed update left goes with a later one', async () => {
  await using server = await mirror(send);
  await server.update('Go');
  const db = join(server.folder, 'db');
  const [old, young] = [join(db, 'Go.zip.11.part'), join(db, 'Go.zip.12.part')];
  for (const path of [old, young]) writeFileSync(path, 'half');
  utimesSync(old, new Date(0), new Date(0));
  await server.update('Go');
  expect(readdirSync(db).sort()).toEqual(['Go.zip', 'Go.zip.12.part']);
});

test('giving up is possible', async () => {
  await using server = await mirror(() => {});
  const signal = AbortSignal.timeout(50);
  const fetching = Array.fromAsync(
    updateScanDatabase(join(server.folder, 'db'), { ecosystems: ['Go'], from: server.from, signal }),
  );
  await expect(fetching).rejects.toMatchObject({ name: 'TimeoutError' });
  expect(readdirSync(join(server.folder, 'db'))).toEqual([]);
});
