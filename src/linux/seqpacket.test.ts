import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connectSeqpacket } from './seqpacket.ts';

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
