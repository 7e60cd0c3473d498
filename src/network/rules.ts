import { isIPv4, isIPv6 } from 'node:net';
import type { Endpoint, NetworkRecord, PortMapping } from './driver.ts';
import { isWildcard } from './published-ports.ts';
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
  return endpoint.ports.flatMap((port) => {
    const address = isIPv6(port.hostIp) ? endpoint.ipv6 : endpoint.ipv4;
    return address === '' ? [] : [{ ...port, containerIp: address.split('/', 1)[0] as string }];
  });
}

type MapName = 'any4' | 'any6' | 'bound4' | 'bound6';

const mapOf = ({ hostIp }: PortMapping): MapName =>
  isIPv4(hostIp) ? (isWildcard(hostIp) ? 'any4' : 'bound4') : isWildcard(hostIp) ? 'any6' : 'bound6';

const keyOf = (port: PortMapping): string =>
  `${isWildcard(port.hostIp) ? '' : `${port.hostIp} . `}${port.protocol} . ${port.hostPort}`;

const elementOf = (port: Publication): string => `${keyOf(port)} : ${port.containerIp} . ${port.containerPort}`;

function byMap(ports: readonly Publication[], text: (port: Publication) => string): [MapName, string][] {
  const groups = Map.groupBy(ports, mapOf);
  return [...groups].map(([map, group]) => [map, group.map(text).join(', ')]);
}

/** Commands that publish ports: one hash map element each, so that the cost does not grow with their number. */
export function publishCommands(table: string, ports: readonly Publication[]): string {
  return byMap(ports, elementOf)
    .map(([map, elements]) => `add element inet ${table} ${map} { ${elements} }\n`)
    .join('');
}

export function withdrawCommands(table: string, ports: readonly Publication[]): string {
  return byMap(ports, keyOf)
    .map(([map, elements]) => `delete element inet ${table} ${map} { ${elements} }\n`)
    .join('');
}

export function deleteTableCommands(table: string): string {
  // `delete` alone fails when there is none.
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

function set(name: string, type: string, elements: readonly string[], flags = ''): string {
  const body = elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} };`;
  return `  set ${name} { type ${type};${flags === '' ? '' : ` flags ${flags};`}${body} }`;
}

function map(name: MapName, type: string, ports: readonly Publication[]): string {
  const elements = ports.filter((port) => mapOf(port) === name).map(elementOf);
  return `  map ${name} { type ${type};${elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} };`} }`;
}

/**
 * The whole table, replacing what was there in one atomic batch (tracked connections go on).
 *
 * Its rules are as many for one network as for a thousand: what differs is in sets and maps.
 */
export function tableCommands(
  table: string,
  networks: readonly NetworkRecord[],
  ports: readonly Publication[],
): string {
  const subnets = (family: 4 | 6, wanted: (network: NetworkRecord) => boolean) =>
    networks
      .filter(wanted)
      .flatMap(({ ipam }) => ipam.map(({ subnet }) => subnet))
      .filter((subnet) => parseSubnet(subnet).family === family);
  const isMasqueraded = (network: NetworkRecord) => network.masquerade && !network.internal;
  const bridges = networks.map(({ bridge }) => bridge);
  const talkative = networks.filter(({ icc }) => icc).map(({ bridge }) => bridge);
  return `${deleteTableCommands(table)}table inet ${table} {
${set('bridges', 'ifname', bridges.map(quote))}
${set(
  'within',
  'ifname . ifname',
  talkative.map((bridge) => `${quote(bridge)} . ${quote(bridge)}`),
)}
${set(
  'internal',
  'ifname',
  networks.filter(({ internal }) => internal).map(({ bridge }) => quote(bridge)),
)}
${set(
  'subnets4',
  'ipv4_addr',
  subnets(4, () => true),
  'interval',
)}
${set(
  'subnets6',
  'ipv6_addr',
  subnets(6, () => true),
  'interval',
)}
${set('masqueraded4', 'ipv4_addr', subnets(4, isMasqueraded), 'interval')}
${set('masqueraded6', 'ipv6_addr', subnets(6, isMasqueraded), 'interval')}
${map('any4', 'inet_proto . inet_service : ipv4_addr . inet_service', ports)}
${map('any6', 'inet_proto . inet_service : ipv6_addr . inet_service', ports)}
${map('bound4', 'ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service', ports)}
${map('bound6', 'ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service', ports)}

  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop comment "route_localnet is for this host alone"
    iifname != "lo" ip saddr 127.0.0.0/8 drop
    iifname @bridges fib saddr . iif oif missing drop comment "a source address of another network"
  }

  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname @bridges jump bridged
    oifname @bridges jump bridged
  }
  chain bridged {
    ct state established,related accept
    iifname . oifname @within accept
    ct state invalid drop
    iifname @internal drop
    oifname @internal drop
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }

  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    fib daddr type local jump publish
  }
  chain publish {
    dnat ip to ip daddr . meta l4proto . th dport map @bound4
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @bound6
    dnat ip6 to meta l4proto . th dport map @any6
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ct status dnat ip saddr @subnets4 masquerade
    oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname != @bridges ip saddr @masqueraded4 masquerade
    oifname != @bridges ip6 saddr @masqueraded6 masquerade
  }
}
`;
}

const quote = (name: string): string => JSON.stringify(name);
