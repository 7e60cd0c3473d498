import { BlockList, isIP } from 'node:net';
import { TareError } from '../../errors/index.ts';

export interface Pool {
  Subnet: string;
  Gateway?: string;
  IPRange?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

/**
 * Puts gateways, ranges and auxiliary addresses to the subnets they lie in.
 *
 * @throws {TareError} InvalidArgument: a bad subnet, two that overlap, or an address outside of all
 */
export function poolsOf(request: {
  subnets: readonly string[];
  gateways: readonly string[];
  ranges: readonly string[];
  auxiliary: Record<string, string>;
}): Pool[] {
  const pools = request.subnets.map((subnet) => ({
    pool: { Subnet: subnet } as Pool,
    holds: membership(subnet, '--subnet'),
  }));
  for (const [i, { pool, holds }] of pools.entries())
    for (const other of pools.slice(i + 1))
      if (holds(base(other.pool.Subnet)) || other.holds(base(pool.Subnet)))
        throw new TareError('InvalidArgument', `the subnets ${pool.Subnet} and ${other.pool.Subnet} overlap`);
  const poolFor = (address: string, flag: string): Pool => {
    const found = pools.find(({ holds }) => holds(address));
    if (!found)
      throw new TareError(
        'InvalidArgument',
        `no matching subnet for ${flag} ${address}: give the one it lies in with --subnet`,
      );
    return found.pool;
  };
  for (const range of request.ranges) {
    membership(range, '--ip-range');
    const pool = poolFor(base(range), '--ip-range');
    if (pool.IPRange !== undefined)
      throw new TareError(
        'InvalidArgument',
        `two --ip-range (${pool.IPRange}, ${range}) for the subnet ${pool.Subnet}`,
      );
    pool.IPRange = range;
  }
  for (const gateway of request.gateways) {
    const pool = poolFor(gateway, '--gateway');
    if (pool.Gateway !== undefined)
      throw new TareError(
        'InvalidArgument',
        `two --gateway (${pool.Gateway}, ${gateway}) for the subnet ${pool.Subnet}`,
      );
    pool.Gateway = gateway;
  }
  for (const [name, address] of Object.entries(request.auxiliary)) {
    const pool = poolFor(address, '--aux-address');
    pool.AuxiliaryAddresses = { ...pool.AuxiliaryAddresses, [name]: address };
  }
  return pools.map(({ pool }) => pool);
}

function base(cidr: string): string {
  return cidr.split('/')[0]!;
}

function membership(cidr: string, flag: string): (address: string) => boolean {
  const [address = '', prefix = '', ...more] = cidr.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0 || !/^\d{1,3}$/.test(prefix) || Number(prefix) > (family === 6 ? 128 : 32))
    throw new TareError(
      'InvalidArgument',
      `invalid ${flag} ${JSON.stringify(cidr)}: expected CIDR, such as 10.1.0.0/24`,
    );
  const list = new BlockList();
  const type = (version: number) => (version === 6 ? 'ipv6' : 'ipv4');
  list.addSubnet(address, Number(prefix), type(family));
  return (candidate) => isIP(candidate) === family && list.check(candidate, type(family));
}
