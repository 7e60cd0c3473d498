import { lookup } from 'node:dns/promises';
import type { Agent, ClientRequestArgs } from 'node:http';
import { type LookupFunction, Socket, type SocketConstructorOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import { isIPv6, openHostSocket } from '../../linux/index.ts';

/** Beyond it the next address of a host is tried. */
const CONNECT_MS = 15_000;

type Created = (error: Error | null, socket?: Duplex) => void;
type Create = (options: ClientRequestArgs & { socket?: Socket }, created?: Created) => Duplex | null | undefined;

/** Has an agent connect by the host's network, where the process's own is another: so that a registry on this host is reached. */
export function connectByHost(agent: Agent, isTls: boolean): void {
  const own = agent as unknown as { createConnection: Create };
  const create = own.createConnection.bind(agent);
  own.createConnection = (options, created) => {
    connect(options).then(
      (socket) => created?.(null, isTls ? (create({ ...options, socket }) ?? undefined) : socket),
      (error: Error) => created?.(error),
    );
    return undefined;
  };
}

async function connect(options: ClientRequestArgs): Promise<Socket> {
  let failure: unknown;
  for (const address of await addressesOf(String(options.host ?? 'localhost'), options.lookup)) {
    try {
      return await connectTo(address, Number(options.port));
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

async function addressesOf(host: string, own: LookupFunction | undefined): Promise<string[]> {
  if (own === undefined) return (await lookup(host, { all: true })).map(({ address }) => address);
  return await new Promise((resolve, reject) => {
    own(host, { all: true }, (error, found) => {
      if (error) reject(error);
      else resolve(typeof found === 'string' ? [found] : found.map(({ address }) => address));
    });
  });
}

async function connectTo(host: string, port: number): Promise<Socket> {
  const fd = openHostSocket({ protocol: 'tcp', isIPv6: isIPv6(host) });
  // A socket that is not connected yet has nothing to read.
  const socket = new Socket({ fd, manualStart: true } as SocketConstructorOpts);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('connect', resolve).once('error', reject);
  const late = () => reject(new Error(`no connection to ${host} port ${port} within ${CONNECT_MS / 1000} s`));
  const timer = setTimeout(late, CONNECT_MS);
  try {
    socket.connect({ host, port });
    await promise;
    socket.off('error', reject);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
