import { chmodSync, chownSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { TareError } from '../../errors/index.ts';
import { firstSession } from '../first-session.ts';
import type { BuildSession } from '../session.ts';

/** More than any tool opens to its agent. */
const MAX_CONNECTIONS = 128;

type Sessions = () => readonly BuildSession[];

export interface AgentRequest {
  ID: string;
  uid: number;
  gid: number;
  mode: number;
  optional: boolean;
}

/**
 * A socket in memory behind which a client's SSH agent answers.
 *
 * @returns undefined: no client has such an agent, and it is optional
 * @throws {TareError} NotFound, in BuildKit's words
 */
export async function serveAgent(
  sessions: Sessions,
  agent: AgentRequest,
  path: string,
): Promise<AsyncDisposable | undefined> {
  const id = agent.ID || 'default';
  const session = await findAgent(sessions, id);
  if (session === undefined) {
    if (agent.optional) return undefined;
    throw new TareError(
      'NotFound',
      `no SSH key ${JSON.stringify(id)} forwarded from the client: build with --ssh ${id}`,
    );
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const connections = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    socket.on('error', () => undefined); // 'close' follows
    forward(session, id, socket).catch(() => void socket.destroy());
  });
  server.maxConnections = MAX_CONNECTIONS;
  await using undo = new AsyncDisposableStack();
  // A folder's path may be longer than a socket's address.
  const folder = undo.adopt(openSync(dirname(path), constants.O_DIRECTORY | constants.O_RDONLY), closeSync);
  undo.defer(async () => {
    for (const socket of connections) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const listening = Promise.withResolvers<void>();
  // Later ones too: of a connection that could not be taken, the program hears by itself.
  server.on('error', listening.reject);
  server.listen(`/proc/self/fd/${folder}/${basename(path)}`, listening.resolve);
  await listening.promise;
  chmodSync(path, agent.mode & 0o777);
  chownSync(path, agent.uid, agent.gid);
  return undo.move();
}

const findAgent = (sessions: Sessions, id: string): Promise<BuildSession | undefined> =>
  firstSession(sessions(), async (session) => {
    await session.requireSshAgent(id);
    return session;
  });

async function forward(session: BuildSession, id: string, socket: Socket): Promise<void> {
  const agent = await session.sshAgent(id);
  if (socket.destroyed) {
    agent.destroy();
    return;
  }
  socket.resume();
  await Promise.allSettled([pipeline(socket, agent), pipeline(agent, socket)]);
}
