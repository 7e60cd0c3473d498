import { isIPv6 } from '../linux/index.ts';
import type { Endpoint, NetworkRecord, PortMapping } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { gatewayMode } from './network-options.ts';
import { hostText, isWildcard } from './published-ports.ts';
import { listEndpoints, listNetworks } from './records.ts';
import { type Publication, portKey, portSetOf, publicationsOf } from './rules.ts';

/** Whether somebody reaches a port of a container, how, and what decides it. */
export interface PortReach {
  who: string;
  isReachable: boolean;
  /** Addresses to ask at; where it is not reachable, those that lead nowhere. */
  by: string[];
  /** The rule, in the words of nft, or what else decides it. */
  rule: string;
}

type Protocol = PortMapping['protocol'];

/** @see NetworkService.reach */
export function reach(deps: NetworkDeps, containerId: string, port: number, protocol: Protocol): PortReach[] {
  const networks = new Map(listNetworks(deps.db).map((network) => [network.id, network]));
  const joined = listEndpoints(deps.db, { containerId }).flatMap((endpoint) => {
    const network = networks.get(endpoint.networkId);
    return network === undefined ? [] : [{ endpoint, network }];
  });
  const found = joined.flatMap(({ endpoint, network }) => {
    const ports = endpoint.ports.filter((one) => one.containerPort === port && one.protocol === protocol);
    return network.driver === 'bridge'
      ? bridged(deps, network, { ...endpoint, ports }, { port, protocol })
      : [unbridged(network, endpoint, port)];
  });
  if (found.length > 0) return found;
  return [{ who: 'nobody', isReachable: false, by: [], rule: 'the container is on no network, or does not run' }];
}

function unbridged(network: NetworkRecord, endpoint: Endpoint, port: number): PortReach {
  const by = addressesOf(endpoint).map((address) => hostText(address, port));
  if (network.driver === 'none') {
    return { who: 'nobody', isReachable: false, by, rule: 'network none: the container has its loopback alone' };
  }
  if (network.driver === 'host') {
    const rule = "network host: the container's port is the host's own; the host's firewall decides";
    return { who: 'whoever reaches this host', isReachable: true, by: [`the host's addresses, port ${port}`], rule };
  }
  const rule = `driver ${network.driver}: its frames go by the parent link, where no rule of ours sees them`;
  return {
    who: `whoever is on the link of network ${network.name}, other than this host`,
    isReachable: true,
    by,
    rule,
  };
}

function bridged(
  deps: NetworkDeps,
  network: NetworkRecord,
  endpoint: Endpoint,
  { port, protocol }: { port: number; protocol: Protocol },
): PortReach[] {
  const table = `table inet ${deps.instance}`;
  const chain = `${table}, chain bridged`;
  const direct = addressesOf(endpoint).map((address) => hostText(address, port));
  const siblings = {
    who: `other containers on network ${network.name}`,
    isReachable: network.icc,
    by: direct,
    rule: network.icc
      ? `${chain}: iifname . oifname @within accept (frames within the bridge pass no rule at all without br_netfilter)`
      : 'the network was made with enable_icc=false: its bridge ports are isolated from each other',
  };
  const linked = linkedTo(deps, network, endpoint, { port, protocol });
  const host = addressesOf(endpoint).map((address): PortReach => {
    const isIsolated = gatewayMode(network, isIPv6(address) ? 6 : 4) === 'isolated';
    return {
      who: 'this host',
      isReachable: !isIsolated,
      by: [hostText(address, port)],
      rule: isIsolated
        ? 'gateway mode isolated: the host has no address on the bridge'
        : `by its link ${network.bridge}; no rule of ours filters what the host sends`,
    };
  });
  if (network.internal) {
    const rule = `${chain}: oifname @internal drop`;
    return [siblings, ...host, { who: 'other hosts and other networks', isReachable: false, by: direct, rule }];
  }
  return [
    siblings,
    ...linked,
    ...host,
    ...addressesOf(endpoint).map((address) => byOwnAddress(chain, network, endpoint, hostText(address, port))),
    ...published(deps, table, endpoint),
  ];
}

/** Containers that reach the port although the network keeps its containers apart. */
function linkedTo(
  deps: NetworkDeps,
  network: NetworkRecord,
  { containerId, ipv4 }: Endpoint,
  wanted: { port: number; protocol: Protocol },
): PortReach[] {
  if (network.icc || ipv4 === '') return [];
  return deps
    .passages()
    .filter(
      ({ networkId, to, ports }) =>
        networkId === network.id &&
        to === containerId &&
        ports.some(({ port, protocol }) => port === wanted.port && protocol === wanted.protocol),
    )
    .map(({ from }) => ({
      who: `container ${deps.containerName(from)}, which is linked to it`,
      isReachable: true,
      by: [hostText(ipv4.split('/', 1)[0] as string, wanted.port)],
      rule: `table inet ${deps.instance}, chain bridged: ip saddr . ip daddr . meta l4proto . th dport @linked4 accept`,
    }));
}

