import type { ConnectRequest, Endpoint } from '../../network/index.ts';

/** What a container's sockets know of its place on a network. */
export type CheckpointEndpoint = Pick<Endpoint, 'networkId' | 'macAddress' | 'ipv4' | 'ipv6'>;

export const checkpointEndpoints = (endpoints: readonly Endpoint[]): CheckpointEndpoint[] =>
  endpoints.map(({ networkId, macAddress, ipv4, ipv6 }) => ({ networkId, macAddress, ipv4, ipv6 }));

/** A wish for a network with the addresses that the container had there, unless its user named others. */
export function withFormerAddresses<Wish extends Omit<ConnectRequest, 'netns'>>(
  wish: Wish,
  before: readonly CheckpointEndpoint[],
): Wish {
  const former = before.find(({ networkId }) => networkId === wish.networkId);
  if (former === undefined) return wish;
  return {
    ...wish,
    macAddress: wish.macAddress || former.macAddress,
    ipv4: wish.ipv4 || addressOf(former.ipv4),
    ipv6: wish.ipv6 || addressOf(former.ipv6),
  };
}

const addressOf = (cidr: string): string => cidr.split('/', 1)[0]!;
