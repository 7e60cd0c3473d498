import { randomInt } from 'node:crypto';
import { closeSync, readFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { bindHostPort, isAway, isIPv6, listHostSockets, SyscallError, socketOwner } from '../linux/index.ts';
import type { Transaction } from '../state/index.ts';
import type { PortMapping } from './driver.ts';
import type { PortRequest } from './network-service.ts';
import { STAND_IN_MARK } from './socket-marks.ts';

/** SO_MARK of the sockets that hold our published ports ("tare"), by which a probe tells them from strangers'. */
export const RESERVATION_MARK = 0x74617265;

const FREE_PORT_FIRST = 49_153;
const FREE_PORT_LAST = 65_535;

export const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::';

/** '8.8.8.8:53', '[::1]:53' */
export const hostText = (hostIp: string, port: number): string =>
  isIPv6(hostIp) ? `[${hostIp}]:${port}` : `${hostIp}:${port}`;

/**
 * Finds a host port for one requested publication, for all of its addresses at once.
 *
 * @param hostIps the addresses to publish on
 * @param target where it leads, for the message
 * @param containerName how a container is called in it
 * @throws {TareError} Conflict: no port of the wanted ones is free; names who holds it. InvalidArgument: not an address of this host
 */
export function choosePort(
  tx: Transaction,
  request: PortRequest,
  hostIps: readonly string[],
  target: string,
  containerName: (id: string) => string,
): PortMapping[] {
  const { protocol, containerPort } = request;
  let refusal: TareError | undefined;
  for (const hostPort of candidates(request)) {
    refusal = undefined;
    for (const hostIp of hostIps) {
      refusal = obstacle(tx, { protocol, containerPort, hostIp, hostPort }, target, containerName);
      if (refusal !== undefined) break;
    }
    if (refusal === undefined) return hostIps.map((hostIp) => ({ protocol, containerPort, hostIp, hostPort }));
  }
  if (refusal !== undefined && request.hostPort !== 0 && request.hostPort === request.hostPortEnd) throw refusal;
  throw new TareError(
    'Conflict',
    request.hostPort === 0
      ? `all ports from ${FREE_PORT_FIRST} to ${FREE_PORT_LAST} are allocated: name a port`
      : `all ports are allocated in ${protocol} range ${request.hostPort}-${request.hostPortEnd}: ${refusal?.message ?? 'none is free'}`,
  );
}

function* candidates({ hostPort, hostPortEnd }: PortRequest): Generator<number> {
  if (hostPort !== 0) {
    for (let port = hostPort; port <= Math.max(hostPort, hostPortEnd); port += 1) yield port;
    return;
  }
  // From a random one on, so that a port just given back is not at once somebody else's.
  const count = FREE_PORT_LAST - FREE_PORT_FIRST + 1;
  const start = randomInt(count);
  for (let step = 0; step < count; step += 1) yield FREE_PORT_FIRST + ((start + step) % count);
}

/** Why a mapping cannot be had, or undefined. */
function obstacle(
  tx: Transaction,
  mapping: PortMapping,
  target: string,
  containerName: (id: string) => string,
): TareError | undefined {
  const where = hostText(mapping.hostIp, mapping.hostPort);
  const holder = tx
    .all<{ host_ip: string; container_id: string }>(
      'SELECT host_ip, container_id FROM ports WHERE protocol = ? AND host_port = ?',
      mapping.protocol,
      mapping.hostPort,
    )
    .find(({ host_ip }) => collide(host_ip, mapping.hostIp));
  if (holder !== undefined) {
    return new TareError(
      'Conflict',
      `Bind for ${where} failed: port is already allocated (by container ${containerName(holder.container_id)})`,
    );
  }
  const failed = `failed to bind host port for ${where}:${target}:${mapping.containerPort}/${mapping.protocol}`;
  try {
    if (isFree(mapping)) return undefined;
    return new TareError('Conflict', `${failed}: address already in use${holderText(mapping)}`);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    // A kernel without SCTP sockets has nothing that could hold an SCTP port.
    if (error.code === 'EPROTONOSUPPORT') return undefined;
    if (error.code === 'EADDRNOTAVAIL') {
      return new TareError(
        'InvalidArgument',
        `${failed}: cannot assign requested address (no link of this host has it)`,
      );
    }
    if (error.code === 'EACCES') {
      return new TareError(
        'Forbidden',
        `${failed}: permission denied: without root, choose a port from ${firstFreePort()} on, or have root lower net.ipv4.ip_unprivileged_port_start`,
      );
    }
    return new TareError('Internal', `${failed}: ${error.message}`, { cause: error });
  }
}

/** The first port that needs no privilege. */
function firstFreePort(): string {
  try {
    return readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'latin1').trim();
  } catch {
    return '1024';
  }
}

function collide(a: string, b: string): boolean {
  if (isIPv6(a) !== isIPv6(b)) return false;
  return a === b || isWildcard(a) || isWildcard(b);
}

/** Whether nobody but our own reservations has the port. */
function isFree({ protocol, hostIp, hostPort }: PortMapping): boolean {
  const local = { protocol, address: hostIp, port: hostPort };
  const fd = bindHostPort(local);
  if (fd !== undefined) {
    closeSync(fd);
    return true;
  }
  // A reservation of a container that has just gone may still be bound, or names be served: they share, and bear our
  // mark, as this probe does, which is listed itself.
  const shared = bindHostPort(local, { isShared: true, mark: RESERVATION_MARK });
  if (shared === undefined) return false;
  try {
    if (protocol === 'sctp') return true;
    // There our sockets listen, and bear no mark: that they share, and are of this user, has to do.
    if (isAway()) return true;
    return listHostSockets(protocol, hostPort).every(
      (socket) => socket.isIPv6 !== isIPv6(hostIp) || socket.mark === RESERVATION_MARK || socket.mark === STAND_IN_MARK,
    );
  } finally {
    closeSync(shared);
  }
}

/** ' (by nginx, process 812)', as far as /proc tells; '' otherwise. */
function holderText({ protocol, hostIp, hostPort }: PortMapping): string {
  if (protocol === 'sctp') return '';
  const inodes = listHostSockets(protocol, hostPort)
    .filter((socket) => socket.isIPv6 === isIPv6(hostIp))
    .map(({ inode }) => inode);
  const holder = socketOwner(inodes);
  return holder === undefined ? '' : ` (by ${holder.name}, process ${holder.pid})`;
}
