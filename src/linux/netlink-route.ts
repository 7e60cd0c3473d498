import { setTimeout as sleep } from 'node:timers/promises';
import { SyscallError } from './ffi.ts';
import { formatAddress, isIPv4, parseAddress } from './internet-address.ts';
import {
  attributeText,
  attributeU32,
  NETLINK_ROUTE,
  NetlinkSocket,
  NetlinkWriter,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  readAttributes,
} from './netlink.ts';
import { deleteNeighbour, setBridgeAddress, setNeighbour } from './netlink-neighbour.ts';
import { limitSending, type RateLimit, redirectReceived } from './netlink-traffic.ts';

export type { RateLimit };

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_VLAN_ID = 1;
const IFLA_MACVLAN_MODE = 1;
const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const IFLA_IPVLAN_MODE = 1;
const IFLA_IPVLAN_FLAGS = 2;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;
const IFLA_BRPORT_STATE = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_LEARNING = 8;
const IFLA_BRPORT_ISOLATED = 33;
const IFLA_BRPORT_GROUP_FWD_MASK = 31;
const IFLA_BRPORT_LOCKED = 39;
/** One bit for each last digit of 01:80:c2:00:00:0x; the kernel never passes on the second one (pause). */
const ALL_RESERVED_GROUPS = 0xfffd;
const IFF_UP = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_NODAD = 2;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

const ENODEV = 19;

export interface Link {
  index: number;
  name: string;
  /** 'veth', 'bridge', …; '' for hardware. */
  kind: string;
  /** Index of the bridge it is a port of, 0 for none. */
  master: number;
  /** '02:42:ac:11:00:02', '' for none. */
  macAddress: string;
  mtu: number;
  isUp: boolean;
  /** Index of the link that it sits on (VLAN, macvlan, ipvlan) or its peer's (veth), 0 for none. */
  parent: number;
  /** Whether `parent` is in another network namespace. */
  isParentElsewhere: boolean;
  /** What somebody has written to it, '' for nothing. */
  alias: string;
}

/** A link that shares its parent's wire: with an address of its own (macvlan), or the parent's (ipvlan). */
export type ChildLinkKind =
  | { kind: 'macvlan'; mode: keyof typeof macvlanModes }
  | { kind: 'ipvlan'; mode: keyof typeof ipvlanModes; flag: keyof typeof ipvlanFlags };

export interface LinkAddress {
  index: number;
  address: string;
  prefix: number;
}

/** A route of the main table. */
export interface Route {
  /** '0.0.0.0' or '::' with prefix 0 for the default route. */
  destination: string;
  prefix: number;
  gateway: string;
  /** 0 for a route without one device. */
  index: number;
}

interface LinkChange {
  isUp?: boolean;
  mtu?: number;
  macAddress?: string;
  name?: string;
  /** Index of the bridge, 0 to leave. */
  master?: number;
  alias?: string;
}

/** How a bridge treats one of its ports. */
export interface BridgePortChange {
  /** Frames may go back out of the port they came in by. */
  hairpin?: boolean;
  /** No frames to and from other isolated ports. */
  isolated?: boolean;
  /** Frames are taken from the addresses alone that {@link RouteSocket.setBridgeAddress} has put behind the port. */
  locked?: boolean;
  /** Frames to 01:80:c2:00:00:0x are passed on like others. Otherwise they reach the host by the port, past all rules for the bridge. */
  passesReserved?: true;
  /** A disabled port passes nothing, at once. */
  disabled?: boolean;
}

/** Links, addresses and routes of the network namespace that the thread is in when this is made. */
export class RouteSocket implements Disposable {
  readonly #netlink = new NetlinkSocket(NETLINK_ROUTE);

  [Symbol.dispose](): void {
    this.#netlink[Symbol.dispose]();
  }

