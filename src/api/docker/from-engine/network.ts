import type { NetworkView } from '../../../engine/index.ts';
import type { ApiVersion } from '../version.ts';
import { timestamp } from './time.ts';

/** @param detailed with the containers on it, as inspect shows them; the list does not */
export function networkOf(network: NetworkView, version: ApiVersion, detailed: boolean) {
  return {
    Name: network.name,
    Id: network.id,
    Created: timestamp(network.createdMs),
    Scope: 'local',
    // Docker's name for the driver of the network `none`.
    Driver: network.driver === 'none' ? 'null' : network.driver,
    ...(version >= 48 && { EnableIPv4: network.enableIPv4 }),
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: 'default',
      // The networks that nobody made have none.
      Options: ['bridge', 'host', 'none'].includes(network.name) ? null : (network.ipamOptions ?? {}),
      Config: network.ipam.map(({ subnet, gateway, ipRange, auxAddresses = {} }) => ({
        Subnet: subnet,
        ...(ipRange !== '' && { IPRange: ipRange }),
        ...(gateway !== '' && { Gateway: gateway }),
        ...(Object.keys(auxAddresses).length > 0 && { AuxiliaryAddresses: auxAddresses }),
      })),
    },
    Internal: network.internal,
    Attachable: network.attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom ?? '' },
    ConfigOnly: network.configOnly ?? false,
    Containers: detailed ? containersOf(network) : {},
    Options: optionsOf(network),
    Labels: network.labels,
  };
}

function containersOf(network: NetworkView) {
  return Object.fromEntries(
    network.endpoints.map((endpoint) => [
      endpoint.containerId,
      {
        Name: endpoint.containerName,
        EndpointID: endpoint.id,
        MacAddress: endpoint.macAddress,
        IPv4Address: endpoint.ipv4,
        IPv6Address: endpoint.ipv6,
      },
    ]),
  );
}

function optionsOf(network: NetworkView): Record<string, string> {
  if (network.name !== 'bridge') return network.options;
  return {
    'com.docker.network.bridge.default_bridge': 'true',
    'com.docker.network.bridge.enable_icc': String(network.icc),
    'com.docker.network.bridge.enable_ip_masquerade': String(network.masquerade),
    'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
    'com.docker.network.bridge.name': network.bridge,
    'com.docker.network.driver.mtu': String(network.mtu),
    ...network.options,
  };
}
