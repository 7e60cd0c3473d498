import { isIPv6 } from '../../linux/index.ts';
import type { Endpoint } from '../driver.ts';
import type { Chain, NamedSet } from '../rules.ts';
import { nameMatches } from './decide.ts';
import { type EgressPolicy, type EgressRule, portsText } from './policy.ts';
import type { EgressSubject, FollowedName } from './records.ts';

/** A bridge that a policy holds on, and of a container's policy, or of one that is held to its own addresses, its endpoint there. */
export interface GovernedPlace {
  bridge: string;
  subnets: readonly string[];
  /** MAC addresses of all containers there. */
  members: readonly string[];
  endpoint?: Endpoint;
}

/** A policy with whom it holds now. */
export interface GovernedSubject {
  subject: EgressSubject;
  policy: EgressPolicy;
  /** Bridges that it holds on: of a network one, of a container those that it is on. */
  places: GovernedPlace[];
  /** Names that its rules mean, with the addresses that they were answered with. */
  names: readonly FollowedName[];
}

/** What one policy adds to the table. */
export interface EgressFragment {
  chains: Chain[];
  sets: NamedSet[];
  /** Elements of sets and maps that all policies share, by their name. */
  shared: [set: string, element: string][];
}

/** Chains and sets that come and go with policies begin so. */
export const EGRESS_PREFIX = 'egress-';

/** Attempts that the kernel holds until somebody has written them down; a scan takes no more. */
const MAX_HELD = 1_024;
/** And for so long. */
export const HELD_SECONDS = 600;

/** Sets of one subject that the kernel fills itself. */
export type HeldKind = 'denied' | 'learned';
export const heldSet = (subject: EgressSubject, kind: HeldKind, family: 4 | 6, hasPorts: boolean): string =>
  `${subjectName(subject)}-${kind}${family}${hasPorts ? '' : 'o'}`;

/** Its first 12 digits tell networks and containers apart everywhere else, too. */
export const subjectName = ({ kind, id }: EgressSubject): string => `${EGRESS_PREFIX}${kind[0]}${id.slice(0, 12)}`;

export const nameSet = (subject: EgressSubject, index: number, family: 4 | 6): string =>
  `${subjectName(subject)}-name${index}-${family}`;

/** Sets and maps that are there with or without a policy. */
export function sharedSets(): NamedSet[] {
  const set = (name: string, type: string): NamedSet => ({ kind: 'set', name, type: `type ${type};`, elements: [] });
  return [
    set('egress_bridges', 'ifname'),
    set('egress_links', 'ifname . ether_addr'),
    set('egress_members', 'ifname . ether_addr'),
    set('egress_own4', 'ifname . ether_addr . ipv4_addr'),
    set('egress_own6', 'ifname . ether_addr . ipv6_addr'),
    { kind: 'map', name: 'egress_containers', type: 'type ifname . ether_addr : verdict;', elements: [] },
    { kind: 'map', name: 'egress_networks', type: 'type ifname : verdict;', elements: [] },
  ];
}

/**
 * The chain that leads to policies: before any address is translated, so that what is judged is what the container asked for,
 * be it outside, another network or this host.
 *
 * @param serverMarks marks of our name servers' sockets
 */
export function egressChain(serverMarks: readonly number[]): Chain {
  const isOurServer = `socket mark { ${serverMarks.map((mark) => `0x${mark.toString(16)}`).join(', ')} } accept`;
  return {
    name: 'egress',
    hook: 'type filter hook prerouting priority mangle; policy accept;',
    rules: [
      'iifname != @egress_bridges accept',
      // Frames bear the container's own MAC address, for its bridge port is locked to it: nobody acts for a neighbour.
      'iifname . ether saddr @egress_links iifname . ether saddr . ip saddr != @egress_own4 drop',
      'iifname . ether saddr @egress_links ip6 saddr != { ::, fe80::/10 } iifname . ether saddr . ip6 saddr != @egress_own6 drop',
      // With br_netfilter, frames between containers of one network come by here; they are the bridge table's.
      'iifname . ether daddr @egress_members accept',
      'ct state established,related accept',
      // On the link alone: a router would carry them on like anything else, with what is hidden in them.
      'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } fib daddr type { local, multicast } accept',
      // Whatever else answers there, the host's own resolver for one, passes on what is hidden in names.
      `iifname . ip daddr @names4 udp dport 53 ${isOurServer}`,
      `iifname . ip daddr @names4 tcp dport 53 ${isOurServer}`,
      `iifname . ip6 daddr @names6 udp dport 53 ${isOurServer}`,
      `iifname . ip6 daddr @names6 tcp dport 53 ${isOurServer}`,
      'iifname . ether saddr vmap @egress_containers',
      'iifname vmap @egress_networks',
    ],
  };
}

