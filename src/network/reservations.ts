import { closeSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { TareError } from '../errors/index.ts';
import { bindHostPort, isAway, SyscallError } from '../linux/index.ts';
import { connectFor } from './client-address.ts';
import { proxyDatagrams } from './datagram-proxy.ts';
import type { PortMapping } from './driver.ts';
import type { PublishedPort } from './network-service.ts';
import { hostText, RESERVATION_MARK } from './published-ports.ts';

const nothing: Disposable = { [Symbol.dispose]: () => {} };

/**
 * What a living process does for a published port: it keeps the port from other programs, and carries the IPv6
 * connections and datagrams that the kernel's rules cannot (those of `[::1]`, and all when the container has no IPv6).
 * Where the engine's network is not the host's, it carries all of them.
 *
 * @throws {TareError} Conflict: another program has the port
 */
export function holdPublished(port: PublishedPort): Disposable {
  using held = new DisposableStack();
  const listenOn = proxiedAddress(port);
  const target = { address: port.containerIp, port: port.containerPort };
  // Of UDP sockets that share an address each gets a part of the datagrams: the proxy's own holds the port as well.
  if (port.protocol !== 'udp' || listenOn !== port.hostIp) held.use(holdPort(port));
  if (listenOn === undefined || port.protocol === 'sctp') return held.move();
  const mapping = { ...port, hostIp: listenOn };
  if (port.protocol === 'tcp') held.use(proxyPort(mapping, target));
  else held.use(proxyDatagrams(reserve(mapping), listenOn, target));
  return held.move();
}

/** The address to listen on for the connections that do not go through the rules, or undefined. */
function proxiedAddress({ hostIp, containerIp }: PublishedPort): string | undefined {
  if (containerIp === '') return undefined;
  // The rules are in the engine's own network, where nothing from the host comes by.
  if (isAway()) return hostIp;
  if (!hostIp.includes(':')) return undefined;
  if (!containerIp.includes(':')) return hostIp;
  // The kernel never routes ::1 out of the loopback link, whatever the rules make of its target.
  return hostIp === '::' || hostIp === '::1' ? '::1' : undefined;
}

/**
 * Binds a port without listening, so that nobody else takes it while the rules lead its traffic elsewhere.
 * @throws {TareError} Conflict: another program has it
 */
export function holdPort(mapping: PortMapping): Disposable {
  // A second socket would take a part of the datagrams that are the proxy's there.
  if (isAway() && mapping.protocol === 'udp') return nothing;
  try {
    const fd = reserve(mapping);
    return { [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    // Without SCTP in the kernel, nobody can take an SCTP port.
    if (error instanceof SyscallError && error.code === 'EPROTONOSUPPORT') return nothing;
    throw error;
  }
}

/**
 * Carries TCP connections from a port of this host to a container, both directions, half-closed ones too.
 * @throws {TareError} Conflict: another program has the port
 */
function proxyPort(mapping: PortMapping, target: { address: string; port: number }): Disposable {
  const fd = reserve(mapping);
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const { remoteAddress = '', remotePort = 0 } = client;
    const upstream = connectFor({ address: remoteAddress, port: remotePort }, target);
    join(open, client, upstream);
    join(open, upstream, client);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  // The listening itself: the port was bound before, so what fails here is one client's accept.
  server.on('error', () => {});
  server.listen({ fd });
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** Ends one side's connection when the other's fails. */
function join(open: Set<Socket>, socket: Socket, other: Socket): void {
  open.add(socket);
  socket.on('error', () => other.destroy());
  socket.on('close', () => {
    open.delete(socket);
    // Not before its last bytes are out: an orderly end was passed on by pipe() already.
    if (!other.writableFinished && !other.writableEnded) other.destroy();
  });
}

function reserve(mapping: PortMapping): number {
  const { protocol, hostIp: address, hostPort: port } = mapping;
  const fd = bindHostPort({ protocol, address, port }, { isShared: true, isFree: true, mark: RESERVATION_MARK });
  if (fd === undefined) {
    throw new TareError('Conflict', `port ${hostText(address, port)}/${protocol} is taken by another program`);
  }
  return fd;
}
