import { TareError } from '../errors/index.ts';
import type { CreateNetwork } from './network-service.ts';
import type { StoredNetwork } from './records.ts';

/**
 * A request with the settings of the network that it names for them, or as a network of settings alone.
 *
 * @param find a network by name or id
 * @throws {TareError} Forbidden: settings that the one or the other kind must not have; NotFound: no such network
 */
export function configured(request: CreateNetwork, find: (ref: string) => StoredNetwork): CreateNetwork {
  const { configFrom = '', name } = request;
  const refuse = (text: string): never => {
    throw new TareError('Forbidden', `network ${name}: ${text}`);
  };
  if (request.configOnly === true) {
    if (request.internal || request.attachable === true) {
      refuse(
        'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.',
      );
    }
    if (configFrom !== '') refuse('a configuration network cannot depend on another configuration network');
    return { ...request, driver: 'none' };
  }
  if (configFrom === '') return request;
  const source = find(configFrom);
  if (source.configOnly !== true) refuse(`network ${JSON.stringify(configFrom)} is not a configuration network`);
  if (
    !request.enableIPv4 ||
    request.enableIPv6 ||
    request.ipam.length > 0 ||
    Object.keys(request.labels).length > 0 ||
    Object.keys(request.ipamOptions ?? {}).length > 0
  ) {
    refuse('user specified configurations are not supported if the network depends on a configuration network');
  }
  if (Object.keys(request.options).length > 0) {
    refuse('network driver options are not supported if the network depends on a configuration network');
  }
  const { enableIPv4, enableIPv6, ipam, options, labels, ipamOptions = {} } = source;
  return { ...request, enableIPv4, enableIPv6, ipam, options, labels, ipamOptions, configFrom: source.name };
}

/** @throws {TareError} Forbidden: a network has its settings from this one */
export function refuseRemoval(network: StoredNetwork, all: readonly StoredNetwork[]): void {
  const user = all.find(({ configFrom }) => network.configOnly === true && configFrom === network.name);
  if (user === undefined) return;
  throw new TareError('Forbidden', `configuration network ${JSON.stringify(network.name)} is in use by ${user.name}`);
}
