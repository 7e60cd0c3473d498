import { isIP } from '../linux/index.ts';
import type { NetworkRecord } from './driver.ts';
import { gatewayMode } from './network-options.ts';

/**
 * Where a network's containers ask for names of each other: at its gateways. None where containers have no names, which is
 * on the default network, as with docker, and where this host has no address.
 */
export function nameServersOf(network: NetworkRecord): string[] {
  if (network.driver !== 'bridge' || network.name === 'bridge') return [];
  return network.ipam
    .map(({ gateway }) => gateway)
    .filter((gateway) => {
      const family = isIP(gateway);
      return (family === 4 || family === 6) && gatewayMode(network, family) !== 'isolated';
    });
}
