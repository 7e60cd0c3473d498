import { once } from 'node:events';
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

test('what was sent before an end is read, whatever of ours was not', async () => {
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
  await new Promise((resolve) => client.write('never read', resolve));
  writeSync(server, 'one');
  writeSync(server, 'two');
  closeSync(server);
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  expect(packets).toEqual(['one', 'two']);
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
