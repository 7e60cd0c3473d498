import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { BlockList, connect, Socket, type SocketConstructorOpts } from 'node:net';
import { deliverMarked, isAway, isIPv6, openTransparentSocket, RouteSocket, SyscallError } from '../linux/index.ts';

/*
 * Where the engine's network is not the host's (rootless), a process carries the connections to published ports, and speaks to
 * the container from the client's own address. What the container answers is for that address, and must come back to the process.
 */

/** SO_MARK of what is sent in a client's name ("targ"). */
const CLIENT_MARK = 0x74617267;
/** Mark of packets that answer it ("tarh"). */
const ANSWER_MARK = 0x74617268;
/** Routing table that delivers them here. */
const ANSWER_TABLE = 116;

/** Leads answers to clients' addresses back to this network's sockets, for as long as the network is there. */
export const answerForClients = (): void => deliverMarked(ANSWER_MARK, ANSWER_TABLE);

/** Chains that recognise such answers. */
export const clientAddressChains = [
  {
    name: 'asked',
    hook: 'type filter hook output priority mangle; policy accept;',
    rules: [`meta mark ${CLIENT_MARK} ct mark set meta mark`],
  },
  {
    name: 'answered',
    hook: 'type filter hook prerouting priority mangle; policy accept;',
    rules: [`ct direction reply ct mark ${CLIENT_MARK} meta mark set ${ANSWER_MARK}`],
  },
];

export interface Client {
  address: string;
  port: number;
}

/** Addresses that a container would look for elsewhere than at its gateway. */
const unspeakable = new BlockList();
unspeakable.addSubnet('127.0.0.0', 8, 'ipv4');
unspeakable.addSubnet('0.0.0.0', 8, 'ipv4');
unspeakable.addSubnet('169.254.0.0', 16, 'ipv4');
unspeakable.addSubnet('224.0.0.0', 3, 'ipv4');
unspeakable.addAddress('::1', 'ipv6');
unspeakable.addAddress('::', 'ipv6');
unspeakable.addSubnet('fe80::', 10, 'ipv6');
unspeakable.addSubnet('ff00::', 8, 'ipv6');

/** How old what is known of the links may be. */
const LINKS_MS = 1_000;
let links: { prefixes: BlockList; readMs: number } | undefined;

/** Whether an address of the host's world is one of the engine's own networks, where a container would look for it on its link. */
function isOnOwnLink(address: string): boolean {
  const now = performance.now();
  if (links === undefined || now - links.readMs > LINKS_MS) {
    const prefixes = new BlockList();
    using route = new RouteSocket();
    const ways = route.routes();
    // The link that leads outside has the host's addresses.
    const outward = new Set(ways.filter(({ prefix }) => prefix === 0).map(({ index }) => index));
    for (const { destination, prefix, gateway, index } of ways) {
      if (gateway !== '' || outward.has(index)) continue;
      prefixes.addSubnet(destination, prefix, isIPv6(destination) ? 'ipv6' : 'ipv4');
    }
    links = { prefixes, readMs: now };
  }
  return links.prefixes.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/**
 * A socket that speaks to a container in a client's name, if that can be.
 *
 * @returns a descriptor; undefined: by the gateway's address then
 */
function socketInNameOf(client: Client, target: Client, protocol: 'tcp' | 'udp'): number | undefined {
  if (!isAway()) return undefined;
  const isV6 = isIPv6(client.address);
  if (isV6 !== isIPv6(target.address) || unspeakable.check(client.address, isV6 ? 'ipv6' : 'ipv4')) return undefined;
  if (isOnOwnLink(client.address)) return undefined;
  // The port may be in use: one client can have a connection to each of two published ports by the same port of his.
  for (const port of [client.port, 0]) {
    try {
      return openTransparentSocket({ protocol, address: client.address, port }, CLIENT_MARK);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }
  return undefined;
}

/** Connects to a container, in the client's name if that can be. */
export function connectFor(client: Client, { address, port }: Client): Socket {
  const fd = socketInNameOf(client, { address, port }, 'tcp');
  if (fd === undefined) return connect({ host: address, port, allowHalfOpen: true });
  // A socket that is not connected yet has nothing to read.
  const options = { fd, allowHalfOpen: true, manualStart: true } as SocketConstructorOpts;
  return new Socket(options).connect({ host: address, port });
}

/** The same for datagrams. */
export function datagramSocketFor(client: Client, target: Client): DatagramSocket {
  const socket = createSocket(isIPv6(target.address) ? 'udp6' : 'udp4');
  const fd = socketInNameOf(client, target, 'udp');
  if (fd !== undefined) socket.bind({ fd });
  return socket;
}
