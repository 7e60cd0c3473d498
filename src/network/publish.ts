import { readFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { isAway, isIPv6 } from '../linux/index.ts';
import type { Transaction } from '../state/index.ts';
import type { Endpoint, NetworkRecord, PortMapping } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { gatewayMode, HOST_BINDING } from './network-options.ts';
import type { PortRequest, PortSelection } from './network-service.ts';
import { choosePort } from './published-ports.ts';
import { deletePort, findNetwork, insertPort, listEndpoints, updateEndpoint } from './records.ts';
import { publicationsOf } from './rules.ts';
import { checkedAddress } from './subnet.ts';

/**
 * Takes ports of the host for an endpoint, and adds them to it.
 *
 * @returns the mappings of each request
 * @throws {TareError} Conflict: a port is taken (names the holder)
 */
export function takePorts(
  tx: Transaction,
  deps: Pick<NetworkDeps, 'defaultBinding' | 'containerName'>,
  network: NetworkRecord,
  endpoint: Endpoint,
  requests: readonly PortRequest[],
): PortMapping[][] {
  const address = endpoint.ipv4 === '' ? `[${endpoint.ipv6.split('/', 1)[0]}]` : endpoint.ipv4.split('/', 1)[0];
  return requests.map((request) => {
    const { protocol, containerPort } = request;
    if (protocol === 'sctp' && isAway()) {
      throw new TareError(
        'Unsupported',
        `port ${containerPort}/sctp: an engine without root publishes TCP and UDP ports only`,
      );
    }
    const addresses = hostAddresses(deps.defaultBinding, network, request);
    const isRouted = (hostIp: string) => gatewayMode(network, isIPv6(hostIp) ? 6 : 4) === 'routed';
    const isThere = (mapping: PortMapping) => endpoint.ports.some((other) => same(other, mapping));
    const translated = addresses.filter((hostIp) => !isRouted(hostIp));
    // Reached by the container's own address: no port of the host is taken.
    const routed = addresses
      .filter(isRouted)
      .map((hostIp): PortMapping => ({ protocol, containerPort, hostIp, hostPort: 0 }))
      .filter((mapping) => !isThere(mapping));
    const chosen =
      translated.length === 0 ? [] : choosePort(tx, request, translated, address ?? '', deps.containerName);
    for (const mapping of chosen) insertPort(tx, endpoint, mapping);
    const mappings = [...chosen, ...routed];
    endpoint.ports.push(...mappings);
    return mappings;
  });
}

/** The addresses one requested publication stands for. */
function hostAddresses(defaultBinding: string, network: NetworkRecord, { hostIp }: PortRequest): string[] {
  if (hostIp !== '') return [checkedAddress(hostIp, 'host address of a published port')];
  const binding = network.options[HOST_BINDING] ?? '';
  if (binding !== '') return [checkedAddress(binding, HOST_BINDING)];
  if (defaultBinding !== '') return [checkedAddress(defaultBinding, 'default address of published ports')];
  return [...(network.enableIPv4 ? ['0.0.0.0'] : []), ...(hostHasIPv6() ? ['::'] : [])];
}

function hostHasIPv6(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'latin1').startsWith('0');
  } catch {
    return false;
  }
}

/** @see NetworkService.publish */
export async function publish(
  deps: NetworkDeps,
  containerId: string,
  networkId: string,
  requests: readonly PortRequest[],
): Promise<PortMapping[][]> {
  const network = findNetwork(deps.db, networkId);
  if (network.internal) {
    throw new TareError('Conflict', `network ${network.name} is internal: its containers publish no ports`);
  }
  const { endpoint, mappings } = await deps.db.write((tx) => {
    const endpoint = listEndpoints(deps.db, { containerId, networkId: network.id })[0];
    if (endpoint === undefined || endpoint.interfaceName === '') {
      throw new TareError('Conflict', `container ${containerId} has no address on network ${network.name}`);
    }
    if (endpoint.hostInterface === '') {
      throw new TareError(
        'Conflict',
        `network ${network.name} (${network.driver}) publishes no ports while it is in use`,
      );
    }
    const mappings = takePorts(tx, deps, network, endpoint, requests);
    updateEndpoint(tx, endpoint);
    return { endpoint, mappings };
  });
  try {
    await deps.firewall.publish(publicationsOf({ ...endpoint, ports: mappings.flat() }));
    deps.links.setPortOptions(network, endpoint);
  } catch (error) {
    await withdraw(deps, endpoint, mappings.flat());
    throw error;
  }
  return mappings;
}

/** @see NetworkService.unpublish */
export async function unpublish(
  deps: NetworkDeps,
  containerId: string,
  selections: readonly PortSelection[],
): Promise<PortMapping[]> {
  const endpoints = listEndpoints(deps.db, { containerId });
  const removed = new Set<PortMapping>();
  for (const selection of selections) {
    const matching = endpoints.flatMap(({ ports }) => ports.filter((port) => selects(selection, port)));
    if (matching.length === 0) throw new TareError('NotFound', `port ${selectionText(selection)} is not published`);
    for (const port of matching) removed.add(port);
  }
  for (const endpoint of endpoints) {
    const ports = endpoint.ports.filter((port) => removed.has(port));
    if (ports.length > 0) await withdraw(deps, endpoint, ports);
  }
  return [...removed];
}

/** Whether a mapping is one that the selection means. */
export function selects(selection: PortSelection, mapping: PortMapping): boolean {
  const { hostIp, hostPort } = selection;
  return (
    selection.containerPort === mapping.containerPort &&
    selection.protocol === mapping.protocol &&
    (hostIp === '' || checkedAddress(hostIp, 'host address of a published port') === mapping.hostIp) &&
    (hostPort === 0 || hostPort === mapping.hostPort)
  );
}

export const selectionText = ({ hostIp, hostPort, containerPort, protocol }: PortSelection): string =>
  [
    ...(hostIp === '' ? [] : [isIPv6(hostIp) ? `[${hostIp}]` : hostIp]),
    ...(hostPort === 0 ? [] : [String(hostPort)]),
    `${containerPort}/${protocol}`,
  ].join(':');

async function withdraw(deps: NetworkDeps, endpoint: Endpoint, ports: readonly PortMapping[]): Promise<void> {
  const isOne = (port: PortMapping) => ports.some((other) => same(port, other));
  const current = () => listEndpoints(deps.db, endpoint).find(({ id }) => id === endpoint.id);
  const gone = publicationsOf({ ...endpoint, ports: [...ports] });
  const forget = () =>
    deps.db.write((tx) => {
      const recorded = current();
      if (recorded === undefined) return;
      for (const port of ports) if (port.hostPort !== 0) deletePort(tx, recorded, port);
      updateEndpoint(tx, { ...recorded, ports: recorded.ports.filter((port) => !isOne(port)) });
    });
  await deps.firewall.withdraw(gone, () => current()?.ports.some(isOne) === true, forget);
}

const same = (a: PortMapping, b: PortMapping): boolean =>
  a.hostIp === b.hostIp &&
  a.hostPort === b.hostPort &&
  a.containerPort === b.containerPort &&
  a.protocol === b.protocol;