  link(name: string): Link | undefined {
    const body = linkHeader(AF_UNSPEC, 0, 0, 0).string(IFLA_IFNAME, name).bytes;
    try {
      const [answer] = this.#netlink.request(RTM_GETLINK, 0, body, `get link ${name}`);
      return answer === undefined ? undefined : readLink(answer);
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENODEV) return undefined;
      throw error;
    }
  }

  links(): Link[] {
    const body = linkHeader(AF_UNSPEC, 0, 0, 0).bytes;
    return this.#netlink.request(RTM_GETLINK, NLM_F_DUMP, body, 'list links').map(readLink);
  }

  /** Makes a bridge, down. */
  addBridge(bridge: { name: string; macAddress: string; mtu: number }): void {
    const body = linkHeader(AF_UNSPEC, 0, 0, 0)
      .string(IFLA_IFNAME, bridge.name)
      .u32(IFLA_MTU, bridge.mtu)
      .attribute(IFLA_ADDRESS, macBytes(bridge.macAddress))
      .nest(IFLA_LINKINFO, (info) => info.string(IFLA_INFO_KIND, 'bridge'));
    this.#netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes, `add bridge ${bridge.name}`);
  }

  /**
   * Makes both ends of a veth pair in one request: one here, a port of `master` and up; the other directly in the
   * namespace of `peer`, down (the kernel refuses to raise it before the pair is tied).
   */
  addVeth(veth: {
    name: string;
    master: number;
    mtu: number;
    peer: { name: string; namespace: number; macAddress: string };
  }): void {
    const { peer } = veth;
    const body = linkHeader(AF_UNSPEC, 0, IFF_UP, IFF_UP)
      .string(IFLA_IFNAME, veth.name)
      .u32(IFLA_MTU, veth.mtu)
      .u32(IFLA_MASTER, veth.master)
      .nest(IFLA_LINKINFO, (info) =>
        info.string(IFLA_INFO_KIND, 'veth').nest(IFLA_INFO_DATA, (data) =>
          data.nest(VETH_INFO_PEER, (end) =>
            end
              .raw(linkHeader(AF_UNSPEC, 0, 0, 0).bytes)
              .string(IFLA_IFNAME, peer.name)
              .u32(IFLA_MTU, veth.mtu)
              .attribute(IFLA_ADDRESS, macBytes(peer.macAddress))
              .u32(IFLA_NET_NS_FD, peer.namespace),
          ),
        ),
      );
    this.#netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes, `add link ${veth.name}`);
  }

  /**
   * Makes a macvlan or ipvlan link on a parent in this namespace directly in another one, down. Its MTU and, with ipvlan,
   * its address are the parent's if none is given.
   *
   * @throws {NetlinkError} ENOTSUP: the kernel knows no such kind; EBUSY: the parent serves another kind, or a bridge
   */
  addChild(link: {
    name: string;
    parent: number;
    /** Descriptor of the namespace. */
    namespace: number;
    child: ChildLinkKind;
    macAddress?: string;
    mtu?: number;
  }): void {
    const { child } = link;
    const body = linkHeader(AF_UNSPEC, 0, 0, 0).string(IFLA_IFNAME, link.name).u32(IFLA_LINK, link.parent);
    if (link.macAddress !== undefined) body.attribute(IFLA_ADDRESS, macBytes(link.macAddress));
    if (link.mtu !== undefined) body.u32(IFLA_MTU, link.mtu);
    body.u32(IFLA_NET_NS_FD, link.namespace).nest(IFLA_LINKINFO, (info) =>
      info.string(IFLA_INFO_KIND, child.kind).nest(IFLA_INFO_DATA, (data) => {
        if (child.kind === 'macvlan') data.u32(IFLA_MACVLAN_MODE, macvlanModes[child.mode]);
        else data.u16(IFLA_IPVLAN_MODE, ipvlanModes[child.mode]).u16(IFLA_IPVLAN_FLAGS, ipvlanFlags[child.flag]);
      }),
    );
    this.#netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes, `add ${child.kind} link ${link.name}`);
  }

  /** Makes a link for the frames with one VLAN's tag on another link, down. */
  addVlan(link: { name: string; parent: number; vlanId: number }): void {
    const body = linkHeader(AF_UNSPEC, 0, 0, 0)
      .string(IFLA_IFNAME, link.name)
      .u32(IFLA_LINK, link.parent)
      .nest(IFLA_LINKINFO, (info) =>
        info.string(IFLA_INFO_KIND, 'vlan').nest(IFLA_INFO_DATA, (data) => data.u16(IFLA_VLAN_ID, link.vlanId)),
      );
    this.#netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes, `add VLAN link ${link.name}`);
  }

  /** Makes a link that leads nowhere, down. */
  addSink(link: { name: string; kind: 'dummy' | 'ifb' }): void {
    const body = linkHeader(AF_UNSPEC, 0, 0, 0)
      .string(IFLA_IFNAME, link.name)
      .nest(IFLA_LINKINFO, (info) => info.string(IFLA_INFO_KIND, link.kind));
    this.#netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes, `add link ${link.name}`);
  }

  setLink(index: number, change: LinkChange): void {
    const hasState = change.isUp !== undefined;
    const body = linkHeader(AF_UNSPEC, index, change.isUp === true ? IFF_UP : 0, hasState ? IFF_UP : 0);
    if (change.name !== undefined) body.string(IFLA_IFNAME, change.name);
    if (change.mtu !== undefined) body.u32(IFLA_MTU, change.mtu);
    if (change.macAddress !== undefined) body.attribute(IFLA_ADDRESS, macBytes(change.macAddress));
    if (change.master !== undefined) body.u32(IFLA_MASTER, change.master);
    if (change.alias !== undefined) body.attribute(IFLA_IFALIAS, Buffer.from(change.alias));
    this.#netlink.request(RTM_NEWLINK, 0, body.bytes, `set link ${index}`);
  }

  setBridgePort(index: number, change: BridgePortChange): void {
    const body = linkHeader(AF_BRIDGE, index, 0, 0).nest(IFLA_PROTINFO, (port) => {
      if (change.hairpin !== undefined) port.u8(IFLA_BRPORT_MODE, change.hairpin ? 1 : 0);
      if (change.isolated !== undefined) port.u8(IFLA_BRPORT_ISOLATED, change.isolated ? 1 : 0);
      if (change.locked !== undefined) {
        port.u8(IFLA_BRPORT_LOCKED, change.locked ? 1 : 0).u8(IFLA_BRPORT_LEARNING, change.locked ? 0 : 1);
      }
      if (change.passesReserved === true) port.u16(IFLA_BRPORT_GROUP_FWD_MASK, ALL_RESERVED_GROUPS);
      if (change.disabled !== undefined) port.u8(IFLA_BRPORT_STATE, change.disabled ? 0 : 3);
    });
    // Only SETLINK is dispatched to the bridge; NEWLINK would ignore the port's options without a word.
    this.#netlink.request(RTM_SETLINK, 0, body.bytes, `set bridge port ${index}`);
  }

  /** Says for good behind which port of a bridge a MAC address is. It goes with the port. */
  setBridgeAddress(port: number, macAddress: string): void {
    setBridgeAddress(this.#netlink, port, macAddress);
  }

  /** Says for good which MAC address an IP address of a link has. Repeating is safe. */
  setNeighbour(index: number, address: string, macAddress: string): void {
    setNeighbour(this.#netlink, index, address, macAddress);
  }

  /** @throws {NetlinkError} ENOENT: there is none */
  deleteNeighbour(index: number, address: string): void {
    deleteNeighbour(this.#netlink, index, address);
  }

  /** Lets a link send no faster, or (undefined) as fast as it can. Repeating is safe. */
  limitSending(index: number, limit: RateLimit | undefined): void {
    limitSending(this.#netlink, index, limit);
  }

  /** Sends what a link receives through an ifb first, or (undefined) no longer. Repeating is safe. */
  redirectReceived(index: number, through: number | undefined): void {
    redirectReceived(this.#netlink, index, through);
  }

  /**
   * Deletes a link; done when nobody finds it any more, in any namespace. The kernel then goes on waiting, for tens of
   * milliseconds, until nobody can be using it: a thread of libuv's pool does that, also beyond this socket's life.
   *
   * @throws {NetlinkError} ENODEV: it is gone
   */
  async deleteLink(index: number): Promise<void> {
    const body = linkHeader(AF_UNSPEC, index, 0, 0).bytes;
    let isOver = false;
    const deletion = this.#netlink.requestInBackground(RTM_DELLINK, 0, body, `delete link ${index}`).finally(() => {
      isOver = true;
    });
    // Of a link that is gone nothing more can fail but the answer's way to a socket that was closed.
    deletion.catch(() => {});
    while (!isOver && this.#hasLink(index)) await sleep(1);
    if (isOver) await deletion;
  }

  #hasLink(index: number): boolean {
    try {
      this.#netlink.request(RTM_GETLINK, 0, linkHeader(AF_UNSPEC, index, 0, 0).bytes, `get link ${index}`);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENODEV) return false;
      throw error;
    }
  }

  /** Repeating is safe. IPv6 addresses are usable at once (no duplicate address detection). */
  addAddress(index: number, address: string, prefix: number): void {
    const bytes = parseAddress(address);
    const header = addressHeader(bytes, prefix, index).attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes);
    if (bytes.length === 4 && prefix < 31) header.attribute(IFA_BROADCAST, broadcast(bytes, prefix));
    this.#netlink.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, header.bytes, `add address ${address}/${prefix}`);
  }

  deleteAddress(index: number, address: string, prefix: number): void {
    const bytes = parseAddress(address);
    const body = addressHeader(bytes, prefix, index).attribute(IFA_LOCAL, bytes).bytes;
    this.#netlink.request(RTM_DELADDR, 0, body, `delete address ${address}/${prefix}`);
  }

  addresses(): LinkAddress[] {
    const body = new NetlinkWriter().raw(Buffer.alloc(8)).bytes;
    return this.#netlink.request(RTM_GETADDR, NLM_F_DUMP, body, 'list addresses').flatMap((message) => {
      const attributes = readAttributes(message.subarray(8));
      const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
      if (bytes === undefined || message.length < 8) return [];
      return [{ index: message.readUInt32LE(4), address: formatAddress(bytes), prefix: message.readUInt8(1) }];
    });
  }

  /**
   * @param how.replaces the one that there is to this destination goes, in the same moment
   * @throws {NetlinkError} EEXIST: there is one to this destination
   */
  addRoute(route: Route, how: { replaces?: boolean } = {}): void {
    const gateway = route.gateway === '' ? undefined : parseAddress(route.gateway);
    const family = isIPv4(route.destination) ? AF_INET : AF_INET6;
    const scope = gateway === undefined && family === AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    const body = new NetlinkWriter().raw(
      Buffer.of(family, route.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0),
    );
    if (route.prefix > 0) body.attribute(RTA_DST, parseAddress(route.destination));
    if (gateway !== undefined) body.attribute(RTA_GATEWAY, gateway);
    if (route.index !== 0) body.u32(RTA_OIF, route.index);
    const subject = `add route ${route.destination}/${route.prefix}`;
    const unless = how.replaces === true ? NLM_F_REPLACE : NLM_F_EXCL;
    this.#netlink.request(RTM_NEWROUTE, NLM_F_CREATE | unless, body.bytes, subject);
  }

  /** Unicast routes of the main table, both families. */
  routes(): Route[] {
    const body = new NetlinkWriter().raw(Buffer.alloc(12)).bytes;
    return this.#netlink.request(RTM_GETROUTE, NLM_F_DUMP, body, 'list routes').flatMap((message) => {
      if (message.length < 12 || message.readUInt8(7) !== RTN_UNICAST) return [];
      const attributes = readAttributes(message.subarray(12));
      const table = attributes.has(RTA_TABLE) ? attributeU32(attributes.get(RTA_TABLE)) : message.readUInt8(4);
      const family = message.readUInt8(0);
      if (table !== RT_TABLE_MAIN || (family !== AF_INET && family !== AF_INET6)) return [];
      const destination = attributes.get(RTA_DST);
      const gateway = attributes.get(RTA_GATEWAY);
      return [
        {
          destination: destination === undefined ? (family === AF_INET ? '0.0.0.0' : '::') : formatAddress(destination),
          prefix: message.readUInt8(1),
          gateway: gateway === undefined ? '' : formatAddress(gateway),
          index: attributeU32(attributes.get(RTA_OIF)),
        },
      ];
    });
  }
}

