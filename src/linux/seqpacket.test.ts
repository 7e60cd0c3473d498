import { closeSync, mkdirSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { libc } from './ffi.ts';
import { connectSeqpacket } from './seqpacket.ts';
import { unixAddress, unixSocket } from './unix-socket.ts';

const bind = libc.func('int bind(int fd, const void *address, unsigned int length)');
const listen = libc.func('int listen(int fd, int backlog)');
const accept = libc.func('int accept(int fd, void *address, void *length)');

test.each([
  { end: 'a reset, as ours was not read', unread: ['never read'], code: 'ECONNRESET' },
  { end: 'a plain end', unread: [], code: undefined },
])('what was sent before $end is read', async ({ unread, code }) => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-seqpacket-'));
  const path = join(folder, 'socket');
  const listener = unixSocket('seqpacket');
  const address = unixAddress(path);
  expect(bind(listener, address, address.length)).toBe(0);
  expect(listen(listener, 1)).toBe(0);
  const packets: string[] = [];
  const buffer = Buffer.alloc(100);
  const client = await connectSeqpacket(path, {
    buffer,
    callback: (bytes) => packets.push(buffer.toString('latin1', 0, bytes)) > 0,
  });
  const server = accept(listener, null, null) as number;
  for (const packet of unread) await new Promise((resolve) => client.write(packet, resolve));
  for (const packet of ['one', 'two', 'three']) writeSync(server, packet);
  closeSync(server);
  const ended = new Promise<NodeJS.ErrnoException | undefined>((resolve) =>
    client.once('error', resolve).once('end', () => resolve(undefined)),
  );
  expect((await ended)?.code).toBe(code);
  expect(packets).toEqual(['one', 'two', 'three']);
  client.destroy();
  closeSync(listener);
  rmSync(folder, { recursive: true });
});

test('nobody who listens is an error, and so is a name that is too long', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-seqpacket-'));
  const onread = { buffer: Buffer.alloc(10), callback: () => true };
  await expect(connectSeqpacket(join(folder, 'none'), onread)).rejects.toMatchObject({ code: 'ENOENT' });
  mkdirSync(join(folder, 'x'));
  await expect(connectSeqpacket(join(folder, 'x'), onread)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await expect(connectSeqpacket(join(folder, 'n'.repeat(200)), onread)).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  await expect(connectSeqpacket(join(folder, 'no', 'x'), onread)).rejects.toMatchObject({ code: 'ENOENT' });
  rmSync(folder, { recursive: true });
});
