import { createHash } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { LinkAddress, Route } from '../linux/index.ts';
import { addressText, overlaps, parseSubnet, type Subnet, subnetSize } from './subnet.ts';

/** A block that networks without a subnet of their own are cut from. */
export interface AddressPool {
  /** The whole block, '172.16.0.0/12'. */
  base: string;
  /** Prefix length of one network. */
  size: number;
}

/** The private ranges that docker also cuts from, in its order. */
export const standardPools: readonly AddressPool[] = [
  { base: '172.17.0.0/16', size: 16 },
  { base: '172.18.0.0/16', size: 16 },
  { base: '172.19.0.0/16', size: 16 },
  { base: '172.20.0.0/14', size: 16 },
  { base: '172.24.0.0/14', size: 16 },
  { base: '172.28.0.0/14', size: 16 },
  { base: '192.168.0.0/16', size: 20 },
];

/** This instance's own block of unique local addresses (RFC 4193), so that two engines never pick the same. */
export function uniqueLocalPool(seed: string): AddressPool {
  const globalId = createHash('sha256').update(seed).digest('hex').slice(0, 10);
  const value = (0xfdn << 120n) | (BigInt(`0x${globalId}`) << 80n);
  return { base: `${addressText(value, 6)}/48`, size: 64 };
}

/** The pools that are to be used: those given, and the usual ones of a family that none was given of. */
export function poolsFor(given: readonly AddressPool[] | undefined, instance: string): AddressPool[] {
  const wanted = given ?? [];
  const has = (family: 4 | 6) => wanted.some(({ base }) => parseSubnet(base).family === family);
  return [...wanted, ...(has(4) ? [] : standardPools), ...(has(6) ? [] : [uniqueLocalPool(instance)])];
}

/** What the host already reaches: its addresses' subnets and routes, without the default routes. */
export function occupiedSubnets(addresses: readonly LinkAddress[], routes: readonly Route[]): Subnet[] {
  return [
    ...addresses.map(({ address, prefix }) => parseSubnet(`${address}/${prefix}`)),
    ...routes
      .filter(({ prefix }) => prefix > 0)
      .map(({ destination, prefix }) => parseSubnet(`${destination}/${prefix}`)),
  ];
}

/** @throws {TareError} InvalidArgument: a base that is no subnet, or a size that does not fit into it */
export function checkPools(pools: readonly AddressPool[]): void {
  for (const { base, size } of pools) {
    const whole = parseSubnet(base);
    // One network of a smaller subnet would have no room for a gateway and a container.
    const longest = whole.family === 4 ? 30 : 126;
    if (size < whole.prefix || size > longest) {
      throw new TareError(
        'InvalidArgument',
        `invalid address pool ${base}: size ${size} is not between ${whole.prefix} and ${longest}`,
      );
    }
  }
}

/**
 * The first subnet of a family that overlaps nothing taken.
 * @throws {TareError} Unavailable: all pools are used up
 */
export function pickSubnet(family: 4 | 6, pools: readonly AddressPool[], taken: readonly Subnet[]): Subnet {
  for (const pool of pools) {
    const whole = parseSubnet(pool.base);
    if (whole.family !== family) continue;
    const step = subnetSize({ ...whole, prefix: pool.size });
    const end = whole.base + subnetSize(whole);
    for (let base = whole.base; base < end; ) {
      const candidate: Subnet = { family, base, prefix: pool.size };
      const obstacle = taken.find((subnet) => overlaps(subnet, candidate));
      if (obstacle === undefined) return candidate;
      // Past the obstacle in one step, rounded up to the next candidate.
      const past = obstacle.base + subnetSize(obstacle) - whole.base;
      base = whole.base + ((past + step - 1n) / step) * step;
    }
  }
  throw new TareError(
    'Unavailable',
    `all predefined address pools have been fully subnetted for IPv${family}: remove unused networks, give --subnet, or configure more pools`,
  );
}
