import { TareError } from '../../errors/index.ts';
import type { Transaction } from '../../state/index.ts';
import type { Endpoint } from '../driver.ts';
import type { NetworkDeps } from '../network-deps.ts';
import type { ConnectRequest } from '../network-service.ts';
import { listEndpoints, listNetworks, type StoredNetwork, updateNetwork } from '../records.ts';
import { attachChild, hasChild, isPassthru, lowerChild, removeChild } from './child-link.ts';
import type { EndpointShape, NetworkDriver } from './network-driver.ts';
import { ParentLinks } from './parent-links.ts';
import { childKind, innerParent, isRouted, parentOf } from './parent-options.ts';

const isParented = ({ driver }: StoredNetwork): boolean => driver === 'macvlan' || driver === 'ipvlan';

/**
 * macvlan and ipvlan: containers on a wire of the host, beside the host and not behind it. Nothing is forwarded,
 * translated or filtered by the host, so ports are not published: a container's own address has them all.
 */
export class ParentedDriver implements NetworkDriver {
  readonly #deps: NetworkDeps;
  readonly #parents: ParentLinks;

  constructor(deps: NetworkDeps) {
    this.#deps = deps;
    this.#parents = new ParentLinks(deps.links.route, deps.instance);
  }

  plan(network: StoredNetwork, others: readonly StoredNetwork[]): StoredNetwork {
    childKind(network);
    const { owns } = this.#parents.check(network);
    const parent = parentOf(network);
    const neighbours = others.filter((other) => isParented(other) && parentOf(other) === parent);
    for (const other of neighbours) refuseNeighbour(network, other, parent);
    // Nothing leads out of a link that leads nowhere.
    const internal = network.internal || parent === innerParent(network);
    return { ...network, internal, ownsBridge: owns };
  }

  async create(network: StoredNetwork): Promise<void> {
    this.#parents.ensure(network);
  }

  async remove(network: StoredNetwork): Promise<void> {
    if (!network.ownsBridge) return;
    const parent = parentOf(network);
    // The one who made a VLAN link may go before others who use it: they inherit it.
    const heir = await this.#deps.db.write((tx) => {
      const next = listNetworks(this.#deps.db).find((other) => isParented(other) && parentOf(other) === parent);
      if (next !== undefined) updateNetwork(tx, { ...next, ownsBridge: true });
      return next;
    });
    if (heir === undefined) await this.#parents.remove(parent);
  }

  dismantle(network: StoredNetwork): Promise<void> {
    return this.#parents.remove(parentOf(network));
  }

  async ready(network: StoredNetwork): Promise<StoredNetwork> {
    const parent = this.#parents.find(network);
    if (parent?.isUp === true || (parent !== undefined && !network.ownsBridge)) return network;
    using _lock = await this.#deps.locks.acquire(`network:${network.id}`);
    this.#parents.ensure(network);
    return network;
  }

  shape(_tx: Transaction, network: StoredNetwork, _id: string, request: ConnectRequest): EndpointShape {
    const hasGateway = !isRouted(network);
    const shape = { hasLink: true, hasAddresses: true, hasGateway, hostInterface: '', publishes: false };
    if (network.driver === 'ipvlan') {
      if ((request.macAddress ?? '') !== '') {
        throw new TareError('InvalidArgument', 'ipvlan interfaces do not support custom mac address assignment');
      }
      return { ...shape, macAddress: '' };
    }
    if (!isPassthru(network)) return shape;
    const [holder] = listEndpoints(this.#deps.db, { networkId: network.id });
    if (holder !== undefined) {
      throw new TareError(
        'Conflict',
        `network ${network.name}: parent interface ${parentOf(network)} in mode passthru is taken by container ${holder.containerId.slice(0, 12)}`,
      );
    }
    if ((request.macAddress ?? '') !== '') return shape;
    return { ...shape, macAddress: this.#parents.find(network)?.macAddress ?? '' };
  }

  async connect(network: StoredNetwork, endpoint: Endpoint, request: ConnectRequest): Promise<Endpoint> {
    await attachChild(this.#deps.links.route, network, this.#parents.ensure(network), endpoint, request.netns);
    return endpoint;
  }

  async disconnect(
    network: StoredNetwork,
    endpoint: Endpoint,
    netns: string | undefined,
    forget: () => Promise<void>,
  ): Promise<void> {
    if (netns !== undefined) await removeChild(network, endpoint, this.#parents.find(network), netns);
    await forget();
  }

  /** A link that is down gives its address on the wire free at once; the kernel may take seconds to remove it. */
  async leave(network: StoredNetwork, endpoint: Endpoint, netns: string): Promise<void> {
    // Nobody else can have the parent before it is gone.
    if (isPassthru(network)) await removeChild(network, endpoint, this.#parents.find(network), netns);
    else lowerChild(network, endpoint, this.#parents.find(network), netns);
  }

  async reconcile(network: StoredNetwork, endpoints: readonly Endpoint[]): Promise<void> {
    using _lock = await this.#deps.locks.acquire(`network:${network.id}`);
    // Somebody else's link may be away for now; that is no failure as long as nobody is on it.
    if (!network.ownsBridge && endpoints.length === 0) return;
    const parent = this.#parents.ensure(network);
    for (const endpoint of endpoints) {
      const netns = this.#deps.namespaces.path(endpoint.containerId);
      if (!this.#deps.namespaces.isThere(endpoint.containerId) || hasChild(network, endpoint, parent, netns)) continue;
      await attachChild(this.#deps.links.route, network, parent, endpoint, netns);
    }
  }
}

/** Removes parents that we made and no network has any more. */
export async function removeStrayParents(deps: NetworkDeps): Promise<void> {
  const parents = new ParentLinks(deps.links.route, deps.instance);
  await parents.removeStrays(listNetworks(deps.db).filter(isParented));
}

/** @throws {TareError} Conflict: what the kernel would refuse, or do to the other network's containers */
function refuseNeighbour(network: StoredNetwork, other: StoredNetwork, parent: string): void {
  const refuse = (text: string): never => {
    throw new TareError('Conflict', `network ${network.name}: ${text}`);
  };
  if (network.driver !== other.driver) {
    refuse(`${other.driver} network ${other.name} is already using parent interface ${parent}`);
  }
  if (isPassthru(network)) {
    refuse(`cannot use mode passthru, macvlan network ${other.name} is already using parent interface ${parent}`);
  }
  if (isPassthru(other)) {
    refuse(`macvlan network ${other.name} is already using parent interface ${parent} in mode passthru`);
  }
  const [mine, its] = [childKind(network), childKind(other)];
  // All ipvlan links of a parent have one mode: the last one made would change the others'.
  if (mine.kind === 'ipvlan' && its.kind === 'ipvlan' && (mine.mode !== its.mode || mine.flag !== its.flag)) {
    refuse(
      `ipvlan network ${other.name} is already using parent interface ${parent} in mode ${its.mode} ${its.flag}: use the same, or another parent`,
    );
  }
}
