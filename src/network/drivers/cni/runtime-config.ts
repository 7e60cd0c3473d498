import { TareError } from '../../../errors/index.ts';
import type { Endpoint } from '../../driver.ts';
import type { ConnectRequest } from '../../network-service.ts';

/** Options of an endpoint that become the capability `bandwidth`, in bits and bits a second. */
const rates = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const;

/** A burst that fits any rate, as the plugin wants one with each rate. */
const USUAL_BURST_BITS = 2 ** 31 - 1;

/**
 * What there is to say to plugins about an attachment, by capability; each plugin is told what it has.
 *
 * @param network the network's name
 * @throws {TareError} InvalidArgument: a rate that is no number
 * @see CNI conventions, "Well-known Capabilities"
 */
export function runtimeConfigOf(network: string, endpoint: Endpoint, request: ConnectRequest): Record<string, unknown> {
  const { macAddress = '', ipv4 = '', ipv6 = '', aliases = [], dns } = request;
  const ips = [ipv4, ipv6].filter((address) => address !== '');
  const bandwidth = bandwidthOf(request.driverOptions ?? {});
  return {
    ...(endpoint.ports.length === 0
      ? {}
      : {
          portMappings: endpoint.ports.map(({ hostIp, hostPort, containerPort, protocol }) => ({
            ...{ hostPort, containerPort, protocol, hostIP: hostIp },
          })),
        }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(ips.length === 0 ? {} : { ips }),
    ...(macAddress === '' ? {} : { mac: macAddress }),
    ...(dns === undefined ? {} : { dns }),
    ...(aliases.length === 0 ? {} : { aliases: { [network]: aliases } }),
  };
}

/** CNI_ARGS, for the plugins that know no capability for the same thing. */
export function argumentsOf({ macAddress = '', ipv4 = '', ipv6 = '' }: ConnectRequest): string {
  const address = ipv4 === '' ? ipv6 : ipv4;
  const pairs = [...(address === '' ? [] : [`IP=${address}`]), ...(macAddress === '' ? [] : [`MAC=${macAddress}`])];
  return pairs.length === 0 ? '' : ['IgnoreUnknown=1', ...pairs].join(';');
}

function bandwidthOf(options: Readonly<Record<string, string>>): Record<string, number> | undefined {
  const given = rates.filter((key) => (options[`bandwidth.${key}`] ?? '') !== '');
  if (given.length === 0) return undefined;
  const bandwidth: Record<string, number> = {};
  for (const key of given) {
    const text = options[`bandwidth.${key}`] as string;
    if (!/^\d{1,15}$/.test(text)) {
      throw new TareError('InvalidArgument', `invalid bandwidth.${key} ${JSON.stringify(text)}: want a number of bits`);
    }
    bandwidth[key] = Number(text);
  }
  for (const way of ['ingress', 'egress'])
    if (bandwidth[`${way}Rate`] !== undefined) bandwidth[`${way}Burst`] ??= USUAL_BURST_BITS;
  return bandwidth;
}
