import type { Endpoint } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { deleteEndpoint, findNetwork, listEndpoints } from './records.ts';
import { publicationsOf } from './rules.ts';

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
  if (netns === undefined) return;
  for (const other of listEndpoints(deps.db, { containerId })) {
    const network = findNetwork(deps.db, other.networkId);
    if (network.driver === 'bridge') deps.links.setDefaultRoutes(network, other, netns);
  }
}

/**
 * Undoes what connecting recorded, in the kernel first. Repeating is safe.
 *
 * @param netns a namespace that stays: its link must go now; otherwise it goes with the namespace, which is 20 times faster
 */
export async function releaseEndpoint(deps: NetworkDeps, endpoint: Endpoint, netns: string | undefined): Promise<void> {
  if (endpoint.hostInterface !== '') {
    if (netns === undefined) deps.links.silence(endpoint.hostInterface);
    else await deps.links.remove(endpoint.hostInterface);
  }
  await deps.firewall.withdraw(
    publicationsOf(endpoint),
    () => deps.db.get('SELECT 1 FROM endpoints WHERE id = ?', endpoint.id) !== undefined,
    () => deps.db.write((tx) => deleteEndpoint(tx, endpoint.id)),
  );
}