/** What one policy is in the kernel: a chain of its own, to which a map leads, so that nobody else's packets see it. */
export function egressFragment(governed: GovernedSubject, nowMs: number): EgressFragment {
  const { subject, policy, names } = governed;
  const name = subjectName(subject);
  const denied = `${name}-denied`;
  const { otherwise } = policy;
  const last =
    otherwise === 'deny'
      ? [`goto ${denied}`]
      : otherwise === 'learn'
        ? holdRules(subject, 'learned')
        : ([] as string[]);
  const indexed = policy.rules.map((rule, index) => ({ rule, index }));
  return {
    chains: [
      {
        name: denied,
        hook: '',
        rules: [...holdRules(subject, 'denied'), 'counter reject with icmpx admin-prohibited'],
      },
      { name, hook: '', rules: [...indexed.flatMap(({ rule, index }) => kernelRules(subject, rule, index)), ...last] },
    ],
    sets: [
      ...heldSets(subject, 'denied'),
      ...(otherwise === 'learn' ? heldSets(subject, 'learned') : []),
      ...indexed.flatMap(({ rule, index }) => nameSets(subject, rule, index, names, nowMs)),
    ],
    shared: sharedElements(governed, name),
  };
}

function kernelRules(subject: EgressSubject, rule: EgressRule, index: number): string[] {
  const verdict = rule.verdict === 'allow' ? 'return' : `goto ${subjectName(subject)}-denied`;
  const service = serviceMatch(rule);
  return placeMatches(subject, rule, index).map((place) => `${place} ${service} ${verdict}`.replace(/ +/g, ' ').trim());
}

function placeMatches(subject: EgressSubject, { to, verdict }: EgressRule, index: number): string[] {
  switch (to.kind) {
    case 'any':
      return [''];
    case 'host':
      return ['fib daddr type local'];
    case 'neighbours':
      return [];
    case 'subnet':
      return [subnetMatch(to.subnet)];
    case 'name':
      // A name that is denied is one that is not looked up.
      if (verdict === 'deny') return [];
      return [`ip daddr @${nameSet(subject, index, 4)}`, `ip6 daddr @${nameSet(subject, index, 6)}`];
  }
}

export const subnetMatch = (subnet: string): string =>
  `${isIPv6(subnet.split('/', 1)[0] as string) ? 'ip6' : 'ip'} daddr ${subnet}`;

/** Protocol and ports of a rule, as a match. */
export function serviceMatch({ protocol, ports }: EgressRule): string {
  if (protocol === 'icmp') return 'meta l4proto { icmp, ipv6-icmp }';
  const protocols = protocol === '' ? (ports.length > 0 ? '{ tcp, udp, sctp }' : '') : protocol;
  const match = protocols === '' ? '' : `meta l4proto ${protocols}`;
  return ports.length === 0 ? match : `${match} th dport { ${portsText(ports).replaceAll(',', ', ')} }`;
}

/** Rules that write an attempt down in the kernel; where the set is full they do nothing. */
export function holdRules(subject: EgressSubject, kind: HeldKind): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const ip = family === 4 ? 'ip' : 'ip6';
    const pair = `${ip} saddr . ${ip} daddr . meta l4proto`;
    return [
      `meta l4proto { tcp, udp, sctp } update @${heldSet(subject, kind, family, true)} { ${pair} . th dport }`,
      `meta l4proto != { tcp, udp, sctp } update @${heldSet(subject, kind, family, false)} { ${pair} }`,
    ];
  });
}

