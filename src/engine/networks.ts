import { kindOf, TareError } from '../errors/index.ts';
import {
  type CreateNetwork,
  checkEndpoint,
  type Endpoint,
  type NetworkRecord,
  type NetworkService,
} from '../network/index.ts';
import type { Database, Locks, Transaction } from '../state/index.ts';
import { isStepNetwork } from './builds/step-network-id.ts';
import { endpointWishes } from './container-network.ts';
import type { ContainerStore } from './container-store.ts';
import { driverName, networkEvent, pruneEvent } from './events.ts';
import { filterLabels, filterTime, flagFilter, matchesName, refuseUnknownFilters } from './filters.ts';
import type { Intents } from './intents.ts';
import { isUp } from './liveness.ts';
import type { ContainerRecord, EndpointRequest, Filters, NetworksService, NetworkView, PruneReport } from './types.ts';

const predefined = new Set(['bridge', 'host', 'none']);

export interface NetworksDeps {
  intents: Pick<Intents, 'begin'>;
  db: Database;
  locks: Locks;
  store: ContainerStore;
  networks: NetworkService;
  /** Told after a running container came to or left a network: its name files name other addresses now. */
  addressesChanged?(record: ContainerRecord, endpoints: Endpoint[]): void;
}

/** The verbs of networks, and of containers on them. */
export function createNetworksService(deps: NetworksDeps): NetworksService {
  return {
    create: (request) => create(deps, request),
    inspect: async (ref) => view(deps, deps.networks.get(ref)),
    list: async (filters = {}) => list(deps, filters),
    remove: (ref) => remove(deps, ref),
    connect: (ref, containerRef, request) => connect(deps, ref, containerRef, request),
    disconnect: (ref, containerRef, force) => disconnect(deps, ref, containerRef, force),
    prune: (filters = {}) => prune(deps, filters),
  };
}

async function create(deps: NetworksDeps, request: CreateNetwork): Promise<{ id: string; warnings: string[] }> {
  const { id } = await deps.networks.create(request, (tx, network) => tx.event(networkEvent(network, 'create')));
  return { id, warnings: [] };
}

async function remove(deps: NetworksDeps, ref: string): Promise<void> {
  await deps.networks.remove(ref, (tx, network) => tx.event(networkEvent(network, 'destroy')));
}

function view(deps: NetworksDeps, network: NetworkRecord): NetworkView {
  const endpoints = deps.networks.endpoints({ networkId: network.id });
  return {
    ...network,
    endpoints: endpoints
      .filter(({ containerId }) => !isStepNetwork(containerId))
      .map((endpoint) => ({
        ...endpoint,
        containerName: deps.store.find(endpoint.containerId)?.name ?? '',
      })),
  };
}

