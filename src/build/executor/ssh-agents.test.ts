import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import type { BuildSession } from '../session.ts';
import { type AgentRequest, serveAgent } from './ssh-agents.ts';

const session = { requireSshAgent: async () => {}, sshAgent: async () => new PassThrough() } as unknown as BuildSession;

/** Whether anybody listens there; the socket's file is gone with who made it. */
const isServed = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const client = createConnection(path, () => resolve(true)).on('error', () => resolve(false));
    client.once('connect', () => client.destroy());
  });

test('an agent whose socket cannot be given to its user is not served on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-agent-'));
  try {
    const path = join(folder, 'agent');
    const agent: AgentRequest = { ID: '', uid: 0, gid: 0, mode: 0o600, optional: false };
    {
      await using _served = await serveAgent(() => [session], agent, path);
      expect(await isServed(path)).toBe(true);
    }
    expect(existsSync(path)).toBe(false);
    // No user has such a number, as none has one that a user namespace does not know.
    await expect(serveAgent(() => [session], { ...agent, uid: 2 ** 32 }, path)).rejects.toThrow('uid');
    expect(await isServed(path)).toBe(false);
    expect(existsSync(path)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
