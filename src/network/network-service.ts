import type { Transaction } from '../state/index.ts';
import type { Bandwidth, Endpoint, NetworkRecord, PortMapping, SubnetRecord } from './driver.ts';
import type { EgressService } from './egress/index.ts';
import type { PortReach } from './reach.ts';

export interface CreateNetwork {
  name: string;
  driver: string;
  internal: boolean;
  enableIPv4: boolean;
  enableIPv6: boolean;
  /** Empty: taken from the engine's pools. */
  ipam: SubnetRecord[];
  options: Record<string, string>;
  labels: Record<string, string>;
  attachable?: boolean;
  configOnly?: boolean;
  /** Name or id of a network with settings alone, '' for none. */
  configFrom?: string;
  ipamOptions?: Record<string, string>;
  /** What its containers may reach: rules as texts, beside those of the option `tare.egress`; none for no policy. */
  egress?: readonly string[];
}

/** A wanted publication. */
export interface PortRequest {
  /** '' for all addresses of the host, IPv4 and (where the host has it) IPv6. */
  hostIp: string;
  /** 0 takes a free port. */
  hostPort: number;
  /** Of a range the first free one is taken; the same as `hostPort`, or 0, for one port. */
  hostPortEnd: number;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
}

/** Published ports of a container, to be taken back. */
export interface PortSelection {
  /** '' for all. */
  hostIp: string;
  /** 0 for all. */
  hostPort: number;
  containerPort: number;
  protocol: PortMapping['protocol'];
}

export interface ConnectRequest {
  containerId: string;
  networkId: string;
  /** Path of the container's network namespace (bind-mounted file or /proc/PID/ns/net). */
  netns: string;
  macAddress?: string;
  ipv4?: string;
  ipv6?: string;
  linkLocalIps?: readonly string[];
  gatewayPriority?: number;
  /** What {@link endpointOptions} reads, and what the network's driver does. */
  driverOptions?: Readonly<Record<string, string>>;
  bandwidth?: Bandwidth;
  /** Other names on this network, and where names are asked: for drivers that see to names themselves. */
  aliases?: readonly string[];
  dns?: { servers: readonly string[]; searches: readonly string[]; options: readonly string[] };
  ports: PortRequest[];
}

/** A published port and where it leads; for an IPv6 mapping of a container without IPv6 its IPv4 address. */
export interface PublishedPort extends PortMapping {
  containerId: string;
  containerIp: string;
}

/** Writes what belongs to a change (its event) in the change's own transaction. */
export type Alongside = (tx: Transaction, network: NetworkRecord) => void;

/** Networks and the endpoints on them. Every change is recorded before the kernel is changed, so that reconcile can undo it. */
export interface NetworkService {
  /** The predefined `bridge`, `host` and `none` are always there (records only; the bridge link is made on first use). */
  list(): NetworkRecord[];
  /** @param nameOrId name, id or unique id prefix. @throws {TareError} NotFound; Conflict: ambiguous prefix */
  get(nameOrId: string): NetworkRecord;
  /**
   * Records a network and makes its bridge.
   * @throws {TareError} InvalidArgument; AlreadyExists: the name; Forbidden: a predefined name, a subnet that another
   *   network has; Conflict: the bridge is another network's; NotFound: no such driver
   */
  create(request: CreateNetwork, alongside?: Alongside): Promise<NetworkRecord>;
  /** @throws {TareError} Forbidden: predefined, or with endpoints */
  remove(nameOrId: string, alongside?: Alongside): Promise<void>;

  /** Makes a network namespace with `lo` up, bind-mounted at the returned path. Synchronous and under 2 ms. */
  createNamespace(containerId: string): string;
  /** Where `createNamespace` keeps a container's namespace. */
  namespacePath(containerId: string): string;
  /**
   * Leaves networks that want it done inside, then unmounts and removes the namespace's file; the kernel then drops its
   * links. With bridges alone it is done before it returns. Repeating is safe.
   */
  deleteNamespace(containerId: string): Promise<void>;

  /**
   * Address, veth, route, ports, in that order.
   * @throws {TareError} Conflict: an address or a port is taken (names the holder); Unavailable: no address left
   */
  connect(request: ConnectRequest): Promise<Endpoint>;
  /**
   * Releases what `connect` took. Repeating is safe.
   *
   * @param options.netns path of the namespace of a container that goes on running: its link is removed, and another
   *   network's gateway becomes the default. Without it the link is only silenced, and goes with its namespace.
   */
  disconnect(containerId: string, networkId: string, options?: { netns?: string }): Promise<void>;
  /**
   * Changes how fast a connected container's link is; nothing where it has none.
   * @throws {TareError} Unsupported: the kernel, or the network's driver, cannot
   */
  setBandwidth(containerId: string, networkId: string, bandwidth: Bandwidth): Promise<void>;
  /**
   * Publishes more ports of a connected container, all or none.
   *
   * @returns the mappings of each request
   * @throws {TareError} Conflict: a port is taken (names the holder), the network is internal, or the container is not on it
   */
  publish(containerId: string, networkId: string, ports: readonly PortRequest[]): Promise<PortMapping[][]>;
  /**
   * Takes published ports back. Open connections go on.
   * @throws {TareError} NotFound: one of them is not published; then none is taken back
   */
  unpublish(containerId: string, ports: readonly PortSelection[]): Promise<PortMapping[]>;
  /** Who reaches a port of a container, and through which rule; from the records and the kernel's table. */
  reach(containerId: string, port: number, protocol: PortMapping['protocol']): PortReach[];
  /** All endpoints of a container, or of a network. */
  endpoints(of: { containerId?: string; networkId?: string }): Endpoint[];
  /** What passes between containers that are kept apart, as the service is told, has changed. */
  settlePassages(): Promise<void>;
  /** What containers may reach. */
  readonly egress: EgressService;
  /** Every published port of this engine, for the keeper's reservations. */
  publishedPorts(): PublishedPort[];
  /**
   * Puts our rules back if somebody has changed or flushed them, and our place in the host's firewall. For a living process to
   * call twice a second: one netlink request as long as no rule of the machine has changed.
   *
   * @returns whether our rules had to be put back
   */
  watchRules(): Promise<boolean>;
  /**
   * Puts back links, rules and addresses of live containers and removes those of others.
   *
   * @param hold keeps others from changing a container until disposed; undefined: somebody is at it, so that its links are
   *   left to them
   */
  reconcile(
    isLive: (containerId: string) => boolean,
    hold?: (containerId: string) => Disposable | undefined,
  ): Promise<void>;
  /** Loads what the first container would otherwise wait for (libnftables, 10 ms); for a daemon at its start. */
  warm(): void;
  /** Removes everything this engine made in the kernel when no endpoint is left (bridge links, nft table). */
  teardown(): Promise<void>;
}