/** What comes from elsewhere straight to the container's address. */
function byOwnAddress(chain: string, network: NetworkRecord, endpoint: Endpoint, address: string): PortReach {
  const family = address.startsWith('[') ? 6 : 4;
  const who = "other hosts and other networks, by routing to the container's address";
  const mode = gatewayMode(network, family);
  const routed = publicationsOf(endpoint).find(
    (one) => one.hostPort === 0 && isIPv6(one.containerIp) === (family === 6),
  );
  if (routed !== undefined) {
    const rule = `${chain}: ip${family === 6 ? '6' : ''} daddr . meta l4proto . th dport @${portSetOf(routed)} accept, element ${portKey(routed)}`;
    return { who, isReachable: true, by: [address], rule };
  }
  if (mode === 'nat-unprotected') {
    const rule = `${chain}: iifname != @bridges oifname @unprotected${family} accept (gateway mode nat-unprotected)`;
    return { who: "other hosts, by routing to the container's address", isReachable: true, by: [address], rule };
  }
  const hint = endpoint.ports.length > 0 ? 'published ports are reached by the host’s addresses' : 'not published';
  return { who, isReachable: false, by: [address], rule: `${chain}: drop (${hint})` };
}

/** What comes to the host's addresses. */
function published(deps: NetworkDeps, table: string, endpoint: Endpoint): PortReach[] {
  const publications = publicationsOf(endpoint);
  return endpoint.ports
    .filter(({ hostPort }) => hostPort !== 0)
    .flatMap((mapping) => {
      const { hostIp, hostPort } = mapping;
      const family = isIPv6(hostIp) ? 6 : 4;
      const loopback = family === 6 ? '::1' : '127.0.0.1';
      const publication = publications.find((one) => one.hostIp === hostIp && one.hostPort === hostPort);
      const proxy = `the keeper listens on ${hostText(family === 6 && isWildcard(hostIp) && publication !== undefined ? loopback : hostIp, hostPort)} and passes on`;
      const rule = publication === undefined ? proxy : ruleOf(deps, table, publication);
      const isThere = publication === undefined || isInKernel(deps, publication);
      const lost = isThere ? '' : '; the kernel does not have it now: somebody has changed our table';
      const reaches = (who: string, address: string, decides: string): PortReach => ({
        ...{ who, isReachable: isThere, by: [hostText(address, hostPort)], rule: `${decides}${lost}` },
      });
      const local = hostIp === loopback || (family === 4 && hostIp.startsWith('127.'));
      const result: PortReach[] = [];
      if (local || isWildcard(hostIp)) {
        const address = local ? hostIp : loopback;
        // The kernel never routes ::1 off the loopback link.
        result.push(reaches('this host, by localhost', address, family === 6 ? proxy : rule));
      }
      if (local) {
        const guard =
          family === 6
            ? 'the kernel drops ::1 from any other link'
            : `${table}, chain guard: ip daddr 127.0.0.0/8 drop`;
        const who = 'other hosts and containers';
        return [...result, { who, isReachable: false, by: [hostText(hostIp, hostPort)], rule: guard }];
      }
      const where = isWildcard(hostIp) ? `any IPv${family} address of this host` : hostIp;
      const by = isWildcard(hostIp) ? `${where}, port ${hostPort}` : hostText(hostIp, hostPort);
      result.push({
        who: 'this host, other hosts, and containers on networks that are not internal',
        isReachable: isThere,
        by: [by],
        rule: `${rule}${lost}`,
      });
      return result;
    });
}

const ruleOf = ({ instance }: NetworkDeps, table: string, port: Publication): string =>
  `${table}, chain publish: dnat by map @${portSetOf(port)}, element ${portKey(port)} : ${port.containerIp} . ${port.containerPort}; then chain bridged of inet ${instance}: ct status dnat accept`;

const isInKernel = (deps: NetworkDeps, port: Publication): boolean => deps.firewall.has(port);

const addressesOf = ({ ipv4, ipv6 }: Endpoint): string[] =>
  [ipv4, ipv6].filter((cidr) => cidr !== '').map((cidr) => cidr.split('/', 1)[0] as string);
