import { isLimited, shapeTraffic } from './bandwidth.ts';
import { settleDefaultRoutes } from './default-route.ts';
import { deleteNamespace, releaseEndpoint } from './disconnect.ts';
import type { Endpoint } from './driver.ts';
import { collectCniGarbage } from './drivers/cni/cni.ts';
import { removeStrayParents } from './drivers/parented.ts';
import type { NetworkDeps } from './network-deps.ts';
import { listEndpoints, listNetworks } from './records.ts';

const VETH = /^veth[0-9a-f]{11}$/;

interface ReconcileOptions {
  isLive: (containerId: string) => boolean;
  hold: ((containerId: string) => Disposable | undefined) | undefined;
  /** Whether CNI's plugins may drop what is not ours. */
  ownsCni: boolean;
}

/** @see NetworkService.reconcile */
export async function reconcile(deps: NetworkDeps, options: ReconcileOptions): Promise<void> {
  const { isLive, ownsCni } = options;
  const failures: unknown[] = [];
  // What cannot be settled for one container must not keep the others from being settled.
  const attempt = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failures.push(error);
    }
  };
  for (const containerId of deps.namespaces.list()) {
    if (!isLive(containerId)) await attempt(() => deleteNamespace(deps, containerId));
  }
  for (const endpoint of listEndpoints(deps.db)) {
    if (!isLive(endpoint.containerId)) await attempt(() => releaseEndpoint(deps, endpoint, undefined));
  }
  await attempt(() => removeStrayLinks(deps));
  using held = new DisposableStack();
  const endpoints = holdEndpoints(deps, options, held);
  for (const network of listNetworks(deps.db)) {
    const joined = endpoints.filter(({ networkId }) => networkId === network.id);
    await attempt(() => deps.drivers[network.driver].reconcile(network, joined));
  }
  for (const endpoint of endpoints.filter(isLimited)) {
    if (!deps.namespaces.isThere(endpoint.containerId)) continue;
    await attempt(() => shapeTraffic(deps, endpoint, deps.namespaces.path(endpoint.containerId)));
  }
  // A link that was put back may have come before a better way out.
  for (const [containerId, its] of Map.groupBy(endpoints, (endpoint) => endpoint.containerId)) {
    if (its.length > 1 && deps.namespaces.isThere(containerId)) {
      await attempt(() => settleDefaultRoutes(deps, containerId, deps.namespaces.path(containerId)));
    }
  }
  if (ownsCni) await attempt(() => collectCniGarbage(deps));
  if (listEndpoints(deps.db).some(({ hostInterface }) => hostInterface !== '') || deps.firewall.exists)
    await attempt(async () => {
      await deps.firewall.synchronize();
      deps.egress.settle();
    });
  if (failures.length > 1) throw new AggregateError(failures, 'networks: not everything could be settled');
  if (failures.length === 1) throw failures[0];
}

/** Endpoints of containers that nobody is about to connect or disconnect; they stay so until `held` is disposed. */
function holdEndpoints(deps: NetworkDeps, { hold }: ReconcileOptions, held: DisposableStack): Endpoint[] {
  if (hold === undefined) return listEndpoints(deps.db);
  const containers = new Set(listEndpoints(deps.db).map(({ containerId }) => containerId));
  const isHeld = (containerId: string) => held.use(hold(containerId)) !== undefined;
  const mine = new Set([...containers].filter(isHeld));
  // Read again: what was under way when they were listed may have ended before they were held.
  return listEndpoints(deps.db).filter(({ containerId }) => mine.has(containerId));
}

/** Host-side links of ours that no endpoint has: their namespace is held by something that is not a container. */
async function removeStrayLinks(deps: NetworkDeps): Promise<void> {
  // Links first: one that another process makes meanwhile was recorded before.
  const links = deps.links.route.links();
  const recorded = new Set(listEndpoints(deps.db).map(({ hostInterface }) => hostInterface));
  const bridges = new Set(listNetworks(deps.db).map(({ bridge }) => bridge));
  const masters = new Set(links.filter(({ name }) => bridges.has(name)).map(({ index }) => index));
  for (const { name, master } of links) {
    if (masters.has(master) && VETH.test(name) && !recorded.has(name)) await deps.links.remove(name);
  }
  await removeStrayParents(deps);
}

/** @see NetworkService.teardown */
export async function teardown(deps: NetworkDeps): Promise<void> {
  if (listEndpoints(deps.db).some(({ hostInterface }) => hostInterface !== '')) return;
  for (const network of listNetworks(deps.db)) {
    if (network.ownsBridge) await deps.drivers[network.driver].dismantle(network);
  }
  await deps.firewall.remove();
}
