import { TareError } from '../../../errors/index.ts';
import type { CreateNetwork } from '../../../network/index.ts';
import type { NetworkCreateBody } from '../schema/network.ts';
import type { ApiVersion } from '../version.ts';
import { invalid } from './container-config.ts';

/** @throws {TareError} InvalidArgument: no name; Unsupported: what only a swarm or another driver could do */
export function toCreateNetwork(body: NetworkCreateBody | undefined, version: ApiVersion): CreateNetwork {
  if (!body || body.Name === '') throw invalid('network name must not be empty');
  const refused: [boolean, string][] = [
    [body.Ingress, 'Ingress networks need a swarm'],
    [body.Scope !== '' && body.Scope !== 'local', `scope "${body.Scope}" is not supported; networks are local`],
    [!['', 'default'].includes(body.IPAM.Driver), `IPAM driver "${body.IPAM.Driver}" is not supported; leave it empty`],
  ];
  for (const [holds, reason] of refused)
    if (holds) throw new TareError('Unsupported', `network ${body.Name}: ${reason}`);
  return {
    name: body.Name,
    driver: body.Driver || 'bridge',
    internal: body.Internal,
    // Older clients do not know of networks without.
    enableIPv4: version < 48 || (body.EnableIPv4 ?? true),
    enableIPv6: body.EnableIPv6 ?? false,
    ipam: body.IPAM.Config.map(({ Subnet, Gateway, IPRange, AuxiliaryAddresses }) => ({
      subnet: Subnet,
      gateway: Gateway,
      ipRange: IPRange,
      auxAddresses: AuxiliaryAddresses,
    })),
    options: body.Options,
    labels: body.Labels,
    attachable: body.Attachable,
    configOnly: body.ConfigOnly,
    configFrom: body.ConfigFrom.Network,
    ipamOptions: body.IPAM.Options,
    egress: body.Egress,
  };
}
