import { parseAddress } from './internet-address.ts';
import { type NetlinkSocket, NetlinkWriter, NLM_F_CREATE, NLM_F_REPLACE } from './netlink.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_MASTER = 4;

/** struct ndmsg */
function neighbourHeader(family: number, index: number, state: number, flags: number): NetlinkWriter {
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt16LE(state, 8);
  header.writeUInt8(flags, 10);
  return new NetlinkWriter().raw(header);
}

const macBytes = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');

/** Says for good which MAC address an IP address of a link has, so that nobody's answers are believed. Repeating is safe. */
export function setNeighbour(netlink: NetlinkSocket, index: number, address: string, macAddress: string): void {
  const bytes = parseAddress(address);
  const body = neighbourHeader(bytes.length === 4 ? AF_INET : AF_INET6, index, NUD_PERMANENT, 0)
    .attribute(NDA_DST, bytes)
    .attribute(NDA_LLADDR, macBytes(macAddress)).bytes;
  netlink.request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, `set neighbour ${address}`);
}

/** @throws {NetlinkError} ENOENT: there is none */
export function deleteNeighbour(netlink: NetlinkSocket, index: number, address: string): void {
  const bytes = parseAddress(address);
  const body = neighbourHeader(bytes.length === 4 ? AF_INET : AF_INET6, index, 0, 0).attribute(NDA_DST, bytes).bytes;
  netlink.request(RTM_DELNEIGH, 0, body, `delete neighbour ${address}`);
}

/** Says for good behind which port of a bridge a MAC address is. It goes with the port. */
export function setBridgeAddress(netlink: NetlinkSocket, port: number, macAddress: string): void {
  const body = neighbourHeader(AF_BRIDGE, port, NUD_NOARP, NTF_MASTER).attribute(
    NDA_LLADDR,
    macBytes(macAddress),
  ).bytes;
  netlink.request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, `set ${macAddress} behind bridge port ${port}`);
}
