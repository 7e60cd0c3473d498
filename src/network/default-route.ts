import { closeSync, openSync } from 'node:fs';
import { RouteSocket, withNamespace } from '../linux/index.ts';
import type { Endpoint } from './driver.ts';
import { isRouted } from './drivers/parent-options.ts';
import type { NetworkDeps } from './network-deps.ts';
import { findNetwork, listEndpoints } from './records.ts';

/** How an endpoint leads out in one family; the gateway is '' where the link itself is the way. */
interface Way {
  endpoint: Endpoint;
  gateway: string;
}

/** The order in which a container's networks are asked for the way out: by priority, then as they were connected. */
function inPriority(endpoints: readonly Endpoint[]): Endpoint[] {
  return endpoints.toSorted(
    (a, b) => (b.gatewayPriority ?? 0) - (a.gatewayPriority ?? 0) || (a.sequence ?? 0) - (b.sequence ?? 0),
  );
}

/**
 * Makes the first network that leads out, in each family by itself, the default route of a container. A route that
 * somebody else put there stays. Repeating is safe.
 *
 * @param netns path of the container's network namespace
 */
export function settleDefaultRoutes(deps: NetworkDeps, containerId: string, netns: string): void {
  const endpoints = inPriority(listEndpoints(deps.db, { containerId }));
  if (endpoints.length === 0) return;
  const namespace = openSync(netns, 'r');
  try {
    using inside = withNamespace(namespace, () => new RouteSocket());
    const routes = inside.routes().filter(({ prefix }) => prefix === 0);
    for (const [destination, family] of [
      ['0.0.0.0', 4],
      ['::', 6],
    ] as const) {
      const ways = endpoints.flatMap((endpoint) => wayOf(deps, endpoint, family));
      const [best] = ways;
      if (best === undefined) continue;
      const index = inside.link(best.endpoint.interfaceName)?.index ?? 0;
      const present = routes.find((route) => route.destination === destination);
      if (present?.gateway === best.gateway && present.index === index) continue;
      const isOurs =
        present !== undefined &&
        ways.some(
          ({ endpoint, gateway }) =>
            gateway === present.gateway && inside.link(endpoint.interfaceName)?.index === present.index,
        );
      if (index === 0 || (present !== undefined && !isOurs)) continue;
      inside.addRoute({ destination, prefix: 0, gateway: best.gateway, index }, { replaces: true });
    }
  } finally {
    closeSync(namespace);
  }
}

function wayOf(deps: NetworkDeps, endpoint: Endpoint, family: 4 | 6): Way[] {
  const network = findNetwork(deps.db, endpoint.networkId);
  const [address, gateway] =
    family === 4 ? [endpoint.ipv4, endpoint.gatewayIpv4] : [endpoint.ipv6, endpoint.gatewayIpv6];
  if (network.internal || address === '' || (gateway === '' && !isRouted(network))) return [];
  return [{ endpoint, gateway }];
}
