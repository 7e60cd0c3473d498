import type { EndpointRequest } from './types.ts';

/** A wish for a network with nothing special. */
export const emptyEndpoint = (network: string): EndpointRequest => ({
  network,
  aliases: [],
  links: [],
  ipv4: '',
  ipv6: '',
  linkLocalIps: [],
  macAddress: '',
  gatewayPriority: 0,
  driverOptions: {},
});
