import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bindPort } from '../linux/index.ts';
import { proxyDatagrams } from './datagram-proxy.ts';

const PORT = 45_677;

let server: Socket;
let proxy: Disposable;
const clients: Socket[] = [];

/** Answers with the port that it was asked from: one a session. */
beforeEach(async () => {
  server = createSocket('udp4');
  server.on('message', (message, { address, port }) => {
    if (message.toString() !== 'silence') server.send(String(port), port, address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const fd = bindPort({ protocol: 'udp', address: '::1', port: PORT });
  proxy = proxyDatagrams(fd!, '::1', { address: '127.0.0.1', port: server.address().port });
});
afterEach(() => {
  proxy[Symbol.dispose]();
  for (const client of clients.splice(0)) client.close();
  server.close();
});

async function client(): Promise<Socket> {
  const socket = createSocket('udp6');
  clients.push(socket);
  socket.bind(0, '::1');
  await once(socket, 'listening');
  return socket;
}

async function ask(socket: Socket): Promise<string> {
  const answered = once(socket, 'message');
  socket.send('which', PORT, '::1');
  const [message] = await answered;
  return String(message);
}

const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

test('each client keeps a session of its own, also with several datagrams before the first answer', async () => {
  const [a, b] = [await client(), await client()];
  let answers = 0;
  a.on('message', () => {
    answers += 1;
  });
  for (let count = 0; count < 5; count += 1) a.send('which', PORT, '::1');
  await expect.poll(() => answers).toBe(5);
  const first = await ask(a);
  expect(await ask(b)).not.toBe(first);
  expect(await ask(a)).toBe(first);
});

test("an answer from anybody but the container's address is not passed on", async () => {
  const a = await client();
  const session = Number(await ask(a));
  let answers = 0;
  a.on('message', () => {
    answers += 1;
  });
  const stranger = await client();
  const from4 = createSocket('udp4');
  from4.send('forged', session, '127.0.0.1');
  stranger.send('silence', PORT, '::1');
  await ask(a);
  expect(answers).toBe(1);
  from4.close();
});

test('no more than 1,024 sessions: the one that was silent the longest gives way', async () => {
  const early = await client();
  const kept = await ask(early);
  const before = openDescriptors();
  for (let count = 0; count < 1100; count += 1) {
    const socket = await client();
    await ask(socket);
    socket.close();
    clients.pop();
  }
  expect(openDescriptors() - before).toBeLessThanOrEqual(1024);
  expect(await ask(early)).not.toBe(kept);
}, 30_000);
