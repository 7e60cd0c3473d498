/** A published port: what the host listens on and where it leads. */
export interface PortMapping {
  /** '0.0.0.0', '::', or one address of the host. */
  hostIp: string;
  hostPort: number;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
}

/** A subnet of a network, in CIDR form. */
export interface SubnetRecord {
  subnet: string;
  /** '' for none. */
  gateway: string;
  /** The part of the subnet that addresses are given out from; '' for all of it. */
  ipRange: string;
  /** Addresses that others have, by name: no container is given one. */
  auxAddresses?: Record<string, string>;
}

/** A network as recorded; subnets in CIDR form. */
export interface NetworkRecord {
  id: string;
  name: string;
  driver: 'bridge' | 'macvlan' | 'ipvlan' | 'host' | 'none';
  createdMs: number;
  /** Name of the bridge link. */
  bridge: string;
  internal: boolean;
  enableIPv4: boolean;
  enableIPv6: boolean;
  mtu: number;
  ipam: SubnetRecord[];
  icc: boolean;
  masquerade: boolean;
  options: Record<string, string>;
  labels: Record<string, string>;
}

/** A container's place on a network, once connected. */
export interface Endpoint {
  id: string;
  networkId: string;
  containerId: string;
  /** Link inside the container, `eth0`; '' on the host and none networks, which make no link. */
  interfaceName: string;
  /** Link on the host. */
  hostInterface: string;
  macAddress: string;
  /** Address with prefix length, '172.20.0.2/16'; '' for none. */
  ipv4: string;
  ipv6: string;
  gatewayIpv4: string;
  gatewayIpv6: string;
  ports: PortMapping[];
}
