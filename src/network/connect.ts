import { randomBytes } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { Transaction } from '../state/index.ts';
import { assignAddress } from './address-management.ts';
import { checkBandwidth, isLimited, shapeTraffic } from './bandwidth.ts';
import { settleDefaultRoutes } from './default-route.ts';
import { disconnect, releaseEndpoint } from './disconnect.ts';
import type { Endpoint } from './driver.ts';
import { refuseUngoverned } from './egress/index.ts';
import { refuseSettings } from './endpoint-check.ts';
import { endpointOptions, linkLocalAddresses } from './endpoint-options.ts';
import { lookUpNetwork } from './look-up.ts';
import type { NetworkDeps } from './network-deps.ts';
import { linkPrefix } from './network-options.ts';
import type { ConnectRequest } from './network-service.ts';
import { takePorts } from './publish.ts';
import { insertEndpoint, listEndpoints, type StoredNetwork } from './records.ts';
import { macAddressFor } from './subnet.ts';

/** @see NetworkService.connect */
export async function connect(deps: NetworkDeps, request: ConnectRequest): Promise<Endpoint> {
  const { containerId } = request;
  let network = lookUpNetwork(deps, request.networkId);
  refuseSettings(network);
  if (deps.egress.find(containerId) !== undefined) refuseUngoverned(network, 'container');
  // What a run that was cut short left behind must not stand in this one's way.
  if (listEndpoints(deps.db, { containerId, networkId: network.id }).length > 0) {
    await disconnect(deps, containerId, network.id, request.netns);
  }
  const driver = deps.drivers[network.driver];
  network = await driver.ready(network);
  const endpoint = await deps.db.write((tx) => allocate(tx, deps, network, request));
  try {
    const connected = await driver.connect(network, endpoint, request);
    if (isLimited(connected)) shapeTraffic(deps, connected, request.netns);
    if (endpoint.sequence !== 0) settleDefaultRoutes(deps, containerId, request.netns);
    return connected;
  } catch (error) {
    try {
      await releaseEndpoint(deps, endpoint, request.netns);
    } catch (cleanup) {
      throw new SuppressedError(cleanup, error, 'connecting failed, and undoing it too');
    }
    throw error;
  }
}

/** Takes addresses, link names and ports: everything that could be somebody else's, in one transaction. */
function allocate(tx: Transaction, deps: NetworkDeps, network: StoredNetwork, request: ConnectRequest): Endpoint {
  if (tx.get('SELECT 1 FROM networks WHERE id = ?', network.id) === undefined) {
    throw new TareError('NotFound', `network ${network.name} not found: it was removed meanwhile`);
  }
  const { containerId } = request;
  const id = randomBytes(32).toString('hex');
  const shape = deps.drivers[network.driver].shape(tx, network, id, request);
  const v4 = shape.hasAddresses && network.enableIPv4 ? assignAddress(tx, network, 4, request.ipv4 ?? '') : undefined;
  const v6 = shape.hasAddresses && network.enableIPv6 ? assignAddress(tx, network, 6, request.ipv6 ?? '') : undefined;
  const { interfaceName, sysctls } = endpointOptions(request.driverOptions ?? {});
  const linkLocal = linkLocalAddresses(request.linkLocalIps ?? []);
  refuseTakenLinkLocal(tx, network, linkLocal);
  const others = tx
    .all<{ doc: string }>('SELECT doc FROM endpoints WHERE container_id = ?', containerId)
    .map(({ doc }) => JSON.parse(doc) as Endpoint);
  const endpoint: Endpoint = {
    id,
    networkId: network.id,
    containerId,
    interfaceName: shape.hasLink ? freeInterfaceName(others, interfaceName, linkPrefix(network)) : '',
    hostInterface: shape.hostInterface,
    macAddress:
      shape.macAddress ??
      checkedMac(request.macAddress) ??
      (v4 !== undefined ? macAddressFor(v4.address) : shape.hasAddresses ? randomMac() : ''),
    ipv4: v4 === undefined ? '' : `${v4.address}/${v4.prefix}`,
    ipv6: v6 === undefined ? '' : `${v6.address}/${v6.prefix}`,
    gatewayIpv4: network.internal || !shape.hasGateway ? '' : (v4?.gateway ?? ''),
    gatewayIpv6: network.internal || !shape.hasGateway ? '' : (v6?.gateway ?? ''),
    ...(linkLocal.length === 0 ? {} : { linkLocal }),
    ...(Object.keys(sysctls).length === 0 ? {} : { sysctls }),
    ...(request.bandwidth !== undefined && shape.hasLink ? { bandwidth: request.bandwidth } : {}),
    gatewayPriority: request.gatewayPriority ?? 0,
    sequence: Math.max(-1, ...others.map(({ sequence = 0 }) => sequence)) + 1,
    ports: [],
  };
  checkBandwidth(deps, endpoint);
  // An internal network reaches nothing outside, nor is it reached.
  takePorts(tx, deps, network, endpoint, network.internal || !shape.publishes ? [] : request.ports);
  insertEndpoint(tx, endpoint);
  return endpoint;
}

/** @throws {TareError} Conflict: the wanted name is another endpoint's of the container */
function freeInterfaceName(others: readonly Endpoint[], wanted: string, prefix: string): string {
  const used = new Set(others.map(({ interfaceName }) => interfaceName));
  if (wanted !== '') {
    if (!used.has(wanted)) return wanted;
    throw new TareError('Conflict', `interface name ${wanted} is taken by another network of the container`);
  }
  for (let number = 0; ; number += 1) {
    if (!used.has(`${prefix}${number}`)) return `${prefix}${number}`;
  }
}

/** @throws {TareError} Conflict: on the same network somebody has it */
function refuseTakenLinkLocal(tx: Transaction, network: StoredNetwork, wanted: readonly string[]): void {
  for (const cidr of wanted) {
    const taken = tx.get(
      "SELECT 1 FROM endpoints, json_each(endpoints.doc, '$.linkLocal') AS one WHERE network_id = ? AND one.value = ?",
      network.id,
      cidr,
    );
    if (taken === undefined) continue;
    throw new TareError('Conflict', `Address already in use: ${cidr.split('/', 1)[0]} on network ${network.name}`);
  }
}

function checkedMac(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  const plain = text.toLowerCase().replaceAll('-', ':');
  // The lowest bit of the first byte marks a group address, which no link may have.
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(plain) || (Number.parseInt(plain.slice(0, 2), 16) & 1) === 1) {
    throw new TareError('InvalidArgument', `invalid MAC address: ${text}: write a unicast one like 02:42:ac:11:00:02`);
  }
  return plain;
}

const randomMac = (): string =>
  `02:42:${randomBytes(4)
    .toString('hex')
    .replace(/..(?=.)/g, '$&:')}`;
