import { randomBytes } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { Transaction } from '../state/index.ts';
import { occupiedSubnets, pickSubnet } from './address-pools.ts';
import { configured, refuseRemoval } from './config-networks.ts';
import type { NetworkRecord } from './driver.ts';
import { type EgressPolicy, forgetEgress, parseEgressPolicy, refuseUngoverned } from './egress/index.ts';
import { lookUpNetwork } from './look-up.ts';
import type { NetworkDeps } from './network-deps.ts';
import { checkedIpam, inFamilyOrder, isGatewayOurs, networkFrom } from './network-options.ts';
import type { Alongside, CreateNetwork } from './network-service.ts';
import {
  findDamaged,
  findNetwork,
  insertNetwork,
  listEndpoints,
  listNetworks,
  publicRecord,
  refuseTakenName,
  type StoredNetwork,
  updateNetwork,
} from './records.ts';
import { addressText, overlaps, parseSubnet, type Subnet, subnetText } from './subnet.ts';

const predefined = new Set(['bridge', 'host', 'none']);

/** @see NetworkService.create */
export async function createNetwork(
  deps: NetworkDeps,
  request: CreateNetwork,
  alongside?: Alongside,
): Promise<NetworkRecord> {
  if (predefined.has(request.name) || request.name === 'default') {
    throw new TareError('Forbidden', `operation is not permitted on predefined ${request.name} network`);
  }
  const complete = configured(withDefaultOptions(deps, request), (ref) => findNetwork(deps.db, ref));
  if (request.driver === 'host' || request.driver === 'none') {
    throw new TareError('Forbidden', `only one instance of "${request.driver}" network is allowed`);
  }
  if (request.driver === 'cni') {
    throw new TareError(
      'Forbidden',
      `networks of the driver cni are the conflists in ${deps.cni.paths.confDir}: add one there`,
    );
  }
  if (deps.cni.find(request.name)?.name === request.name) {
    throw new TareError('AlreadyExists', `network with name ${request.name} already exists (a conflist of CNI)`);
  }
  refuseTakenName(deps.db, request.name);
  const id = newId();
  const network = networkFrom(complete, id, bridgeNameOf(id));
  const egress = egressOf(complete, network);
  const occupied = hostSubnets(deps);
  using _lock = await deps.locks.acquire(`network:${id}`);
  const driver = deps.drivers[network.driver];
  const stored = await deps.db.write((tx) => {
    const planned =
      network.configOnly === true
        ? { ...network, ipam: checkedIpam(network) }
        : withSubnets(deps, driver.plan(network, listNetworks(deps.db)), occupied);
    insertNetwork(tx, planned);
    if (egress !== undefined) deps.egress.record(tx, { kind: 'network', id }, egress);
    alongside?.(tx, publicRecord(planned));
    return planned;
  });
  try {
    await driver.create(stored);
    return publicRecord(stored);
  } catch (error) {
    await removeRecordedNetwork(deps, stored);
    throw error;
  }
}

/** As with docker a network that has another's settings has them as they are. */
function withDefaultOptions({ defaultOptions }: NetworkDeps, request: CreateNetwork): CreateNetwork {
  const defaults = defaultOptions[request.driver];
  if (defaults === undefined || (request.configFrom ?? '') !== '') return request;
  return { ...request, options: { ...defaults, ...request.options } };
}

/** The option that a client without a flag for it gives a network's policy by. */
const EGRESS_OPTION = 'tare.egress';

/** @throws {TareError} InvalidArgument: a rule; Unsupported: its packets do not pass our rules */
function egressOf({ options, egress = [] }: CreateNetwork, network: NetworkRecord): EgressPolicy | undefined {
  const option = options[EGRESS_OPTION];
  if (option !== undefined && egress.length > 0) {
    throw new TareError('InvalidArgument', `conflicting options: an egress policy and the option ${EGRESS_OPTION}`);
  }
  const texts = option === undefined ? egress : [option];
  if (texts.length === 0) return undefined;
  const policy = parseEgressPolicy(texts);
  if (network.configOnly !== true) {
    refuseUngoverned(network, 'network');
    return policy;
  }
  // Networks that have its settings have its options, and so the policy.
  if (option !== undefined) return undefined;
  throw new TareError('InvalidArgument', `a configuration network has an egress policy by the option ${EGRESS_OPTION}`);
}

/** @see NetworkService.remove */
export async function removeNetwork(deps: NetworkDeps, ref: string, alongside?: Alongside): Promise<void> {
  const damaged = findDamaged(deps.db, ref);
  if (damaged !== undefined && !predefined.has(damaged.name)) return await removeDamaged(deps, damaged, alongside);
  const network = lookUpNetwork(deps, ref);
  if (predefined.has(network.name)) {
    throw new TareError('Forbidden', `${network.name} is a pre-defined network and cannot be removed`);
  }
  if (network.driver === 'cni') {
    throw new TareError(
      'Forbidden',
      `network ${network.name} is the file ${network.options['cni.conflist']}: remove that`,
    );
  }
  using _lock = await deps.locks.acquire(`network:${network.id}`);
  await removeRecordedNetwork(deps, network, alongside);
}

