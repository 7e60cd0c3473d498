import { stat } from 'node:fs/promises';
import type { Database, Locks } from '../state/index.ts';
import { type AddressPool, poolsFor } from './address-pools.ts';
import { setBandwidth } from './bandwidth.ts';
import { BridgeLinks } from './bridge-links.ts';
import { connect } from './connect.ts';
import { createNetwork, removeNetwork } from './create-network.ts';
import { onDamage } from './damaged-records.ts';
import { deleteNamespace, disconnect } from './disconnect.ts';
import { CniCatalogue, type CniPaths, standardCniPaths } from './drivers/cni/catalogue.ts';
import { openDrivers } from './drivers/drivers.ts';
import { createEgressService, type EgressTimes } from './egress/index.ts';
import { Firewall } from './firewall.ts';
import { everyNetwork, lookUpNetwork } from './look-up.ts';
import { Namespaces } from './namespaces.ts';
import type { NetworkDeps } from './network-deps.ts';
import type { NetworkService } from './network-service.ts';
import type { Passage } from './passages.ts';
import { type DefaultNetwork, ensurePredefined } from './predefined.ts';
import { publish, unpublish } from './publish.ts';
import { reach } from './reach.ts';
import { reconcile, teardown } from './reconcile.ts';
import { listEndpoints, publicRecord } from './records.ts';

export interface NetworkServiceOptions {
  db: Database;
  locks: Locks;
  /** Run-time root; namespaces are kept beneath its `netns/`. */
  execRoot: string;
  /** Where conflists and plugins are; the usual folders by default. */
  cni?: CniPaths;
  /** Whether the conflists are this engine's alone: then reconcile lets their plugins drop what is not ours. */
  ownsCni?: boolean;
  /** 'tare' or 'tare-xxxxxxxx': names the nftables table and the default bridge. */
  instance: string;
  /** Blocks that networks without a subnet are cut from; the private ranges by default. */
  defaultPools?: readonly AddressPool[];
  /** Options of new networks that do not say otherwise, by driver. */
  defaultOptions?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** What the default network is to be like; what is not said leaves it as it is recorded. */
  defaultNetwork?: DefaultNetwork;
  /** Where ports are published when neither the request nor the network names an address; all addresses by default. */
  defaultBinding?: string;
  /** Told of records that make no sense and are left out. */
  report?: (subject: string, error: unknown) => void;
  /** How long addresses stay open that a name was answered with. */
  egressTimes?: EgressTimes;
  /** What passes between containers of a network that keeps them apart; nothing by default. */
  passages?: () => readonly Passage[];
  /** How messages call a container; by its short id by default. */
  containerName?: (id: string) => string;
}

/** Opens the networks of one engine. Nothing in the kernel changes before a network is used. */
export async function openNetworkService(options: NetworkServiceOptions): Promise<NetworkService & Disposable> {
  // Every thread of libuv's pool is born now, in the host's namespace, and none inside a container's (see withNamespace).
  await stat('/');
  const { db, locks, instance } = options;
  if (options.report !== undefined) onDamage(db, options.report);
  using owned = new DisposableStack();
  const links = owned.use(new BridgeLinks());
  const passages = options.passages ?? (() => []);
  const firewall = owned.use(new Firewall(db, locks, instance, passages, options.report));
  const hostAddresses = () => links.route.addresses().map(({ address }) => address);
  const egress = createEgressService({
    ...{ db, firewall, hostAddresses },
    ...(options.egressTimes === undefined ? {} : { times: options.egressTimes }),
  });
  const deps: NetworkDeps = {
    db,
    locks,
    instance,
    execRoot: options.execRoot,
    defaultBinding: options.defaultBinding ?? '',
    defaultOptions: options.defaultOptions ?? {},
    containerName: options.containerName ?? ((id) => id.slice(0, 12)),
    pools: poolsFor(options.defaultPools, instance),
    ...{ links, firewall, egress, passages },
    namespaces: new Namespaces(options.execRoot),
    cni: new CniCatalogue(options.cni ?? standardCniPaths),
    drivers: {} as NetworkDeps['drivers'],
  };
  Object.assign(deps.drivers, openDrivers(deps));
  await ensurePredefined(deps, options.defaultNetwork ?? {});
  const kept = owned.move();
  return {
    list: () => everyNetwork(deps).map(publicRecord),
    get: (ref) => publicRecord(lookUpNetwork(deps, ref)),
    create: (request, alongside) => createNetwork(deps, request, alongside),
    remove: (ref, alongside) => removeNetwork(deps, ref, alongside),
    createNamespace: (containerId) => deps.namespaces.create(containerId),
    namespacePath: (containerId) => deps.namespaces.path(containerId),
    deleteNamespace: (containerId) => deleteNamespace(deps, containerId),
    connect: (request) => connect(deps, request),
    disconnect: (containerId, networkId, how) => disconnect(deps, containerId, networkId, how?.netns),
    setBandwidth: (containerId, networkId, bandwidth) => setBandwidth(deps, containerId, networkId, bandwidth),
    publish: (containerId, networkId, ports) => publish(deps, containerId, networkId, ports),
    unpublish: (containerId, ports) => unpublish(deps, containerId, ports),
    reach: (containerId, port, protocol) => reach(deps, containerId, port, protocol),
    endpoints: (of) => listEndpoints(db, of),
    publishedPorts: () =>
      listEndpoints(db).flatMap(({ containerId, ports, ipv4, ipv6 }) =>
        ports
          .filter(({ hostPort }) => hostPort !== 0)
          .map((port) => ({ ...port, containerId, containerIp: containerAddress(port.hostIp, ipv4, ipv6) })),
      ),
    egress,
    settlePassages: () => firewall.settlePassages(),
    watchRules: async () => {
      const isUsed = firewall.exists || listEndpoints(db).some(({ hostInterface }) => hostInterface !== '');
      if (!isUsed) return false;
      const wasPutBack = await firewall.watch();
      await egress.collect();
      return wasPutBack;
    },
    reconcile: (isLive, hold) => reconcile(deps, { isLive, hold, ownsCni: options.ownsCni ?? false }),
    teardown: () => teardown(deps),
    warm: () => deps.firewall.warm(),
    [Symbol.dispose]: () => kept[Symbol.dispose](),
  };
}

/** Where a mapping leads: the address of its own family, or else the IPv4 one by way of the keeper's proxy. */
function containerAddress(hostIp: string, ipv4: string, ipv6: string): string {
  const wanted = hostIp.includes(':') && ipv6 !== '' ? ipv6 : ipv4;
  return wanted.split('/', 1)[0] as string;
}
