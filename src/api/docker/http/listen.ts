import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect, type ListenOptions } from 'node:net';
import { messageOf, TareError } from '../../../errors/index.ts';
import type { TlsOptions } from './tls.ts';

export interface TcpListener {
  host: string;
  port: number;
  /** undefined: plain HTTP. */
  tls?: TlsOptions;
  /** Names beside the address itself by which clients may call this host. */
  allowedHosts?: readonly string[];
  /** Origins of web pages that may call; none unless given. */
  allowedOrigins?: readonly string[];
}

export type Listener = { path: string; mode?: number; gid?: number } | TcpListener | { fd: number };

/**
 * Binds a server. A unix socket's file is replaced if nobody listens on it.
 * @throws {TareError} Conflict: somebody listens there already
 */
export async function listen(server: Server, listener: Listener): Promise<void> {
  if ('fd' in listener) {
    await bound(server, { fd: listener.fd });
    if (typeof server.address() === 'string') return;
    server.close();
    throw new TareError(
      'InvalidArgument',
      `fd ${listener.fd} is no unix socket: name a tcp:// address with -H instead`,
    );
  }
  if ('port' in listener) return await bound(server, { host: listener.host, port: listener.port });
  await removeStale(listener.path);
  const mode = listener.mode ?? 0o660;
  // The file must never be there with wider rights than it will have.
  const before = process.umask(0o777 & ~mode);
  const listening = bound(server, { path: listener.path });
  process.umask(before);
  await listening;
  chmodSync(listener.path, mode);
  const gid = listener.gid ?? dockerGroup();
  if (gid !== undefined) chownSync(listener.path, 0, gid);
}

function bound(server: Server, options: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const where = options.path ?? (options.fd === undefined ? `${options.host}:${options.port}` : `fd ${options.fd}`);
      reject(new TareError('Conflict', `cannot listen on ${where}: ${messageOf(cause)}`, { cause }));
    });
    server.listen(options, () => resolve());
  });
}

/** Removes a socket file that a killed process left. @throws {TareError} Conflict: it is in use, or no socket */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new TareError('Conflict', `cannot listen on ${path}: it exists and is no socket`);
  const isServed = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
  if (isServed)
    throw new TareError('Conflict', `cannot listen on ${path}: another engine answers there; stop it first`);
  unlinkSync(path);
}

/** Id of the group whose members may use the engine, when the host has it. */
function dockerGroup(): number | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/group', 'utf8').match(/^docker:[^:]*:([0-9]+):/m);
  return line ? Number(line[1]) : undefined;
}

export function addressOf(server: Server, listener: Listener): string {
  if ('path' in listener) return `unix://${listener.path}`;
  if ('fd' in listener) return `fd://${listener.fd}`;
  const address = server.address();
  if (address === null || typeof address === 'string') return `tcp://${listener.host}:${listener.port}`;
  return `tcp://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}
