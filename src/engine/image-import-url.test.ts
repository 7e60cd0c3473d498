import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ImageLab, nothing, plainLayer } from './image-archives.fixture.ts';

/** @returns the port of a server that ends with the test */
async function listening(answer: RequestListener): Promise<number> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('whoever leaves before the first byte was taken leaves no connection open', async () => {
  await using lab = await ImageLab.open();
  const closed = Promise.withResolvers<void>();
  const port = await listening((_, response) => {
    response.on('close', closed.resolve);
    // More than any buffer on the way takes.
    response.write(Buffer.alloc(8 << 20));
  });
  const importing = lab.images.importFrom(`127.0.0.1:${port}/root.tar`, {})[Symbol.asyncIterator]();
  expect((await importing.next()).value).toEqual({ status: `Downloading from http://127.0.0.1:${port}/root.tar` });
  await importing.return?.();
  await closed.promise;
  expect(await lab.inventory()).toEqual(nothing);
});

test('a password in the address goes to its server alone', async () => {
  await using lab = await ImageLab.open();
  const seen: (string | undefined)[] = [];
  const elsewhere = await listening((request, response) => {
    seen.push(request.headers.authorization);
    response.end(plainLayer({ a: 'b' }).stored);
  });
  const first = await listening((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(302, { location: `http://127.0.0.1:${elsewhere}/root.tar` }).end();
  });
  const said = await Array.fromAsync(lab.images.importFrom(`http://me:p%40ss@127.0.0.1:${first}/root.tar`, {}));
  expect(seen).toEqual([`Basic ${Buffer.from('me:p@ss').toString('base64')}`, undefined]);
  const id = said.at(-1)!.status!;
  const told = JSON.stringify([said, await lab.images.history(id), await lab.images.inspect(id)]);
  expect(told).not.toMatch(/me:|p%40ss|p@ss/);
  expect(told).toContain(`Imported from http://127.0.0.1:${first}/root.tar`);
});
