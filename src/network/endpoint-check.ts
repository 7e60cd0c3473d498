import { TareError } from '../errors/index.ts';
import { isIP } from '../linux/index.ts';
import { bandwidthFor } from './bandwidth.ts';
import type { NetworkRecord } from './driver.ts';
import { endpointOptions, linkLocalAddresses } from './endpoint-options.ts';
import type { ConnectRequest } from './network-service.ts';
import { contains, parseSubnet } from './subnet.ts';

type Wish = Pick<ConnectRequest, 'ipv4' | 'ipv6' | 'linkLocalIps' | 'driverOptions'>;

/**
 * Whether a wish makes sense on a network, as far as that is known before a container starts.
 * @throws {TareError} InvalidArgument, in docker's words; Forbidden: a network that takes no containers
 */
export function checkEndpoint(network: NetworkRecord, wish: Wish): void {
  refuseSettings(network);
  endpointOptions(wish.driverOptions ?? {});
  linkLocalAddresses(wish.linkLocalIps ?? []);
  bandwidthFor(undefined, wish.driverOptions ?? {});
  for (const [family, address = ''] of [
    [4, wish.ipv4],
    [6, wish.ipv6],
  ] as const) {
    if (address === '') continue;
    const refuse = (text: string): never => {
      throw new TareError('InvalidArgument', `invalid endpoint settings for network ${network.name}: ${text}`);
    };
    if (isIP(address) !== family || address.includes('%')) refuse(`invalid IPv${family} address: ${address}`);
    if (['bridge', 'host', 'none'].includes(network.name)) {
      refuse('user specified IP address is supported on user defined networks only');
    }
    if (network.isAutomatic === true) {
      refuse(
        'user specified IP address is supported only when connecting to networks with user configured subnets: make it with --subnet',
      );
    }
    // A plugin's addresses are not ours to know.
    if (network.driver !== 'cni' && !network.ipam.some(({ subnet }) => contains(parseSubnet(subnet), address))) {
      refuse(`no configured subnet contains the IP address ${address}`);
    }
  }
}

/** @throws {TareError} Forbidden: a network of settings alone */
export function refuseSettings({ configOnly, name }: NetworkRecord): void {
  if (configOnly !== true) return;
  throw new TareError('Forbidden', `network ${name} is a configuration network: no container can be on it`);
}
