import { isIP } from '../linux/index.ts';
import type { NetworkRecord } from './driver.ts';
import { gatewayMode } from './network-options.ts';

/** Whether its containers know each other by name: not on the default network, as with docker. */
export const hasNames = ({ driver, name }: NetworkRecord): boolean =>
  name !== 'bridge' && driver !== 'host' && driver !== 'none';

/**
 * Where a network's containers ask for names of each other: at its gateways. None where containers have no names, and where
 * this host has no address: there they ask inside their namespaces.
 */
export function nameServersOf(network: NetworkRecord): string[] {
  if (network.driver !== 'bridge' || !hasNames(network)) return [];
  return network.ipam
    .map(({ gateway }) => gateway)
    .filter((gateway) => {
      const family = isIP(gateway);
      return (family === 4 || family === 6) && gatewayMode(network, family) !== 'isolated';
    });
}
