import { hostSubnets, newId, withSubnets } from './create-network.ts';
import type { NetworkRecord } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { networkFrom } from './network-options.ts';
import { insertNetwork, listEndpoints, listNetworks, type StoredNetwork, updateNetwork } from './records.ts';

/** What the configuration says of the default network. */
export interface DefaultNetwork {
  enableIPv6: boolean;
  /** Gateway and subnet, '10.9.0.1/16'; '' for one from the pools. */
  subnet: string;
}

/**
 * Records the networks that are always there, and fits the default one to the configuration as soon as no container is
 * on it. Repeating is safe, by several processes at once too.
 */
export async function ensurePredefined(deps: NetworkDeps, wanted: DefaultNetwork): Promise<void> {
  const present = listNetworks(deps.db);
  const bridge = present.find(({ name }) => name === 'bridge');
  if (bridge === undefined || !['host', 'none'].every((name) => present.some((network) => network.name === name))) {
    return await insertMissing(deps, wanted);
  }
  if (!fits(bridge, wanted)) await refit(deps, wanted);
}

async function insertMissing(deps: NetworkDeps, wanted: DefaultNetwork): Promise<void> {
  const bridge = defaultBridge(deps, wanted);
  const occupied = hostSubnets(deps);
  await deps.db.write((tx) => {
    const names = new Set(tx.all<{ name: string }>('SELECT name FROM networks').map(({ name }) => name));
    if (!names.has('bridge')) insertNetwork(tx, withSubnets(deps, bridge, occupied));
    for (const name of ['host', 'none'] as const) {
      if (!names.has(name)) insertNetwork(tx, linkless(name));
    }
  });
}

/** What is not asked for is no reason to change: a command line beside a daemon knows less of the configuration. */
const fits = (bridge: NetworkRecord, { enableIPv6, subnet }: DefaultNetwork): boolean =>
  (bridge.enableIPv6 || !enableIPv6) && (subnet === '' || bridge.options[SUBNET_OPTION] === subnet);

async function refit(deps: NetworkDeps, wanted: DefaultNetwork): Promise<void> {
  const { id } = listNetworks(deps.db).find(({ name }) => name === 'bridge') as StoredNetwork;
  using _lock = await deps.locks.acquire(`network:${id}`);
  const occupied = hostSubnets(deps, defaultBridge(deps, wanted).bridge);
  const changed = await deps.db.write((tx) => {
    if (listEndpoints(deps.db, { networkId: id }).length > 0) return undefined;
    const next = withSubnets(deps, { ...defaultBridge(deps, wanted), id }, occupied);
    updateNetwork(tx, next);
    return next;
  });
  // Made anew with its new addresses on first use.
  if (changed !== undefined) await deps.links.remove(changed.bridge);
}

const SUBNET_OPTION = 'tare.default_subnet';

function defaultBridge(deps: NetworkDeps, wanted: DefaultNetwork): StoredNetwork {
  const [gateway = ''] = wanted.subnet.split('/');
  const request = {
    name: 'bridge',
    driver: 'bridge',
    internal: false,
    enableIPv4: true,
    enableIPv6: wanted.enableIPv6,
    ipam: wanted.subnet === '' ? [] : [{ subnet: wanted.subnet, gateway, ipRange: '' }],
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      ...(wanted.subnet === '' ? {} : { [SUBNET_OPTION]: wanted.subnet }),
    },
    labels: {},
  };
  return networkFrom(request, newId(), deps.instance === 'tare' ? 'tare0' : deps.instance);
}

function linkless(name: 'host' | 'none'): StoredNetwork {
  const request = {
    name,
    driver: name,
    internal: false,
    enableIPv4: true,
    enableIPv6: false,
    ipam: [],
    options: {},
    labels: {},
  };
  return networkFrom(request, newId(), '');
}
