import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { type Link, RouteSocket, SyscallError, withNamespace } from '../linux/index.ts';
import type { Endpoint, NetworkRecord } from './driver.ts';
import { dressLink } from './endpoint-link.ts';
import { gatewayMode, isGuarded } from './network-options.ts';
import { parseSubnet } from './subnet.ts';
import { setSysctl } from './sysctl.ts';

/** The links of bridge networks, in the namespace that this was made in. */
export class BridgeLinks implements Disposable {
  readonly #route = new RouteSocket();

  [Symbol.dispose](): void {
    this.#route[Symbol.dispose]();
  }

  get route(): RouteSocket {
    return this.#route;
  }

  /** The network's bridge, if it is there and complete. */
  readyBridge(network: NetworkRecord): Link | undefined {
    const link = this.#route.link(network.bridge);
    return link?.isUp === true && link.kind === 'bridge' ? link : undefined;
  }

  /** Makes a network's bridge, or completes what is there. Repeating is safe. */
  ensureBridge(network: NetworkRecord): Link {
    const { bridge: name, mtu } = network;
    if (this.#route.link(name) === undefined) {
      try {
        // An own address keeps the bridge from taking over those of its ports as they come and go.
        this.#route.addBridge({ name, macAddress: bridgeMac(network.id), mtu });
      } catch (error) {
        if (!(error instanceof SyscallError && error.code === 'EEXIST')) throw error;
      }
    }
    const link = this.#route.link(name);
    if (link === undefined) throw new TareError('Unavailable', `bridge ${name} vanished while it was being set up`);
    if (link.kind !== 'bridge') {
      throw new TareError(
        'Conflict',
        `link ${name} is a ${link.kind || 'device'}, not a bridge: choose another bridge name`,
      );
    }
    for (const family of ['ipv4', 'ipv6']) setSysctl(`net/${family}/conf/${name}/accept_redirects`, '0');
    setSysctl(`net/ipv6/conf/${name}/accept_ra`, '0');
    setSysctl(`net/ipv6/conf/${name}/disable_ipv6`, network.enableIPv6 ? '0' : '1');
    // 127.0.0.1 reaches published ports by way of the bridge; the table's guard chain keeps everybody else off 127/8.
    setSysctl(`net/ipv4/conf/${name}/route_localnet`, '1');
    if (network.name === 'bridge') answerBetweenPorts(network);
    for (const { subnet, gateway } of network.ipam) {
      // The host is no neighbour of an isolated network.
      if (gatewayMode(network, parseSubnet(subnet).family) === 'isolated') continue;
      if (gateway !== '') this.#route.addAddress(link.index, gateway, parseSubnet(subnet).prefix);
    }
    if (!network.internal) enableForwarding(network);
    // Last: an up bridge is a complete one, which is all that later connections check.
    this.#route.setLink(link.index, { isUp: true });
    return link;
  }

  /** Joins a namespace to a bridge: link, addresses, default route. */
  attach(network: NetworkRecord, bridge: Link, endpoint: Endpoint, netns: string): void {
    const namespace = openSync(netns, 'r');
    try {
      using inside = withNamespace(namespace, () => new RouteSocket());
      const { hostInterface: name, interfaceName, macAddress } = endpoint;
      this.#route.addVeth({
        name,
        master: bridge.index,
        mtu: network.mtu,
        peer: { name: interfaceName, namespace, macAddress },
      });
      const link = inside.link(interfaceName);
      if (link === undefined) throw new TareError('Internal', `${interfaceName} vanished from ${netns}`);
      dressLink(inside, namespace, link.index, endpoint);
      // What runs in there already sends nothing before its port is held.
      this.setPortOptions(network, endpoint);
      this.guard(network, bridge, endpoint);
      inside.setLink(link.index, { isUp: true });
      setDefaultRoutes(inside, network, endpoint);
      // A bridge with an address of its own: one of somebody else's may change it with its ports.
      if (!isGuarded(network) || bridge.macAddress !== bridgeMac(network.id)) return;
      for (const { gateway } of network.ipam) {
        if (gateway !== '' && isReachedBy(endpoint, gateway))
          inside.setNeighbour(link.index, gateway, bridge.macAddress);
      }
    } finally {
      closeSync(namespace);
    }
  }

  /**
   * Lets none of a container's frames reach the host by another way than the bridge. Where the network is guarded, it also holds the
   * container to its own MAC address (the bridge drops frames from others), and makes the host believe nobody else about the
   * container's addresses. Repeating is safe.
   */
  guard(network: NetworkRecord, bridge: Link, endpoint: Endpoint): void {
    const port = this.#route.link(endpoint.hostInterface);
    if (port === undefined) {
      throw new TareError('Internal', `${endpoint.hostInterface} vanished from bridge ${network.bridge}`);
    }
    if (!isGuarded(network)) {
      this.#route.setBridgePort(port.index, { passesReserved: true });
      return;
    }
    this.#route.setBridgeAddress(port.index, endpoint.macAddress);
    this.#route.setBridgePort(port.index, { locked: true, passesReserved: true });
    for (const address of addressesOf(endpoint)) {
      this.#route.setNeighbour(bridge.index, address, endpoint.macAddress);
    }
  }

  /** Takes back what the host was told of an endpoint's addresses. Repeating is safe. */
  forget(network: NetworkRecord, endpoint: Endpoint): void {
    const bridge = isGuarded(network) ? this.#route.link(network.bridge) : undefined;
    for (const address of bridge === undefined ? [] : addressesOf(endpoint)) {
      try {
        this.#route.deleteNeighbour(bridge?.index ?? 0, address);
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        // It was not there: the bridge has gone or was made anew.
      }
    }
  }

  /** What the bridge does with an endpoint's frames, where it differs from the default. */
  setPortOptions(network: NetworkRecord, endpoint: Endpoint): void {
    // Hairpin: with bridge-nf-call-iptables a container's request to its own published port turns around in the bridge.
    const hairpin = endpoint.ports.length > 0;
    // With it, our rules see what goes from port to port, and let published ports through.
    const isolated = !network.icc && !bridgedFramesAreFiltered();
    const port = hairpin || isolated ? this.#route.link(endpoint.hostInterface) : undefined;
    if (port !== undefined) this.#route.setBridgePort(port.index, { hairpin, isolated });
  }

  /** Stops all traffic of a host-side link at once; the link itself goes with its namespace. */
  silence(hostInterface: string): void {
    const link = this.#route.link(hostInterface);
    if (link === undefined || link.master === 0) return;
    try {
      this.#route.setBridgePort(link.index, { disabled: true });
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // Going away under our hands: just what was wanted.
    }
  }

  /** Removes a link by name. Repeating is safe. */
  async remove(name: string): Promise<void> {
    const link = this.#route.link(name);
    if (link === undefined) return;
    try {
      await this.#route.deleteLink(link.index);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'ENODEV')) throw error;
    }
  }
}