export function heldSets(subject: EgressSubject, kind: HeldKind): NamedSet[] {
  return ([4, 6] as const).flatMap((family) =>
    [true, false].map((hasPorts): NamedSet => {
      const pair = `ipv${family}_addr . ipv${family}_addr . inet_proto`;
      const type = `type ${pair}${hasPorts ? ' . inet_service' : ''}; size ${MAX_HELD}; flags dynamic,timeout; timeout ${HELD_SECONDS}s; counter;`;
      return { kind: 'set', name: heldSet(subject, kind, family, hasPorts), type, elements: [], isKept: true };
    }),
  );
}

/** How long before its end an element is not missed. */
const ENDING_MS = 2_000;

function nameSets(
  subject: EgressSubject,
  rule: EgressRule,
  index: number,
  names: readonly FollowedName[],
  nowMs: number,
): NamedSet[] {
  const { to } = rule;
  if (to.kind !== 'name' || rule.verdict === 'deny') return [];
  const open = new Map<string, number>();
  for (const { name, address, expiresMs } of names) {
    if (expiresMs <= nowMs || !opens(rule, name, address)) continue;
    open.set(address, Math.max(open.get(address) ?? 0, expiresMs));
  }
  return ([4, 6] as const).map((family) => {
    const its = [...open].filter(([address]) => isIPv6(address) === (family === 6));
    return {
      kind: 'set',
      name: nameSet(subject, index, family),
      type: `type ipv${family}_addr; flags timeout;`,
      elements: its.map(([address, expiresMs]) => timedElement(address, expiresMs - nowMs)),
      countedElements: its.filter(([, expiresMs]) => expiresMs - nowMs > ENDING_MS).length,
    };
  });
}

export const timedElement = (address: string, forMs: number): string =>
  `${address} timeout ${Math.max(1, Math.ceil(forMs / 1_000))}s`;

/** Whether a name's address is one that a rule opens. What never opens is not recorded in the first place. */
export const opens = ({ to, mayBePrivate }: EgressRule, name: string, address: string): boolean =>
  to.kind === 'name' && nameMatches(to.name, name) && (mayBePrivate || !isPrivate(address));

/** Addresses of private ranges (RFC 1918, RFC 6598, RFC 4193). */
export function isPrivate(address: string): boolean {
  if (isIPv6(address)) return /^f[cd]/.test(address);
  const [a = 0, b = 0] = address.split('.').map(Number);
  return a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128);
}

function sharedElements({ subject, places }: GovernedSubject, chain: string): [string, string][] {
  return places.flatMap(({ bridge, members, endpoint }): [string, string][] => {
    const link = JSON.stringify(bridge);
    const governs: [string, string] =
      endpoint === undefined || subject.kind === 'network'
        ? ['egress_networks', `${link} : jump ${chain}`]
        : ['egress_containers', `${link} . ${endpoint.macAddress} : jump ${chain}`];
    const its = members.map((mac) => memberElement(bridge, mac));
    return [
      ['egress_bridges', link],
      governs,
      ...its,
      ...(endpoint === undefined ? [] : ownAddresses(bridge, endpoint)),
    ];
  });
}

/** What tells a frame to a neighbour from one to the host: no link of the host has a container's MAC address. */
export const memberElement = (bridge: string, macAddress: string): [string, string] => [
  'egress_members',
  `${JSON.stringify(bridge)} . ${macAddress}`,
];

/** Elements that hold an endpoint to its own addresses. */
function ownAddresses(bridge: string, { macAddress, ipv4, ipv6, linkLocal = [] }: Endpoint): [string, string][] {
  const link = `${JSON.stringify(bridge)} . ${macAddress}`;
  const addresses = [ipv4, ipv6, ...linkLocal]
    .filter((cidr) => cidr !== '')
    .map((cidr) => cidr.split('/', 1)[0] as string);
  return [
    ['egress_links', link],
    ...addresses.map((address): [string, string] => [`egress_own${isIPv6(address) ? 6 : 4}`, `${link} . ${address}`]),
  ];
}

/** Elements that an endpoint has in shared sets and maps: keys alone, by which they are deleted. */
export function endpointKeys(bridge: string, endpoint: Endpoint, isContainers: boolean): [string, string][] {
  const own = ownAddresses(bridge, endpoint);
  return isContainers ? [['egress_containers', `${JSON.stringify(bridge)} . ${endpoint.macAddress}`], ...own] : own;
}
