import { isAway, isIPv4, isIPv6 } from '../linux/index.ts';
import { clientAddressChains } from './client-address.ts';
import type { Endpoint, NetworkRecord, PortMapping } from './driver.ts';
import { type EgressFragment, egressChain, sharedSets } from './egress/rules.ts';
import { gatewayMode, sourceAddress } from './network-options.ts';
import { passageSets } from './passages.ts';
import { isWildcard, RESERVATION_MARK } from './published-ports.ts';
import { STAND_IN_MARK } from './socket-marks.ts';
import { parseSubnet } from './subnet.ts';

/** A mapping and the container's address it leads to, of the mapping's own family. */
export interface Publication extends PortMapping {
  containerIp: string;
}

/**
 * What the rules do for an endpoint's ports. An IPv6 mapping of a container without IPv6 is not here: the keeper's
 * proxy serves it.
 */
export function publicationsOf(endpoint: Endpoint): Publication[] {
  // Only bridges are behind our table: other drivers' endpoints have no link on the host.
  if (endpoint.hostInterface === '') return [];
  return endpoint.ports.flatMap((port) => {
    const address = isIPv6(port.hostIp) ? endpoint.ipv6 : endpoint.ipv4;
    return address === '' ? [] : [{ ...port, containerIp: address.split('/', 1)[0] as string }];
  });
}

/** The chain that is the administrator's: called first, and never changed by us once it is there. */
export const USER_CHAIN = 'tare-user';

type PortSet = 'any4' | 'any6' | 'bound4' | 'bound6' | 'routed4' | 'routed6';

/** Where a publication stands in the table. One of a routed network has no port on the host (0). */
export function portSetOf({ hostIp, hostPort }: PortMapping): PortSet {
  const family = isIPv4(hostIp) ? 4 : 6;
  return hostPort === 0 ? `routed${family}` : isWildcard(hostIp) ? `any${family}` : `bound${family}`;
}

/** What a packet to this publication is looked up by. */
export function portKey(port: Publication): string {
  if (port.hostPort === 0) return `${port.containerIp} . ${port.protocol} . ${port.containerPort}`;
  return `${isWildcard(port.hostIp) ? '' : `${port.hostIp} . `}${port.protocol} . ${port.hostPort}`;
}

const elementOf = (port: Publication): string =>
  port.hostPort === 0 ? portKey(port) : `${portKey(port)} : ${port.containerIp} . ${port.containerPort}`;

function bySet(ports: readonly Publication[], text: (port: Publication) => string): [PortSet, string][] {
  const groups = Map.groupBy(ports, portSetOf);
  return [...groups].map(([set, group]) => [set, group.map(text).join(', ')]);
}

/** Commands that publish ports: one hash map element each, so that the cost does not grow with their number. */
export function publishCommands(table: string, ports: readonly Publication[]): string {
  return bySet(ports, elementOf)
    .map(([set, elements]) => `add element inet ${table} ${set} { ${elements} }\n`)
    .join('');
}

export function withdrawCommands(table: string, ports: readonly Publication[]): string {
  return bySet(ports, portKey)
    .map(([set, elements]) => `delete element inet ${table} ${set} { ${elements} }\n`)
    .join('');
}

