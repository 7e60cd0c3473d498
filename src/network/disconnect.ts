import { settleDefaultRoutes } from './default-route.ts';
import type { Endpoint } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { deleteEndpoint, findNetwork, listEndpoints } from './records.ts';

/** @see NetworkService.disconnect */
export async function disconnect(
  deps: NetworkDeps,
  containerId: string,
  networkId: string,
  netns: string | undefined,
): Promise<void> {
  for (const endpoint of listEndpoints(deps.db, { containerId, networkId })) {
    await releaseEndpoint(deps, endpoint, netns);
  }
  // A container that ended meanwhile needs no way out.
  if (netns === undefined || !deps.namespaces.isThere(containerId)) return;
  settleDefaultRoutes(deps, containerId, netns);
}

/** @see NetworkService.deleteNamespace */
export async function deleteNamespace(deps: NetworkDeps, containerId: string): Promise<void> {
  const netns = deps.namespaces.path(containerId);
  // A bridge's links have an end on the host and need nothing more: the hot path waits for nothing here.
  const inside = listEndpoints(deps.db, { containerId }).filter(
    ({ interfaceName, hostInterface }) => interfaceName !== '' && hostInterface === '',
  );
  for (const endpoint of inside.length > 0 && deps.namespaces.isThere(containerId) ? inside : []) {
    const network = findNetwork(deps.db, endpoint.networkId);
    await deps.drivers[network.driver].leave(network, endpoint, netns);
  }
  deps.namespaces.delete(containerId);
}

/**
 * Undoes what connecting recorded, in the kernel first. Repeating is safe.
 *
 * @param netns a namespace that stays: its link must go now; otherwise it goes with the namespace, which is 20 times faster
 */
export async function releaseEndpoint(deps: NetworkDeps, endpoint: Endpoint, netns: string | undefined): Promise<void> {
  const network = findNetwork(deps.db, endpoint.networkId);
  const forget = () => deps.db.write((tx) => deleteEndpoint(tx, endpoint.id));
  await deps.drivers[network.driver].disconnect(network, endpoint, netns, forget);
}
