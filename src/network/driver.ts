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
  driver: 'bridge' | 'macvlan' | 'ipvlan' | 'cni' | 'host' | 'none';
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
  /** Said of it, and shown: every network here takes containers that are started by hand. */
  attachable?: boolean;
  /** Only the settings of networks that name it: it has no links of its own, and no container. */
  configOnly?: boolean;
  /** Name of the network whose settings it has. */
  configFrom?: string;
  /** As given, for nobody here reads them. */
  ipamOptions?: Record<string, string>;
  /** Whether its subnets came from the pools: then another may be picked, and no container may ask for an address. */
  isAutomatic?: boolean;
}

/** How fast a link may be, in bits a second; 0 for no limit. */
export interface Bandwidth {
  /** To the container. */
  inBits: number;
  /** From it. */
  outBits: number;
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
  /** Link-local addresses beside those of the network, with prefix length. */
  linkLocal?: string[];
  /** Of a container's networks the one with the highest leads out, 0 unless given; of equal ones the first connected. */
  gatewayPriority?: number;
  /** Counts a container's connections, from 0. */
  sequence?: number;
  /** Paths beneath /proc/sys, with IFNAME for the link's name, and what is written there. */
  sysctls?: Record<string, string>;
  bandwidth?: Bandwidth;
  /** Where names are asked, and how, as the network says: that of a CNI plugin. */
  dns?: { servers: string[]; searches: string[]; options: string[] };
  ports: PortMapping[];
}
