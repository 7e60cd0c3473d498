import { hostSubnets, newId, withSubnets } from './create-network.ts';
import type { SubnetRecord } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { networkFrom } from './network-options.ts';
import { insertNetwork, listEndpoints, listNetworks, type StoredNetwork, updateNetwork } from './records.ts';
import { addressText, checkedAddress, parseSubnet } from './subnet.ts';

/** What the configuration says of the default network; what is not said is left as it is, or as usual. */
export interface DefaultNetwork {
  enableIPv6?: boolean;
  /** Gateway and subnet, '10.9.0.1/16'. */
  subnet?: string;
  subnet6?: string;
  /** The part of the subnet that addresses are given out from; the subnet itself where none is given. */
  range?: string;
  range6?: string;
  /** The bridge's own address, in place of the one that the subnet names. */
  gateway?: string;
  gateway6?: string;
  mtu?: number;
  icc?: boolean;
  masquerade?: boolean;
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
  if (!fits(bridge, wanted)) await refit(deps, bridge, wanted);
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
const fits = ({ asked = {} }: StoredNetwork, wanted: DefaultNetwork): boolean =>
  (Object.keys(wanted) as (keyof DefaultNetwork)[]).every((key) => asked[key] === wanted[key]);

async function refit(deps: NetworkDeps, { id, asked }: StoredNetwork, more: DefaultNetwork): Promise<void> {
  const wanted = { ...asked, ...more };
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

function defaultBridge(deps: NetworkDeps, asked: DefaultNetwork): StoredNetwork {
  const { mtu, icc, masquerade } = asked;
  const options = {
    'com.docker.network.bridge.default_bridge': 'true',
    ...(mtu === undefined ? {} : { 'com.docker.network.driver.mtu': String(mtu) }),
    ...(icc === undefined ? {} : { 'com.docker.network.bridge.enable_icc': String(icc) }),
    ...(masquerade === undefined ? {} : { 'com.docker.network.bridge.enable_ip_masquerade': String(masquerade) }),
  };
  const enableIPv6 = asked.enableIPv6 ?? (asked.subnet6 !== undefined || asked.range6 !== undefined);
  const request = {
    name: 'bridge',
    driver: 'bridge',
    internal: false,
    enableIPv4: true,
    enableIPv6,
    ipam: [
      ...subnetFrom(asked.subnet, asked.range, asked.gateway),
      ...(enableIPv6 ? subnetFrom(asked.subnet6, asked.range6, asked.gateway6) : []),
    ],
    options,
    labels: {},
  };
  const name = deps.instance === 'tare' ? 'tare0' : deps.instance;
  return { ...networkFrom(request, newId(), name), asked };
}

/** @param text gateway and prefix length in one, '10.9.0.1/16' */
function subnetFrom(text: string | undefined, range: string | undefined, gateway: string | undefined): SubnetRecord[] {
  const subnet = text ?? range;
  if (subnet === undefined) return [];
  const { base, family } = parseSubnet(subnet);
  const [address = ''] = subnet.split('/');
  // A subnet without host bits names no gateway.
  const own = addressText(base, family) === checkedAddress(address, 'address of the default bridge') ? '' : address;
  return [{ subnet, gateway: gateway ?? own, ipRange: range ?? '' }];
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
