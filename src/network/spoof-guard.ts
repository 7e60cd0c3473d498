import { type ElementKey, formatAddress, parseAddress } from '../linux/index.ts';
import type { Endpoint, NetworkRecord } from './driver.ts';
import { isGuarded } from './network-options.ts';

/** What one port of a bridge may send under, as an element of a set. */
interface GuardElement extends ElementKey {
  /** The same for nft(8). */
  text: string;
}

const CHAIN = 'guard';
/** Before everything else that looks at a bridge's frames. */
const HOOK = 'type filter hook prerouting priority -300; policy accept;';

const sets: Record<string, string> = {
  ports: 'type ifname;',
  owners4: 'type ifname . ipv4_addr;',
  owners6: 'type ifname . ipv6_addr;',
  claims4: 'type ifname . ether_addr . ipv4_addr;',
  // What a neighbour advertisement is about (RFC 4861, 4.4); nft of Debian 12 has no word for it.
  claims6: 'typeof iifname . @th,64,128;',
};

const rules = [
  'iifname != @ports accept',
  'ether type { 8021q, 8021ad } drop comment "a tag hides what follows"',
  'ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop comment "for bridges, and a container is none"',
  'iifname . ip saddr @owners4 accept',
  'icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @claims6 drop comment "an advertisement for another"',
  'iifname . ip6 saddr @owners6 accept',
  'iifname . arp saddr ether . arp saddr ip @claims4 accept',
  'arp saddr ip 0.0.0.0 accept comment "a question that claims nothing"',
  'ip6 saddr :: meta l4proto ipv6-icmp accept',
  'meta protocol != { ip, ip6, arp } accept',
  'drop comment "an address of another"',
];

/** The addresses of an endpoint's own; none where the network does not hold its containers to them. */
export function guardElements(network: Pick<NetworkRecord, 'driver' | 'options'>, endpoint: Endpoint): GuardElement[] {
  if (network.driver !== 'bridge' || endpoint.hostInterface === '' || !isGuarded(network)) return [];
  const { hostInterface: port, macAddress: mac, ipv4, ipv6, linkLocal = [] } = endpoint;
  const name = Buffer.alloc(16);
  name.write(port, 'latin1');
  const element = (set: string, ...fields: [text: string, bytes: Buffer][]): GuardElement => ({
    set,
    text: [JSON.stringify(port), ...fields.map(([text]) => text)].join(' . '),
    key: Buffer.concat([name, ...fields.map(([, bytes]) => padded(bytes))]),
  });
  const own = [ipv4, ipv6, ...linkLocal, ...(ipv6 === '' ? [] : [interfaceAddress(mac)])];
  const macBytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const addresses = own.filter((cidr) => cidr !== '').map((cidr) => cidr.split('/', 1)[0] as string);
  return [
    element('ports'),
    ...addresses.flatMap((address) => {
      const bytes = Buffer.from(parseAddress(address));
      if (bytes.length === 4) {
        return [element('owners4', [address, bytes]), element('claims4', [mac, macBytes], [address, bytes])];
      }
      return [element('owners6', [address, bytes]), element('claims6', [`0x${bytes.toString('hex')}`, bytes])];
    }),
  ];
}

/** Each part of a concatenation is filled up to four bytes. */
const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

/** The link-local address that the kernel gives a link by its MAC address (RFC 4291, appendix A). */
export function interfaceAddress(mac: string): string {
  const bytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if (bytes.length !== 6) return '';
  const address = Buffer.alloc(16);
  address.writeUInt16BE(0xfe80, 0);
  bytes.copy(address, 8, 0, 3);
  address.writeUInt16BE(0xfffe, 11);
  bytes.copy(address, 13, 3, 6);
  address[8] = (address[8] as number) ^ 2;
  return formatAddress(address);
}

/** The whole table in one atomic batch, whatever of it is there. */
export function guardCommands(table: string, elements: readonly GuardElement[]): string {
  const bySet = Map.groupBy(elements, ({ set }) => set);
  return [
    `table bridge ${table} {\n`,
    ...Object.entries(sets).map(([name, type]) => `  set ${name} { ${type} }\n`),
    `  chain ${CHAIN} { ${HOOK} }\n}\n`,
    `flush chain bridge ${table} ${CHAIN}\n`,
    ...Object.keys(sets).map((name) => `flush set bridge ${table} ${name}\n`),
    ...[...bySet].map(
      ([set, its]) => `add element bridge ${table} ${set} { ${its.map(({ text }) => text).join(', ')} }\n`,
    ),
    `table bridge ${table} {\nchain ${CHAIN} {\n  ${rules.join('\n  ')}\n}\n}\n`,
  ].join('');
}

/** `delete` alone fails when there is none. */
export const deleteGuardCommands = (table: string): string =>
  `add table bridge ${table}\ndelete table bridge ${table}\n`;

/** Whether the kernel has every rule and, by their number, every element. */
export function isGuardWhole(
  elements: readonly GuardElement[],
  count: { rules(chain: string): number; elements(set: string): number },
): boolean {
  const bySet = Map.groupBy(elements, ({ set }) => set);
  return count.rules(CHAIN) === rules.length && [...bySet].every(([set, its]) => count.elements(set) >= its.length);
}
