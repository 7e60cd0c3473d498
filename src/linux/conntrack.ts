import { ENOENT, SyscallError } from './ffi.ts';
import { formatAddress } from './internet-address.ts';
import { NETLINK_NETFILTER, NetlinkSocket, NetlinkWriter, NLM_F_DUMP, readAttributes } from './netlink.ts';

const AF_INET = 2;
const AF_INET6 = 10;
/** Asks for this family alone (struct nfgenmsg's version, since Linux 4.20). */
const NFNETLINK_V1 = 1;
const IPPROTO_UDP = 17;

const IPCTNL_MSG_CT_GET = (1 << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
const CTA_TUPLE_IP = 1;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const NLA_F_NESTED = 0x8000;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const BY_PROTOCOL_NUMBER = 1 << 3;
const BY_DESTINATION_PORT = 1 << 5;

/**
 * Forgets the tracked UDP flows to a port of this host, so that the next datagram of a client that has been sending all
 * along is led by the rules of now and not by those of its first. Walks the kernel's whole table: about a millisecond.
 */
export function forgetUdpFlows(socket: NetlinkSocket, port: number): void {
  const portBytes = Buffer.alloc(2);
  portBytes.writeUInt16BE(port);
  for (const family of [AF_INET, AF_INET6]) {
    const body = new NetlinkWriter()
      .raw(Buffer.of(family, NFNETLINK_V1, 0, 0))
      .nest(CTA_TUPLE_ORIG, (tuple) =>
        tuple.nest(CTA_TUPLE_PROTO, (protocol) =>
          protocol.u8(CTA_PROTO_NUM, IPPROTO_UDP).attribute(CTA_PROTO_DST_PORT, portBytes),
        ),
      )
      .nest(CTA_FILTER, (filter) =>
        filter.u32(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL_NUMBER | BY_DESTINATION_PORT).u32(CTA_FILTER_REPLY_FLAGS, 0),
      ).bytes;
    socket.request(IPCTNL_MSG_CT_DELETE, 0, body, `forget flows to udp port ${port}`);
  }
}

/** A socket for what stands here; kept open by its user, as closing one may wait for milliseconds. */
export const openConntrack = (): NetlinkSocket => new NetlinkSocket(NETLINK_NETFILTER);
/** A tracked connection, as whoever began it sees it. */
export interface TrackedFlow {
  source: string;
  destination: string;
  /** IP protocol number. */
  protocol: number;
  /** 0 for protocols without ports. */
  destinationPort: number;
  /** As the kernel names it. */
  tuple: Buffer;
}

/** Every connection that the kernel tracks in this network namespace, one after the other. */
export function listFlows(socket: NetlinkSocket): TrackedFlow[] {
  return [AF_INET, AF_INET6].flatMap((family) => {
    const body = new NetlinkWriter().raw(Buffer.of(family, 0, 0, 0)).bytes;
    return socket.request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, body, 'list tracked connections').flatMap((answer) => {
      const tuple = readAttributes(answer.subarray(4)).get(CTA_TUPLE_ORIG);
      const parts = readAttributes(tuple ?? Buffer.alloc(0));
      const addresses = readAttributes(parts.get(CTA_TUPLE_IP) ?? Buffer.alloc(0));
      const service = readAttributes(parts.get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
      const source = addresses.get(family === AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC);
      const destination = addresses.get(family === AF_INET ? CTA_IP_V4_DST : CTA_IP_V6_DST);
      if (tuple === undefined || source === undefined || destination === undefined) return [];
      return [
        {
          source: formatAddress(source),
          destination: formatAddress(destination),
          protocol: service.get(CTA_PROTO_NUM)?.[0] ?? 0,
          destinationPort: service.get(CTA_PROTO_DST_PORT)?.readUInt16BE(0) ?? 0,
          tuple: Buffer.from(tuple),
        },
      ];
    });
  });
}

/** Forgets a connection: its next packet is judged as a first one. Repeating is safe. */
export function forgetFlow(socket: NetlinkSocket, { source, destination, tuple }: TrackedFlow): void {
  const family = source.includes(':') ? AF_INET6 : AF_INET;
  const body = new NetlinkWriter()
    .raw(Buffer.of(family, 0, 0, 0))
    .attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple).bytes;
  try {
    socket.request(IPCTNL_MSG_CT_DELETE, 0, body, `forget connection ${source} to ${destination}`);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === ENOENT)) throw error;
  }
}
