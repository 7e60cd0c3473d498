import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { check, errno, libc, SyscallError } from './ffi.ts';
import { formatAddress, isIPv6, parseAddress } from './internet-address.ts';
import {
  attributeU32,
  NETLINK_SOCK_DIAG,
  NetlinkSocket,
  NetlinkWriter,
  NLM_F_DUMP,
  readAttributes,
} from './netlink.ts';

const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, unsigned int length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)');

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const SO_MARK = 36;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IP_FREEBIND = 15;
const IPV6_FREEBIND = 78;
const IP_TRANSPARENT = 19;
const IPV6_TRANSPARENT = 75;
const EADDRINUSE = 98;

const SOCK_DIAG_BY_FAMILY = 20;
const INET_DIAG_MARK = 15;
const TCP_LISTEN = 1 << 10;
/** What an unconnected datagram socket counts as. */
const TCP_CLOSE = 1 << 7;

export type TransportProtocol = 'tcp' | 'udp' | 'sctp';

const protocols: Record<TransportProtocol, { type: number; number: number }> = {
  tcp: { type: SOCK_STREAM, number: 6 },
  udp: { type: SOCK_DGRAM, number: 17 },
  sctp: { type: SOCK_STREAM, number: 132 },
};

export interface LocalPort {
  protocol: TransportProtocol;
  /** An IPv4 or IPv6 address; '0.0.0.0' or '::' for all of that family. */
  address: string;
  port: number;
}

export interface BoundSocket {
  isIPv6: boolean;
  address: string;
  mark: number;
  /** By which {@link socketOwner} finds who has it open. */
  inode: number;
}

/** How a bound socket shares its port. */
export interface BindOptions {
  /** Shares with sockets of this user that also set it (SO_REUSEPORT). */
  isShared?: boolean;
  /** Recognises our own sockets in {@link listBoundSockets} (SO_MARK). */
  mark?: number;
  /** Also addresses that no link has (yet). */
  isFree?: boolean;
}

/**
 * Binds a socket, without listening. IPv6 sockets never take the IPv4 port too.
 *
 * @returns the close-on-exec descriptor; undefined: the port is in use
 * @throws {SyscallError} EADDRNOTAVAIL: no link has the address; EPROTONOSUPPORT: the kernel has no such protocol
 */
export function bindPort(local: LocalPort, options: BindOptions = {}): number | undefined {
  const { type, number } = protocols[local.protocol];
  const family = isIPv6(local.address) ? AF_INET6 : AF_INET;
  const subject = `${local.address}:${local.port}/${local.protocol}`;
  const fd = check(socket(family, type | SOCK_CLOEXEC, number), 'socket', subject);
  let bound = false;
  try {
    const set = (level: number, name: number, value: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value);
      check(setsockopt(fd, level, name, bytes, 4), 'setsockopt', subject);
    };
    // A shared socket goes without SO_REUSEADDR: two not yet listening sockets would otherwise both get the port.
    if (options.isShared === true) set(SOL_SOCKET, SO_REUSEPORT, 1);
    else if (local.protocol === 'tcp') set(SOL_SOCKET, SO_REUSEADDR, 1);
    if (options.mark !== undefined) set(SOL_SOCKET, SO_MARK, options.mark);
    if (family === AF_INET6) set(SOL_IPV6, IPV6_V6ONLY, 1);
    if (options.isFree === true) {
      if (family === AF_INET6) set(SOL_IPV6, IPV6_FREEBIND, 1);
      else set(0, IP_FREEBIND, 1);
    }
    const address = socketAddress(local);
    bound = bind(fd, address, address.length) === 0;
    if (!bound) {
      const failure = errno();
      if (failure !== EADDRINUSE) throw new SyscallError('bind', failure, subject);
      return undefined;
    }
    return fd;
  } finally {
    if (!bound) closeSync(fd);
  }
}

export interface SocketKind {
  protocol: 'tcp' | 'udp';
  isIPv6: boolean;
}

/** A socket, neither bound nor connected. @returns the close-on-exec descriptor */
export function openSocket({ protocol, isIPv6 }: SocketKind): number {
  const { type, number } = protocols[protocol];
  return check(socket(isIPv6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, number), 'socket', protocol);
}

/**
 * A socket that speaks from an address that is not this host's: whoever it connects to sees that one. The answers must be led
 * to this host by a route. Needs CAP_NET_ADMIN.
 *
 * @param mark SO_MARK of what it sends
 * @throws {SyscallError} EADDRINUSE: another socket speaks from that port
 */
export function openTransparentSocket(from: LocalPort & { protocol: 'tcp' | 'udp' }, mark: number): number {
  const isV6 = isIPv6(from.address);
  const fd = openSocket({ protocol: from.protocol, isIPv6: isV6 });
  try {
    const set = (level: number, name: number, value: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value);
      check(setsockopt(fd, level, name, bytes, 4), 'setsockopt', from.address);
    };
    if (isV6) set(SOL_IPV6, IPV6_TRANSPARENT, 1);
    else set(0, IP_TRANSPARENT, 1);
    set(SOL_SOCKET, SO_REUSEADDR, 1);
    set(SOL_SOCKET, SO_MARK, mark);
    const address = socketAddress(from);
    check(bind(fd, address, address.length), 'bind', `${from.address}:${from.port}`);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Listening TCP and unconnected UDP sockets on a local port, in the thread's network namespace, whoever owns them.
 * A TCP socket that is bound but does not listen is not among them.
 */
export function listBoundSockets(protocol: 'tcp' | 'udp', port: number): BoundSocket[] {
  using netlink = new NetlinkSocket(NETLINK_SOCK_DIAG);
  return [AF_INET, AF_INET6].flatMap((family) => {
    // struct inet_diag_req_v2: family, protocol, extensions, pad, states, then struct inet_diag_sockid.
    const request = Buffer.alloc(8 + 48);
    request.writeUInt8(family, 0);
    request.writeUInt8(protocols[protocol].number, 1);
    request.writeUInt32LE(protocol === 'tcp' ? TCP_LISTEN : TCP_CLOSE, 4);
    request.writeUInt16BE(port, 8);
    const body = new NetlinkWriter().raw(request).bytes;
    return netlink
      .request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body, `list sockets on ${protocol} port ${port}`)
      .filter((message) => message.length >= 72 && message.readUInt16BE(4) === port)
      .map((message) => ({
        isIPv6: family === AF_INET6,
        address: formatAddress(message.subarray(8, family === AF_INET6 ? 24 : 12)),
        inode: message.readUInt32LE(68),
        mark: attributeU32(readAttributes(message.subarray(72)).get(INET_DIAG_MARK)),
      }));
  });
}

/** A process that has one of these sockets open, as far as /proc shows it. Walks all processes: for messages only. */
export function socketOwner(inodes: readonly number[]): { pid: number; name: string } | undefined {
  const wanted = new Set(inodes.map((inode) => `socket:[${inode}]`));
  if (wanted.size === 0) return undefined;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const holds = readdirSync(`/proc/${pid}/fd`).some((fd) => wanted.has(linkTarget(`/proc/${pid}/fd/${fd}`)));
      if (holds) return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
    } catch {
      // It has ended, or is hidden from us.
    }
  }
  return undefined;
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}

/** struct sockaddr_in or sockaddr_in6 */
function socketAddress({ address, port }: LocalPort): Buffer {
  const bytes = parseAddress(address);
  const result = Buffer.alloc(bytes.length === 4 ? 16 : 28);
  result.writeUInt16LE(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  result.writeUInt16BE(port, 2);
  result.set(bytes, bytes.length === 4 ? 4 : 8);
  return result;
}