async function removeRecordedNetwork(deps: NetworkDeps, network: StoredNetwork, alongside?: Alongside): Promise<void> {
  await deps.db.write((tx) => {
    refuseUsed(tx, network);
    refuseRemoval(network, listNetworks(deps.db));
    deleteNetwork(tx, network.id);
    alongside?.(tx, publicRecord(network));
  });
  await deps.drivers[network.driver].remove(network);
}

function refuseUsed(tx: Transaction, { id, name }: { id: string; name: string }): void {
  const used = tx.get('SELECT 1 FROM endpoints WHERE network_id = ?', id);
  if (used === undefined) return;
  throw new TareError('Forbidden', `error while removing network: network ${name} has active endpoints`);
}

function deleteNetwork(tx: Transaction, id: string): void {
  tx.run('DELETE FROM networks WHERE id = ?', id);
  forgetEgress(tx, id);
}

/** Of a network whose record makes no sense only its name is known, and the bridge that is called by its id. */
async function removeDamaged(
  deps: NetworkDeps,
  network: { id: string; name: string },
  alongside?: Alongside,
): Promise<void> {
  const { id } = network;
  const bridge = bridgeNameOf(id);
  using _lock = await deps.locks.acquire(`network:${id}`);
  await deps.db.write((tx) => {
    refuseUsed(tx, network);
    deleteNetwork(tx, id);
    alongside?.(tx, {
      ...{ ...network, driver: 'bridge', bridge, createdMs: 0, mtu: 0, ipam: [], options: {}, labels: {} },
      ...{ internal: false, enableIPv4: false, enableIPv6: false, icc: false, masquerade: false },
    });
  });
  await deps.links.remove(bridge);
  if (deps.firewall.exists) await deps.firewall.synchronize();
}

const bridgeNameOf = (id: string): string => `br-${id.slice(0, 12)}`;

/**
 * Before a bridge is made: subnets that came from the pools are picked again when something on the host has taken them
 * since, as long as nobody has an address from them.
 */
export async function repickSubnets(deps: NetworkDeps, network: StoredNetwork): Promise<StoredNetwork> {
  const occupied = hostSubnets(deps, network.bridge);
  const clashes = network.ipam.some(({ subnet }) => occupied.some((taken) => overlaps(taken, parseSubnet(subnet))));
  if (!network.isAutomatic || !clashes) return network;
  return await deps.db.write((tx) => {
    if (listEndpoints(deps.db, { networkId: network.id }).length > 0) return network;
    const repicked = withSubnets(deps, { ...network, ipam: [], cursorIpv4: '', cursorIpv6: '' }, occupied);
    updateNetwork(tx, repicked);
    return repicked;
  });
}

/** Checks the wanted subnets against everything known, or takes some from the pools. */
export function withSubnets(deps: NetworkDeps, network: StoredNetwork, occupied: readonly Subnet[]): StoredNetwork {
  const others = listNetworks(deps.db).filter(({ id }) => id !== network.id);
  const known = others
    .filter(({ configOnly }) => configOnly !== true)
    .flatMap(({ ipam }) => ipam.map(({ subnet }) => parseSubnet(subnet)));
  const ipam = checkedIpam(network);
  for (const { subnet } of ipam) {
    if (known.some((other) => overlaps(other, parseSubnet(subnet)))) {
      throw new TareError(
        'Forbidden',
        `invalid pool request: Pool overlaps with other one on this address space (${subnet})`,
      );
    }
  }
  const chosen = ipam.map(({ subnet }) => parseSubnet(subnet));
  if (chosen.some((one, index) => chosen.slice(index + 1).some((other) => overlaps(one, other)))) {
    throw new TareError('InvalidArgument', `network ${network.name}: its subnets overlap each other`);
  }
  const taken = [...known, ...occupied];
  let isAutomatic = false;
  for (const [family, enabled] of [
    [4, network.enableIPv4],
    [6, network.enableIPv6],
  ] as const) {
    if (!enabled || ipam.some(({ subnet }) => parseSubnet(subnet).family === family)) continue;
    const subnet = pickSubnet(family, deps.pools, taken);
    const gateway = isGatewayOurs(network) ? addressText(subnet.base + 1n, family) : '';
    ipam.push({ subnet: subnetText(subnet), gateway, ipRange: '' });
    isAutomatic = true;
  }
  return { ...network, ipam: inFamilyOrder(ipam), isAutomatic: isAutomatic && network.ipam.length === 0 };
}

/** What the host reaches without us: all but a bridge of ours. */
export function hostSubnets(deps: NetworkDeps, exceptBridge = ''): Subnet[] {
  const { route } = deps.links;
  const own = route.link(exceptBridge)?.index ?? -1;
  return occupiedSubnets(
    route.addresses().filter(({ index }) => index !== own),
    route.routes().filter(({ index }) => index !== own),
  );
}

export const newId = (): string => randomBytes(32).toString('hex');
