import { isIP } from '../linux/index.ts';
import type { NetworkRecord } from './driver.ts';
import { gatewayMode } from './network-options.ts';

/** Whether its containers know each other by name: not on the default network, as with docker. */
export const hasNames = ({ driver, name }: NetworkRecord): boolean =>
  name !== 'bridge' && driver !== 'host' && driver !== 'none';

/**
 * Where a network's containers ask for names: at its gateways. None where containers have no names of each other, unless an egress
 * policy follows what they ask for, and where this host has no address: there they ask inside their namespaces.
 *
 * @param isFollowed whether somebody on the network is under a policy
 */
export function nameServersOf(network: NetworkRecord, isFollowed: boolean): string[] {
  if (network.driver !== 'bridge' || (!hasNames(network) && !isFollowed)) return [];
  return network.ipam
    .map(({ gateway }) => gateway)
    .filter((gateway) => {
      const family = isIP(gateway);
      return (family === 4 || family === 6) && gatewayMode(network, family) !== 'isolated';
    });
}