/** struct ifinfomsg */
function linkHeader(family: number, index: number, flags: number, change: number): NetlinkWriter {
  const header = Buffer.alloc(16);
  header.writeUInt8(family, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return new NetlinkWriter().raw(header);
}

/** struct ifaddrmsg */
function addressHeader(address: Buffer, prefix: number, index: number): NetlinkWriter {
  const header = Buffer.alloc(8);
  header.writeUInt8(address.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(prefix, 1);
  header.writeUInt8(address.length === 4 ? 0 : IFA_F_NODAD, 2);
  header.writeUInt32LE(index, 4);
  return new NetlinkWriter().raw(header);
}

function readLink(message: Buffer): Link {
  const attributes = readAttributes(message.subarray(16));
  const kind = attributes.get(IFLA_LINKINFO);
  const mac = attributes.get(IFLA_ADDRESS);
  return {
    index: message.readInt32LE(4),
    name: attributeText(attributes.get(IFLA_IFNAME)),
    kind: kind === undefined ? '' : attributeText(readAttributes(kind).get(IFLA_INFO_KIND)),
    master: attributeU32(attributes.get(IFLA_MASTER)),
    macAddress: mac === undefined ? '' : [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    mtu: attributeU32(attributes.get(IFLA_MTU)),
    isUp: (message.readUInt32LE(8) & IFF_UP) !== 0,
    parent: attributeU32(attributes.get(IFLA_LINK)),
    isParentElsewhere: attributes.has(IFLA_LINK_NETNSID),
    alias: attributeText(attributes.get(IFLA_IFALIAS)),
  };
}

const macBytes = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');

function broadcast(address: Buffer, prefix: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((address.readUInt32BE(0) | (0xffffffff >>> prefix)) >>> 0);
  return bytes;
}