function setDefaultRoutes(inside: RouteSocket, network: NetworkRecord, endpoint: Endpoint): void {
  if (network.internal) return;
  const gateways: [string, string][] = [
    ['0.0.0.0', endpoint.gatewayIpv4],
    ['::', endpoint.gatewayIpv6],
  ];
  for (const [destination, gateway] of gateways) {
    if (gateway === '') continue;
    try {
      inside.addRoute({ destination, prefix: 0, gateway, index: 0 });
    } catch (error) {
      // The network that was connected first is the way out.
      if (!(error instanceof SyscallError && error.code === 'EEXIST')) throw error;
    }
  }
}

const addressesOf = ({ ipv4, ipv6 }: Endpoint): string[] =>
  [ipv4, ipv6].filter((cidr) => cidr !== '').map((cidr) => cidr.split('/', 1)[0] as string);

/** Whether a container has an address in the family of a gateway. */
const isReachedBy = ({ ipv4, ipv6 }: Endpoint, gateway: string): boolean =>
  (gateway.includes(':') ? ipv6 : ipv4) !== '';

const bridgeMac = (id: string): string => `02:42:${id.slice(0, 8).replace(/..(?=.)/g, '$&:')}`;

/** Whether frames between ports of a bridge pass the rules for IP packets (br_netfilter). */
function bridgedFramesAreFiltered(): boolean {
  try {
    return !isOff('net/bridge/bridge-nf-call-iptables') && !isOff('net/bridge/bridge-nf-call-ip6tables');
  } catch {
    // The module is not loaded.
    return false;
  }
}

/**
 * The default network may have links between containers that are kept apart: where their ports are isolated, the host answers for
 * each of them, and what they send each other passes our rules (RFC 3069, section 2.1). Links are of IPv4 alone then.
 */
function answerBetweenPorts({ bridge, icc }: NetworkRecord): void {
  const isNeeded = !icc && !bridgedFramesAreFiltered();
  setSysctl(`net/ipv4/conf/${bridge}/proxy_arp_pvlan`, isNeeded ? '1' : '0');
  // At once, not after up to 0.8 seconds.
  if (isNeeded) setSysctl(`net/ipv4/neigh/${bridge}/proxy_delay`, '0');
}

const IPV6_LINKS = '/proc/sys/net/ipv6/conf';

const isOff = (name: string): boolean => readFileSync(`/proc/sys/${name}`, 'latin1').trim() === '0';

function enableForwarding(network: NetworkRecord): void {
  if (network.enableIPv4 && isOff('net/ipv4/ip_forward')) setSysctl('net/ipv4/ip_forward', '1');
  if (!network.enableIPv6 || !isOff('net/ipv6/conf/all/forwarding')) return;
  // A forwarding host no longer listens to router advertisements, and would lose its own default route:
  // 2 says to go on listening (ip-sysctl.rst, accept_ra).
  for (const link of readdirSync(IPV6_LINKS)) {
    if (link === 'all' || readFileSync(`${IPV6_LINKS}/${link}/accept_ra`, 'latin1').trim() !== '1') continue;
    setSysctl(`net/ipv6/conf/${link}/accept_ra`, '2');
  }
  setSysctl('net/ipv6/conf/all/forwarding', '1');
}
