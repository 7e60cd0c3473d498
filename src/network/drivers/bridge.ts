import { existsSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import type { Transaction } from '../../state/index.ts';
import { repickSubnets } from '../create-network.ts';
import type { Endpoint } from '../driver.ts';
import { collectAttempts } from '../egress/attempts.ts';
import type { NetworkDeps } from '../network-deps.ts';
import type { ConnectRequest } from '../network-service.ts';
import { findNetwork, type StoredNetwork } from '../records.ts';
import { publicationsOf } from '../rules.ts';
import type { EndpointShape, NetworkDriver } from './network-driver.ts';

/** A bridge on the host, a veth pair for each container, and our table for what passes between and outside. */
export class BridgeDriver implements NetworkDriver {
  readonly #deps: NetworkDeps;

  constructor(deps: NetworkDeps) {
    this.#deps = deps;
  }

  plan(network: StoredNetwork, others: readonly StoredNetwork[]): StoredNetwork {
    const same = others.find(({ driver, bridge }) => driver === 'bridge' && bridge === network.bridge);
    if (same !== undefined) {
      throw new TareError(
        'Conflict',
        `cannot create network ${network.name}: bridge ${network.bridge} belongs to network ${same.name}`,
      );
    }
    return { ...network, ownsBridge: this.#deps.links.route.link(network.bridge) === undefined };
  }

  async create(network: StoredNetwork): Promise<void> {
    await this.#deps.firewall.synchronize();
    this.#deps.links.ensureBridge(network);
  }

  async remove(network: StoredNetwork): Promise<void> {
    if (network.ownsBridge) await this.#deps.links.remove(network.bridge);
    if (this.#deps.firewall.exists) await this.#deps.firewall.synchronize();
  }

  dismantle(network: StoredNetwork): Promise<void> {
    return this.#deps.links.remove(network.bridge);
  }

  /** The network's bridge and our table; both are made when they are missing, for the first container or after a flush. */
  async ready(network: StoredNetwork): Promise<StoredNetwork> {
    const { db, firewall, links, locks } = this.#deps;
    if (links.readyBridge(network) !== undefined) {
      if (!firewall.exists) await firewall.synchronize();
      return findNetwork(db, network.id);
    }
    using _lock = await locks.acquire(`network:${network.id}`);
    const current = await repickSubnets(this.#deps, network);
    // Rules first: a bridge that is up is one that is guarded.
    await firewall.synchronize();
    links.ensureBridge(current);
    return current;
  }

  shape(_tx: Transaction, _network: StoredNetwork, id: string): EndpointShape {
    return {
      hasLink: true,
      hasAddresses: true,
      hasGateway: true,
      hostInterface: `veth${id.slice(0, 11)}`,
      publishes: true,
    };
  }

  async connect(network: StoredNetwork, endpoint: Endpoint, request: ConnectRequest): Promise<Endpoint> {
    const { firewall, links } = this.#deps;
    const bridge = links.readyBridge(network);
    if (bridge === undefined) {
      throw new TareError('Unavailable', `bridge ${network.bridge} of network ${network.name} vanished: try again`);
    }
    // Before its first packet.
    await firewall.govern(endpoint);
    await firewall.link(network);
    await firewall.admit(network, endpoint);
    links.attach(network, bridge, endpoint, request.netns);
    await firewall.publish(publicationsOf(endpoint));
    return endpoint;
  }

  async disconnect(
    network: StoredNetwork,
    endpoint: Endpoint,
    netns: string | undefined,
    forget: () => Promise<void>,
  ): Promise<void> {
    const { db, firewall, links } = this.#deps;
    // With its namespace the link goes 20 times faster than by itself.
    if (netns === undefined) links.silence(endpoint.hostInterface);
    else await links.remove(endpoint.hostInterface);
    links.forget(network, endpoint);
    await firewall.dismiss(network, endpoint);
    const isRecorded = () => db.get('SELECT 1 FROM endpoints WHERE id = ?', endpoint.id) !== undefined;
    // What the kernel has of its attempts goes with its rules.
    await collectAttempts({ db, firewall }, [endpoint.containerId, network.id]);
    await firewall.withdraw(publicationsOf(endpoint), isRecorded, forget, { network, endpoint });
  }

  async leave(): Promise<void> {}

  async reconcile(network: StoredNetwork, endpoints: readonly Endpoint[]): Promise<void> {
    // The default network's bridge is made on first use, the others' when they are.
    if (network.name === 'bridge' && endpoints.length === 0) return;
    const { links, locks, namespaces } = this.#deps;
    using _lock = await locks.acquire(`network:${network.id}`);
    const bridge = links.ensureBridge(network);
    for (const endpoint of endpoints) {
      const link = links.route.link(endpoint.hostInterface);
      const netns = namespaces.path(endpoint.containerId);
      if (link === undefined) {
        if (existsSync(netns)) links.attach(network, bridge, endpoint, netns);
      } else if (link.master !== bridge.index) {
        links.route.setLink(link.index, { master: bridge.index, isUp: true });
        links.setPortOptions(network, endpoint);
        links.guard(network, bridge, endpoint);
      }
    }
  }
}