export function deleteTableCommands(table: string): string {
  // `delete` alone fails when there is none.
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

/** One set or map of the table. */
export interface NamedSet {
  kind: 'set' | 'map';
  name: string;
  /** Its declaration without elements. */
  type: string;
  elements: string[];
  /** Whether the kernel fills it: what is in it stays when the table is written. */
  isKept?: boolean;
  /** How many elements must be there, where some are about to go by themselves; all of them unless given. */
  countedElements?: number;
}

export interface Chain {
  name: string;
  /** '' for one that others jump to. */
  hook: string;
  rules: string[];
}

/** What the table holds beside the administrator's chain. */
export interface TableContents {
  sets: NamedSet[];
  chains: Chain[];
}

/**
 * The table's rules are as many for one network as for a thousand: what differs is in sets and maps. Each egress policy
 * has a chain of its own.
 */
export function tableContents(
  networks: readonly NetworkRecord[],
  ports: readonly Publication[],
  policies: readonly EgressFragment[],
  passages: readonly NamedSet[] = passageSets([], []),
): TableContents {
  const shared = policies.flatMap((policy) => policy.shared);
  const common = [...namedSets(networks, ports), ...passages, ...sharedSets()].map((set) => ({
    ...set,
    elements: [...new Set([...set.elements, ...shared.flatMap(([name, text]) => (name === set.name ? [text] : []))])],
  }));
  return {
    sets: [...common, ...policies.flatMap(({ sets }) => sets)],
    chains: [...ownChains(), ...policies.flatMap((policy) => policy.chains)],
  };
}

const ownChains = (): Chain[] => (isAway() ? [...chains, ...clientAddressChains] : chains);

function namedSets(networks: readonly NetworkRecord[], ports: readonly Publication[]): NamedSet[] {
  const quoted = (wanted: (network: NetworkRecord) => boolean) =>
    networks.filter(wanted).map(({ bridge }) => JSON.stringify(bridge));
  const subnets = (family: 4 | 6, wanted: (network: NetworkRecord) => boolean) =>
    networks
      .filter(wanted)
      .flatMap(({ ipam }) => ipam.map(({ subnet }) => subnet))
      .filter((subnet) => parseSubnet(subnet).family === family);
  const hidden = (family: 4 | 6) => (network: NetworkRecord) =>
    network.masquerade && !network.internal && gatewayMode(network, family) !== 'routed';
  const sources = (family: 4 | 6) =>
    networks.filter(hidden(family)).flatMap((network) => {
      const source = sourceAddress(network, family);
      return source === '' ? [] : subnets(family, (other) => other === network).map((net) => `${net} : ${source}`);
    });
  const mode = (family: 4 | 6, wanted: string) =>
    quoted((network) => !network.internal && gatewayMode(network, family) === wanted);
  const nameServers = (family: 4 | 6) =>
    networks.flatMap(({ bridge, ipam }) =>
      ipam
        .filter(({ subnet, gateway }) => gateway !== '' && parseSubnet(subnet).family === family)
        .map(({ gateway }) => `${JSON.stringify(bridge)} . ${gateway}`),
    );
  const set = (name: string, type: string, elements: string[]): NamedSet => ({ kind: 'set', name, type, elements });
  const map = (name: string, type: string, elements: string[]): NamedSet => ({ kind: 'map', name, type, elements });
  const published = (name: PortSet) => ports.filter((port) => portSetOf(port) === name).map(elementOf);
  const talkative = quoted(({ icc }) => icc).map((bridge) => `${bridge} . ${bridge}`);
  const perFamily = ([4, 6] as const).flatMap((family) => {
    const address = `ipv${family}_addr`;
    const target = 'inet_proto . inet_service';
    return [
      set(
        `subnets${family}`,
        `type ${address}; flags interval;`,
        subnets(family, () => true),
      ),
      set(`masqueraded${family}`, `type ${address}; flags interval;`, subnets(family, hidden(family))),
      map(`sources${family}`, `type ${address} : ${address}; flags interval;`, sources(family)),
      set(
        `isolated${family}`,
        'type ifname;',
        quoted((network) => gatewayMode(network, family) === 'isolated'),
      ),
      set(`names${family}`, `type ifname . ${address};`, nameServers(family)),
      set(`unprotected${family}`, 'type ifname;', mode(family, 'nat-unprotected')),
      set(`pingable${family}`, 'type ifname;', mode(family, 'routed')),
      set(`routed${family}`, `type ${address} . ${target};`, published(`routed${family}`)),
      map(`any${family}`, `type ${target} : ${address} . inet_service;`, published(`any${family}`)),
      map(`bound${family}`, `type ${address} . ${target} : ${address} . inet_service;`, published(`bound${family}`)),
    ];
  });
  return [
    set(
      'bridges',
      'type ifname;',
      quoted(() => true),
    ),
    set('within', 'type ifname . ifname;', talkative),
    set(
      'internal',
      'type ifname;',
      quoted(({ internal }) => internal),
    ),
    ...perFamily,
  ];
}

/** What a container may not send, tracked or not; each packet from a bridge goes through one of them. */
const sentBy = (family: 4 | 6): Chain => {
  const [ip, icmp, teaching, linkLocal] =
    family === 4
      ? [
          'ip',
          'icmp',
          '{ redirect, router-advertisement }',
          'ip saddr 169.254.0.0/16 ip daddr 169.254.0.0/16 fib daddr type != local',
        ]
      : ['ip6', 'icmpv6', '{ nd-router-advert, nd-redirect }', 'ip6 saddr fe80::/10'];
  return {
    name: `sent${family}`,
    hook: '',
    rules: [
      `${icmp} type ${teaching} drop comment "a container is no router"`,
      `iifname @isolated${family} goto isolated`,
      // Link-local addresses that a user gave: the host has no route to judge them by, and they go no further than their network.
      `${linkLocal} accept`,
      'fib saddr . iif oif missing drop comment "a source address of another network"',
      // Names are asked for so often that remembering each question would fill the host's table of connections.
      `udp dport 53 iifname . ${ip} daddr @names${family} notrack`,
    ],
  };
};

const chains: Chain[] = [
  egressChain([RESERVATION_MARK, STAND_IN_MARK]),
  {
    name: 'guard',
    hook: 'type filter hook prerouting priority raw; policy accept;',
    rules: [
      'iifname != "lo" ip daddr 127.0.0.0/8 drop comment "route_localnet is for this host alone"',
      'iifname != "lo" ip saddr 127.0.0.0/8 drop',
      'iifname @bridges meta nfproto vmap { ipv4 : goto sent4, ipv6 : goto sent6 }',
    ],
  },
  sentBy(4),
  sentBy(6),
  {
    name: 'isolated',
    hook: '',
    rules: [
      'fib daddr type local drop',
      // The host has no route to judge them by; the forward chain lets nothing of theirs out.
      'accept',
    ],
  },
  {
    name: 'answers',
    hook: 'type filter hook output priority raw; policy accept;',
    rules: ['udp sport 53 oifname . ip saddr @names4 notrack', 'udp sport 53 oifname . ip6 saddr @names6 notrack'],
  },
  {
    name: 'forward',
    hook: 'type filter hook forward priority filter; policy accept;',
    rules: ['iifname @bridges goto bridged', 'oifname @bridges goto bridged'],
  },
  {
    name: 'bridged',
    hook: '',
    rules: [
      `jump ${USER_CHAIN}`,
      'ct state established,related accept',
      'iifname . oifname @within accept',
      'ip saddr 169.254.0.0/16 ip saddr != @subnets4 drop comment "a link-local address beyond its link"',
      'ct state invalid drop',
      'iifname @internal drop comment "an internal network reaches nothing outside"',
      'oifname @internal drop',
      'oifname != @bridges accept',
      'ct status dnat accept comment "published"',
      'ip saddr . ip daddr . meta l4proto . th dport @linked4 accept comment "linked"',
      'ip6 saddr . ip6 daddr . meta l4proto . th dport @linked6 accept comment "linked"',
      'ip daddr . meta l4proto . th dport @routed4 accept comment "published, without NAT"',
      'ip6 daddr . meta l4proto . th dport @routed6 accept comment "published, without NAT"',
      'oifname @pingable4 icmp type echo-request accept',
      'oifname @pingable6 icmpv6 type echo-request accept',
      'iifname != @bridges oifname @unprotected4 meta nfproto ipv4 accept',
      'iifname != @bridges oifname @unprotected6 meta nfproto ipv6 accept',
      'drop comment "not published"',
    ],
  },
  {
    name: 'prerouting',
    hook: 'type nat hook prerouting priority dstnat; policy accept;',
    rules: [
      // Who publishes port 53 does not take the name server from its neighbours; UDP is past this already.
      'tcp dport 53 iifname . ip daddr @names4 accept',
      'tcp dport 53 iifname . ip6 daddr @names6 accept',
      'fib daddr type local jump publish',
    ],
  },
  {
    name: 'output',
    hook: 'type nat hook output priority -100; policy accept;',
    rules: ['ip6 daddr ::1 return', 'fib daddr type local jump publish'],
  },
  {
    name: 'publish',
    hook: '',
    rules: [
      'dnat ip to ip daddr . meta l4proto . th dport map @bound4',
      'dnat ip to meta l4proto . th dport map @any4',
      'dnat ip6 to ip6 daddr . meta l4proto . th dport map @bound6',
      'dnat ip6 to meta l4proto . th dport map @any6',
    ],
  },
  {
    name: 'postrouting',
    hook: 'type nat hook postrouting priority srcnat; policy accept;',
    rules: [
      'oifname @bridges ct status dnat ip saddr @subnets4 masquerade',
      'oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade',
      'oifname @bridges ip saddr 127.0.0.0/8 masquerade',
      'oifname != @bridges snat ip to ip saddr map @sources4',
      'oifname != @bridges snat ip6 to ip6 saddr map @sources6',
      'oifname != @bridges ip saddr @masqueraded4 masquerade',
      'oifname != @bridges ip6 saddr @masqueraded6 masquerade',
    ],
  },
];

/** Names of chains and sets that the kernel has and nobody means any more. */
export interface Remnants {
  chains: readonly string[];
  sets: readonly string[];
}

/**
 * The whole table in one atomic batch (tracked connections go on), whatever of it is there. The administrator's chain
 * is made when there is none, and otherwise left as it is.
 */
export function tableCommands(table: string, contents: TableContents, remnants: Remnants): string {
  return writeCommands(`inet ${table}`, contents, remnants);
}

/** The table beside it, for what passes bridges alone; made when it is missing. */
export function bridgeTableCommands(table: string, contents: TableContents, remnants: Remnants): string {
  return writeCommands(`bridge ${table}`, contents, remnants);
}

export function deleteBridgeTableCommands(table: string): string {
  return `add table bridge ${table}\ndelete table bridge ${table}\n`;
}

function writeCommands(place: string, { sets, chains }: TableContents, remnants: Remnants): string {
  const written = sets.filter(({ isKept }) => isKept !== true);
  const flushed = [
    ...[...chains.map(({ name }) => name), ...remnants.chains].map((name) => `flush chain ${place} ${name}\n`),
    ...written.map(({ kind, name }) => `flush ${kind} ${place} ${name}\n`),
    ...remnants.chains.map((name) => `delete chain ${place} ${name}\n`),
    ...remnants.sets.map((name) => `delete set ${place} ${name}\n`),
  ];
  return [
    declaration(place, { sets, chains }),
    ...flushed,
    ...chains.map((chain) => chainCommands(place, chain)),
    ...elementCommands(place, written),
  ].join('');
}

/** A part of the table that is written while the rest stays. */
export function fragmentCommands(table: string, { sets, chains, shared }: EgressFragment): string {
  const written = sets.filter(({ isKept }) => isKept !== true);
  const elements = [
    ...written.flatMap((set) => (set.elements.length === 0 ? [] : [[set.name, set.elements.join(', ')] as const])),
    ...shared,
  ];
  return [
    declaration(`inet ${table}`, { sets, chains }),
    ...chains.map(({ name }) => `flush chain inet ${table} ${name}\n`),
    ...written.map(({ kind, name }) => `flush ${kind} inet ${table} ${name}\n`),
    ...chains.map((chain) => chainCommands(`inet ${table}`, chain)),
    ...elements.map(([name, text]) => `add element inet ${table} ${name} { ${text} }\n`),
  ].join('');
}

/** Sets whose elements are written while the rest of the table stays. */
export const setCommands = (table: string, sets: readonly NamedSet[]): string =>
  [
    ...sets.map(({ kind, name }) => `flush ${kind} inet ${table} ${name}\n`),
    ...elementCommands(`inet ${table}`, sets),
  ].join('');

const elementCommands = (place: string, sets: readonly NamedSet[]): string[] =>
  sets
    .filter(({ elements }) => elements.length > 0)
    .map(({ name, elements }) => `add element ${place} ${name} { ${elements.join(', ')} }\n`);

function declaration(place: string, { sets, chains }: TableContents): string {
  const declared = [
    ...sets.map(({ kind, name, type }) => `  ${kind} ${name} { ${type} }\n`),
    ...(place.startsWith('inet ') ? [`  chain ${USER_CHAIN} { }\n`] : []),
    ...chains.map(({ name, hook }) => `  chain ${name} { ${hook} }\n`),
  ];
  return `table ${place} {\n${declared.join('')}}\n`;
}

const chainCommands = (place: string, { name, rules }: Chain): string =>
  rules.length === 0 ? '' : `table ${place} {\nchain ${name} {\n  ${rules.join('\n  ')}\n}\n}\n`;

/** Takes everything of ours out of the table and leaves the administrator's chain. */
export function emptyTableCommands(table: string, remnants: Remnants): string {
  const { sets } = tableContents([], [], []);
  const names = [...ownChains().map(({ name }) => name), ...remnants.chains];
  return [
    ...names.map((name) => `flush chain inet ${table} ${name}\n`),
    ...sets.map(({ kind, name }) => `flush ${kind} inet ${table} ${name}\n`),
    ...names.map((name) => `delete chain inet ${table} ${name}\n`),
    ...sets.map(({ kind, name }) => `delete ${kind} inet ${table} ${name}\n`),
    ...remnants.sets.map((name) => `delete set inet ${table} ${name}\n`),
  ].join('');
}
