import type { Transaction } from '../../state/index.ts';
import type { Endpoint } from '../driver.ts';
import type { ConnectRequest } from '../network-service.ts';
import type { StoredNetwork } from '../records.ts';

/** What a driver wants recorded of an endpoint before anything is made for it. */
export interface EndpointShape {
  /** False for the networks that make no link: nothing but the fact of being on them is recorded. */
  hasLink: boolean;
  /** Whether addresses come from the network's subnets; otherwise the driver says later what they are. */
  hasAddresses: boolean;
  /** Whether the subnets' gateways lead out; otherwise the link itself does. */
  hasGateway: boolean;
  /** Name of the endpoint's link on the host, '' for none. */
  hostInterface: string;
  /** Whether ports are published. */
  publishes: boolean;
  /** '' for a link without an address of its own; undefined: the wanted one, or one made from the IPv4 address. */
  macAddress?: string;
}

/**
 * How one kind of network is made in the kernel. Whatever it makes has been recorded before; names, addresses and ports
 * are given out by the caller.
 */
export interface NetworkDriver {
  /**
   * Checks a wanted network against the others and completes its record, in the transaction that will store it.
   * @throws {TareError} InvalidArgument, Conflict, NotFound
   */
  plan(network: StoredNetwork, others: readonly StoredNetwork[]): StoredNetwork;
  /** Makes a network's own links. Repeating is safe. */
  create(network: StoredNetwork): Promise<void>;
  /** Removes what `create` made; the record is gone already. Repeating is safe. */
  remove(network: StoredNetwork): Promise<void>;
  /** Removes the links of a network that stays: they are made again when it is used. */
  dismantle(network: StoredNetwork): Promise<void>;
  /**
   * Sees to it that the network can take an endpoint: after a boot, or when somebody removed its links.
   * @returns the record as it is now
   */
  ready(network: StoredNetwork): Promise<StoredNetwork>;
  /** In the transaction that records the endpoint. @param id the endpoint's */
  shape(tx: Transaction, network: StoredNetwork, id: string, request: ConnectRequest): EndpointShape;
  /** Makes an endpoint's link in its namespace. @returns the endpoint as it is recorded now */
  connect(network: StoredNetwork, endpoint: Endpoint, request: ConnectRequest): Promise<Endpoint>;
  /**
   * Undoes `connect`, also a half one. Repeating is safe.
   *
   * @param netns a namespace that stays: its link must go now; otherwise it goes with the namespace
   * @param forget deletes the record; called once nothing is left of the endpoint
   */
  disconnect(
    network: StoredNetwork,
    endpoint: Endpoint,
    netns: string | undefined,
    forget: () => Promise<void>,
  ): Promise<void>;
  /** A container has ended, and its namespace is about to go: what must be done inside before. Repeating is safe. */
  leave(network: StoredNetwork, endpoint: Endpoint, netns: string): Promise<void>;
  /** Puts back what is missing of a network and of its endpoints, all of live containers. */
  reconcile(network: StoredNetwork, endpoints: readonly Endpoint[]): Promise<void>;
}
