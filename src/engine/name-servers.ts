import { isIP } from '../linux/index.ts';
import { type Endpoint, type NetworkRecord, type NetworkService, nameServersOf } from '../network/index.ts';
import type { ContainerRecord } from './types.ts';

const SHORT_ID_LENGTH = 12;

/** Where names are needed now: the servers of networks that have containers. */
export function neededNameServers(networks: NetworkService): string[] {
  const used = new Set(networks.endpoints({}).map(({ networkId }) => networkId));
  return networks
    .list()
    .filter(({ id }) => used.has(id))
    .flatMap(nameServersOf);
}

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

/** The one server that a container asks for names; undefined when none of its networks has names. */
export function nameServerFor(
  record: Pick<ContainerRecord, 'networking'>,
  endpoints: readonly Endpoint[],
  networks: ReadonlyMap<string, NetworkRecord>,
): string | undefined {
  for (const { endpoint } of inOrder(record, endpoints, networks)) {
    const network = networks.get(endpoint.networkId);
    const servers = network === undefined ? [] : nameServersOf(network);
    // Of a family that it speaks; IPv4 first, which every program does.
    const usable = (family: 4 | 6, own: string) =>
      own === '' ? undefined : servers.find((address) => isIP(address) === family);
    const server = usable(4, endpoint.ipv4) ?? usable(6, endpoint.ipv6);
    if (server !== undefined) return server;
  }
  return undefined;
}
