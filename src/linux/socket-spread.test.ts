import { createSocket, type Socket } from 'node:dgram';
import { expect, test } from 'vitest';
import { spreadBySource } from './socket-spread.ts';
import { bindPort } from './sockets.ts';

const bound = (fd: number): Promise<Socket> => {
  const socket = createSocket('udp4');
  const { promise, resolve } = Promise.withResolvers<Socket>();
  socket.bind({ fd }, () => resolve(socket));
  return promise;
};

test('each sender has one of the sockets of a port, whatever port he sends from', async () => {
  await using sockets = new AsyncDisposableStack();
  const heard: string[][] = [[], [], []];
  const port = 20_055;
  for (const [index, told] of heard.entries()) {
    const fd = bindPort({ protocol: 'udp', address: '127.31.0.1', port }, { isShared: true })!;
    const socket = await bound(fd);
    sockets.defer(() => void socket.close());
    socket.on('message', (_message, { address }) => told.push(address));
    if (index === 0) spreadBySource(fd, 4, heard.length);
  }
  for (let round = 0; round < 5; round += 1) {
    for (const last of [1, 2, 3, 4]) {
      const sender = createSocket('udp4');
      sender.bind(0, `127.31.0.${last}`, () => sender.send('x', port, '127.31.0.1', () => sender.close()));
    }
  }
  const all = () => heard.flat().length;
  for (let waited = 0; all() < 20 && waited < 100; waited += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(all()).toBe(20);
  const homes = heard.map((told) => [...new Set(told)].sort());
  expect(homes.flat()).toHaveLength(4);
  expect(homes.filter((home) => home.length > 0)).toHaveLength(3);
});
