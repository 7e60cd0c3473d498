import { isIP } from '../linux/index.ts';
import {
  type Endpoint,
  hasNames,
  INNER_NAME_SERVER,
  type NetworkRecord,
  type NetworkService,
  nameServersOf,
} from '../network/index.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

const SHORT_ID_LENGTH = 12;

/** Somewhere that names are answered: an address of this host, or one inside a namespace. */
export interface NamePlace {
  address: string;
  /** Its path; '' for the host's. */
  namespace: string;
}

/** Where names are needed now: the servers of networks that have containers, and those inside containers. */
export function neededNameServers({ networks, store }: Pick<EngineParts, 'networks' | 'store'>): NamePlace[] {
  const known = new Map(networks.list().map((network) => [network.id, network]));
  const followed = networks.egress.followedNetworks();
  const endpoints = networks.endpoints({}).filter(({ networkId }) => {
    const network = known.get(networkId);
    return network !== undefined && (hasNames(network) || followed.has(networkId));
  });
  const used = new Set(endpoints.map(({ networkId }) => networkId));
  const servers = [...known.values()]
    .filter(({ id }) => used.has(id))
    .flatMap((network) => nameServersOf(network, followed.has(network.id)));
  const near = gatewayNetworks(known.values());
  const inner = [...Map.groupBy(endpoints, ({ containerId }) => containerId)].flatMap(([id, its]): NamePlace[] => {
    const record = asksGateway(its, near) ? undefined : store.find(id);
    const place = record && nameServerFor(record, its, known, networks);
    return place === undefined || place.namespace === '' ? [] : [place];
  });
  return [...servers.map((address) => ({ address, namespace: '' })), ...inner];
}

/** Networks whose containers are answered at a gateway by IPv4: nearly all. */
export const gatewayNetworks = (networks: Iterable<NetworkRecord>): ReadonlySet<string> =>
  new Set(
    [...networks]
      .filter((network) => nameServersOf(network, false).some((server) => isIP(server) === 4))
      .map(({ id }) => id),
  );

/** Whether {@link nameServerFor} is surely a gateway; it need not be asked then. */
export const asksGateway = (endpoints: readonly Endpoint[], near: ReadonlySet<string>): boolean =>
  endpoints.some(({ networkId, ipv4 }) => ipv4 !== '' && near.has(networkId));

/** A container's endpoints in the order of its networks, each with what was asked of it. */
export function inOrder(
  { networking }: Pick<ContainerRecord, 'networking'>,
  endpoints: readonly Endpoint[],
  networks: ReadonlyMap<string, NetworkRecord>,
): { endpoint: Endpoint; request: ContainerRecord['networking'][number] | undefined }[] {
  const position = ({ networkId }: Endpoint): number => {
    const at = networking.findIndex(({ network }) => isMeant(network, networkId, networks.get(networkId)?.name));
    return at < 0 ? networking.length : at;
  };
  return endpoints
    .toSorted((a, b) => position(a) - position(b))
    .map((endpoint) => ({ endpoint, request: networking[position(endpoint)] }));
}

/** Whether a recorded name, id or id prefix means this network. */
const isMeant = (ref: string, id: string, name: string | undefined): boolean =>
  ref === name || ref === id || (ref.length >= SHORT_ID_LENGTH && id.startsWith(ref));

/** The one server that a container asks for names; undefined when none of its networks has one for it. */
export function nameServerFor(
  record: Pick<ContainerRecord, 'id' | 'networking'>,
  endpoints: readonly Endpoint[],
  networks: ReadonlyMap<string, NetworkRecord>,
  service: Pick<NetworkService, 'namespacePath' | 'egress'>,
): NamePlace | undefined {
  let isNamed = false;
  for (const { endpoint } of inOrder(record, endpoints, networks)) {
    const network = networks.get(endpoint.networkId);
    if (network === undefined) continue;
    isNamed ||= hasNames(network);
    const servers = nameServersOf(network, isFollowed(service, record.id, network.id));
    // Of a family that it speaks; IPv4 first, which every program does.
    const usable = (family: 4 | 6, own: string) =>
      own === '' ? undefined : servers.find((address) => isIP(address) === family);
    const address = usable(4, endpoint.ipv4) ?? usable(6, endpoint.ipv6);
    if (address !== undefined) return { address, namespace: '' };
  }
  return isNamed ? { address: INNER_NAME_SERVER, namespace: service.namespacePath(record.id) } : undefined;
}

/** Whether an egress policy, its own or the network's, holds for a container on a network. */
const isFollowed = ({ egress }: Pick<NetworkService, 'egress'>, containerId: string, networkId: string): boolean =>
  egress.find(containerId) !== undefined || egress.find(networkId) !== undefined;
