import { NETLINK_NETFILTER, NetlinkSocket, NetlinkWriter } from './netlink.ts';

const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
const AF_INET = 2;
const AF_INET6 = 10;
/** Asks for this family alone (struct nfgenmsg's version, since Linux 4.20). */
const NFNETLINK_V1 = 1;
const IPPROTO_UDP = 17;

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

/** A socket for {@link forgetUdpFlows}; kept open by its user, as closing one may wait for milliseconds. */
export const openConntrack = (): NetlinkSocket => new NetlinkSocket(NETLINK_NETFILTER);
