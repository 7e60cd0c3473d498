import { TareError } from '../errors/index.ts';
import { bandwidthFor, type ConnectRequest, type Endpoint, type NetworkRecord } from '../network/index.ts';
import type { NewEvent } from '../state/index.ts';
import { networkEvent } from './events.ts';
import { exposedPorts } from './exposed-ports.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, EndpointRequest } from './types.ts';

type Publication = ConnectRequest['ports'][number];

/** What to ask of the network service for a container, one request a network, in the order of its networks. */
export function connectRequests(
  record: Pick<ContainerRecord, 'id' | 'networking' | 'host' | 'config'>,
  network: (ref: string) => NetworkRecord,
): Omit<ConnectRequest, 'netns'>[] {
  const ports = publications(record.host, record.config.exposedPorts);
  return record.networking.map((request, index) => ({
    containerId: record.id,
    networkId: network(request.network).id,
    ...endpointWishes(request, record.host),
    ...chosenResolvers(record.host),
    // Ports lead to the first network's address.
    ports: index === 0 ? ports : [],
  }));
}

/** What the network service is to give one endpoint. */
export function endpointWishes(
  request: Omit<EndpointRequest, 'network'>,
  host: Pick<ContainerRecord['host'], 'networkBandwidth'>,
) {
  const { macAddress, ipv4, ipv6, linkLocalIps, gatewayPriority, driverOptions, aliases } = request;
  const bandwidth = bandwidthFor(host.networkBandwidth, driverOptions);
  const limits = bandwidth.inBits + bandwidth.outBits > 0 ? { bandwidth } : {};
  return { macAddress, ipv4, ipv6, linkLocalIps, gatewayPriority, driverOptions, aliases, ...limits };
}

function chosenResolvers({ dns, dnsSearch, dnsOptions }: ContainerRecord['host']): Pick<ConnectRequest, 'dns'> {
  if (dns.length + dnsSearch.length + dnsOptions.length === 0) return {};
  return { dns: { servers: dns, searches: dnsSearch, options: dnsOptions } };
}

/** What is said of ports that a container's first network does not publish. */
export function publicationWarnings(
  { host, config, networking }: Pick<ContainerRecord, 'host' | 'config' | 'networking'>,
  network: (ref: string) => NetworkRecord,
): string[] {
  const [first] = networking;
  const driver = first === undefined ? '' : network(first.network).driver;
  if (driver !== 'macvlan' && driver !== 'ipvlan') return [];
  if (publications(host, config.exposedPorts).length === 0) return [];
  return [`Published ports are discarded when using ${driver} network mode: the container's own address has them all`];
}

/**
 * The wanted publications of a container: its bindings, and with `-P` a free port for each exposed one.
 * @throws {TareError} InvalidArgument: a port or a range out of bounds
 */
export function publications(
  host: Pick<ContainerRecord['host'], 'portBindings' | 'publishAllPorts'>,
  exposed: readonly string[],
): Publication[] {
  const result: Publication[] = [];
  for (const [key, bindings] of Object.entries(host.portBindings)) {
    const { port, protocol } = parseContainerPort(key);
    for (const { hostIp, hostPort } of bindings) {
      const [first, last] = parseHostPort(hostPort);
      result.push({ hostIp, hostPort: first, hostPortEnd: last, containerPort: port, protocol });
    }
  }
  if (!host.publishAllPorts) return result;
  for (const key of exposed) {
    const ports = exposedPorts(key);
    if (ports === undefined) throw new TareError('InvalidArgument', `invalid port specification: "${key}"`);
    for (const { port, protocol } of ports) {
      if ((host.portBindings[`${port}/${protocol}`] ?? []).length > 0) continue;
      result.push({ hostIp: '', hostPort: 0, hostPortEnd: 0, containerPort: port, protocol });
    }
  }
  return result;
}

function parseContainerPort(key: string): { port: number; protocol: Publication['protocol'] } {
  const [number = '', protocol = 'tcp'] = key.split('/');
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') {
    throw new TareError('InvalidArgument', `invalid port specification: "${key}": want tcp, udp or sctp`);
  }
  return { port: parsePort(number, key), protocol };
}

function parseHostPort(text: string): [first: number, last: number] {
  if (text === '' || text === '0') return [0, 0];
  const [first = '', last = first] = text.split('-');
  const range: [number, number] = [parsePort(first, text), parsePort(last, text)];
  if (range[1] < range[0]) throw new TareError('InvalidArgument', `invalid port specification: "${text}"`);
  return range;
}

function parsePort(text: string, whole: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new TareError('InvalidArgument', `invalid port specification: "${whole}"`);
  return port;
}

/** Releases every address and port of a container. Repeating is safe. */
export async function disconnectAll(parts: Pick<EngineParts, 'networks'>, id: string): Promise<void> {
  for (const endpoint of parts.networks.endpoints({ containerId: id })) {
    await parts.networks.disconnect(id, endpoint.networkId);
  }
}

/** One event for each network that a container's start joined, or its end left. */
export const endpointEvents = (
  { networks }: Pick<EngineParts, 'networks'>,
  endpoints: readonly Endpoint[],
  action: 'connect' | 'disconnect',
): NewEvent[] =>
  endpoints.map(({ networkId, containerId }) => networkEvent(networks.get(networkId), action, containerId));

/** Drops a container's network namespace and releases its addresses and ports. Repeating is safe. */
export async function freeNetwork(parts: Pick<EngineParts, 'networks'>, id: string): Promise<void> {
  await parts.networks.deleteNamespace(id);
  await disconnectAll(parts, id);
}
