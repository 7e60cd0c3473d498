import type { EndpointRequest } from '../../../engine/index.ts';
import type { CreateBody } from '../schema/container.ts';
import type { EndpointSettingsBody } from '../schema/network.ts';
import { invalid } from './container-config.ts';

/** What a user asks of one network; the network's name is the caller's. */
export function toEndpoint(body: EndpointSettingsBody): Omit<EndpointRequest, 'network'> {
  if (body.MacAddress !== '' && !/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(body.MacAddress)) {
    throw invalid(`invalid endpoint settings: invalid MAC address: ${body.MacAddress}`);
  }
  return {
    aliases: body.Aliases,
    links: body.Links,
    ipv4: body.IPAMConfig.IPv4Address,
    ipv6: body.IPAMConfig.IPv6Address,
    linkLocalIps: body.IPAMConfig.LinkLocalIPs,
    macAddress: body.MacAddress.replaceAll('-', ':').toLowerCase(),
    gatewayPriority: body.GwPriority,
    driverOptions: body.DriverOpts,
  };
}

/**
 * The networks of a create request: those given, and the network mode's own when it names one. Docker's client calls
 * the default network `default`; here it has its name, `bridge`.
 *
 * @throws {TareError} InvalidArgument: settings that contradict the network mode, with docker's text
 */
export function toNetworking(body: CreateBody): EndpointRequest[] {
  const mode = networkName(body.HostConfig.NetworkMode);
  checkNetworkMode(body, mode);
  const requests = new Map<string, EndpointRequest>();
  for (const [name, settings] of Object.entries(body.NetworkingConfig.EndpointsConfig)) {
    requests.set(networkName(name), { network: networkName(name), ...toEndpoint(settings) });
  }
  const own = requests.get(mode);
  if (body.MacAddress !== '') {
    if (own && own.macAddress !== '' && own.macAddress !== body.MacAddress.toLowerCase()) {
      throw invalid(
        `the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty`,
      );
    }
    const request = own ?? { network: mode, ...toEndpoint(emptySettings) };
    requests.set(mode, {
      ...request,
      macAddress: toEndpoint({ ...emptySettings, MacAddress: body.MacAddress }).macAddress,
    });
  }
  return [...requests.values()];
}

/** Docker's clients call the default network `default`. */
export function networkName(name: string): string {
  return name === '' || name === 'default' ? 'bridge' : name;
}

export const emptySettings: EndpointSettingsBody = {
  IPAMConfig: { IPv4Address: '', IPv6Address: '', LinkLocalIPs: [] },
  Links: [],
  Aliases: [],
  MacAddress: '',
  DriverOpts: {},
  GwPriority: 0,
};

function checkNetworkMode(body: CreateBody, mode: string): void {
  const host = body.HostConfig;
  const joins = mode.startsWith('container:');
  if (joins && mode === 'container:') throw invalid('invalid container format container:<name|id>');
  const conflicts: [boolean, string][] = [
    [joins && body.Hostname !== '', 'hostname and the network mode'],
    [host.UTSMode === 'host' && body.Hostname !== '', 'hostname and the UTS mode'],
    [mode === 'host' && host.Links.length > 0, links('host')],
    [joins && host.Links.length > 0, links('container')],
    [joins && host.Dns.length > 0, 'dns and the network mode'],
    [joins && host.ExtraHosts.length > 0, 'custom host-to-IP mapping and the network mode'],
    [(joins || mode === 'host') && body.MacAddress !== '', 'mac-address and the network mode'],
    [
      joins && (Object.keys(host.PortBindings).length > 0 || host.PublishAllPorts),
      'port publishing and the container type network mode',
    ],
    [joins && Object.keys(body.ExposedPorts).length > 0, 'port exposing and the container type network mode'],
  ];
  for (const [holds, reason] of conflicts) if (holds) throw invalid(`conflicting options: ${reason}`);
}

function links(mode: string): string {
  return `${mode} type networking can't be used with links. This would result in undefined behavior`;
}