function list(deps: NetworksDeps, filters: Filters): NetworkView[] {
  refuseUnknownFilters(filters, ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']);
  const type = filters['type']?.find((value) => value !== 'builtin' && value !== 'custom');
  if (type !== undefined) {
    throw new TareError('InvalidArgument', `invalid filter: 'type'='${type}': want builtin or custom`);
  }
  const dangling = flagFilter(filters, 'dangling');
  const any = (key: string, matches: (wanted: string) => boolean) =>
    filters[key] === undefined || filters[key].length === 0 || filters[key].some(matches);
  return deps.networks
    .list()
    .filter(
      (network) =>
        any('driver', (driver) => driver === driverName(network)) &&
        any('scope', (scope) => scope === 'local') &&
        any('type', (wanted) => (wanted === 'builtin') === predefined.has(network.name)) &&
        matchesName(network.id, filters['id']) &&
        matchesName(network.name, filters['name']) &&
        filterLabels(filters, network.labels),
    )
    .map((network) => view(deps, network))
    .filter((network) => dangling === undefined || dangling === isDangling(network));
}

/** Of the networks that users make: a conflist's is its administrator's. */
const isDangling = (network: NetworkView): boolean =>
  !predefined.has(network.name) && network.driver !== 'cni' && network.endpoints.length === 0;

async function prune(deps: NetworksDeps, filters: Filters): Promise<PruneReport> {
  refuseUnknownFilters(filters, ['label', 'label!', 'until']);
  const candidates = deps.networks
    .list()
    .map((network) => view(deps, network))
    .filter((network) => isDangling(network) && network.configOnly !== true && filterLabels(filters, network.labels))
    .filter((network) => filterTime(filters, network.createdMs));
  const deleted: string[] = [];
  for (const { id, name } of candidates) {
    try {
      await remove(deps, id);
      deleted.push(name);
    } catch (error) {
      // Used or removed meanwhile: it is no longer ours to prune.
      if (!['Conflict', 'Forbidden', 'NotFound'].includes(kindOf(error))) throw error;
    }
  }
  await deps.db.write((tx) => tx.event(pruneEvent('network', 0)));
  return { deleted, spaceReclaimedBytes: 0 };
}

/** A container that runs is connected now; one that does not, when it starts. */
async function connect(
  deps: NetworksDeps,
  ref: string,
  containerRef: string,
  request: Omit<EndpointRequest, 'network'>,
): Promise<void> {
  const network = deps.networks.get(ref);
  const { id } = deps.store.get(containerRef);
  using _intent = deps.intents.begin();
  using _lock = await deps.locks.acquire(`container:${id}`);
  const record = deps.store.get(id);
  refuseConnection(network, record, request);
  const isRecorded = record.networking.some((other) => names(other.network, network));
  if (!isUp(record)) {
    // As docker has it: what was said of this network at first stays, and nobody is told.
    if (!isRecorded) await recordConnection(deps, network, id, request);
    return;
  }
  if (isRecorded)
    throw new TareError('Forbidden', `endpoint with name ${record.name} already exists in network ${network.name}`);

  const endpoint = await deps.networks.connect({
    containerId: id,
    networkId: network.id,
    netns: deps.networks.namespacePath(id),
    ...endpointWishes(request, record.host),
    // A container's ports lead to the network that it started with.
    ports: [],
  });
  try {
    await recordConnection(deps, network, id, request, (tx) => tx.event(networkEvent(network, 'connect', id)));
  } catch (error) {
    await deps.networks.disconnect(id, endpoint.networkId, { netns: deps.networks.namespacePath(id) });
    throw error;
  }
  deps.addressesChanged?.(record, deps.networks.endpoints({ containerId: id }));
}

async function recordConnection(
  deps: NetworksDeps,
  network: NetworkRecord,
  id: string,
  request: Omit<EndpointRequest, 'network'>,
  alongside?: (tx: Transaction) => void,
): Promise<void> {
  await deps.store.update(id, (current, tx) => {
    current.networking.push({ ...request, network: network.name });
    alongside?.(tx);
  });
}

function refuseConnection(
  network: NetworkRecord,
  record: ContainerRecord,
  request: Omit<EndpointRequest, 'network'>,
): void {
  refuseSharedNamespace(network, record);
  if (network.name === 'none' || record.networking.some((other) => other.network === 'none')) {
    throw new TareError(
      'InvalidArgument',
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  }
  checkEndpoint(network, request);
  if (!predefined.has(network.name)) return;
  if (request.aliases.length > 0) {
    throw new TareError('InvalidArgument', 'network-scoped aliases are only supported for user-defined networks');
  }
}

function refuseSharedNamespace(network: NetworkRecord, record: ContainerRecord): void {
  if (record.state.status === 'removing' || record.state.status === 'dead') {
    throw new TareError(
      'Conflict',
      `container ${record.id} is marked for removal and cannot be connected or disconnected to the network`,
    );
  }
  if (network.driver === 'host' || record.host.networkMode === 'host') {
    throw new TareError(
      'InvalidArgument',
      'container cannot be disconnected from host network or connected to host network',
    );
  }
  if (record.host.networkMode.startsWith('container:')) {
    throw new TareError(
      'InvalidArgument',
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
}

/** @param force also when the container's record is gone or does not know of the network */
async function disconnect(deps: NetworksDeps, ref: string, containerRef: string, force: boolean): Promise<void> {
  const network = deps.networks.get(ref);
  const found = findContainer(deps, containerRef, force);
  if (found === undefined) return await forceOut(deps, network, containerRef);
  const { id } = found;
  using _intent = deps.intents.begin();
  using _lock = await deps.locks.acquire(`container:${id}`);
  const record = deps.store.get(id);
  refuseSharedNamespace(network, record);
  const isRecorded = record.networking.some((other) => names(other.network, network));
  const isConnected = deps.networks.endpoints({ containerId: id, networkId: network.id }).length > 0;
  if (!isRecorded && !isConnected) {
    throw new TareError('Conflict', `container ${id} is not connected to network ${network.name}`);
  }
  // The record first: what is connected without one is undone by whoever reconciles.
  await deps.store.update(id, (current, tx) => {
    current.networking = current.networking.filter((other) => !names(other.network, network));
    tx.event(networkEvent(network, 'disconnect', id));
  });
  await deps.networks.disconnect(id, network.id, isUp(record) ? { netns: deps.networks.namespacePath(id) } : {});
  if (isConnected) deps.addressesChanged?.(record, deps.networks.endpoints({ containerId: id }));
}

function findContainer(deps: NetworksDeps, ref: string, force: boolean): ContainerRecord | undefined {
  try {
    return deps.store.get(ref);
  } catch (error) {
    if (force && error instanceof TareError && error.kind === 'NotFound') return undefined;
    throw error;
  }
}

/** Releases the endpoint of a container that no record is left of. */
async function forceOut(deps: NetworksDeps, network: NetworkRecord, containerRef: string): Promise<void> {
  const endpoint = deps.networks
    .endpoints({ networkId: network.id })
    .find(({ containerId }) => containerId.startsWith(containerRef));
  if (endpoint === undefined) throw new TareError('NotFound', `No such container: ${containerRef}`);
  await deps.networks.disconnect(endpoint.containerId, network.id);
}

/** Whether a recorded name, id or id prefix means this network. */
const names = (ref: string, { id, name }: NetworkRecord): boolean =>
  ref === name || ref === id || (ref.length >= 12 && id.startsWith(ref));
