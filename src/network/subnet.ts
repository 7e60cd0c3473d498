import { TareError } from '../errors/index.ts';
import { formatAddress, isIP, parseAddress } from '../linux/index.ts';

/** A block of addresses; `base` is its first one, host bits zero. */
export interface Subnet {
  family: 4 | 6;
  base: bigint;
  prefix: number;
}

const bitsOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** How many addresses a subnet has. */
export const subnetSize = ({ family, prefix }: Subnet): bigint => 1n << BigInt(bitsOf(family) - prefix);

/** The last address, for IPv4 the broadcast address. */
export const lastAddress = (subnet: Subnet): bigint => subnet.base + subnetSize(subnet) - 1n;

/** @throws {TareError} InvalidArgument: not ADDRESS/PREFIX; host bits are cleared, as docker does */
export function parseSubnet(text: string): Subnet {
  const [address = '', prefixText = ''] = text.split('/');
  // A zone (`fe80::1%eth0`) is no part of a subnet.
  const family = address.includes('%') ? 0 : (isIP(address) as 0 | 4 | 6);
  const prefix = /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (family === 0 || !(prefix >= 0 && prefix <= bitsOf(family)) || text.split('/').length !== 2) {
    throw new TareError(
      'InvalidArgument',
      `invalid subnet ${JSON.stringify(text)}: write it like 10.1.0.0/16 or fd00:1::/64`,
    );
  }
  const value = addressValue(address);
  const hostBits = BigInt(bitsOf(family) - prefix);
  return { family, base: (value >> hostBits) << hostBits, prefix };
}

export const subnetText = ({ family, base, prefix }: Subnet): string => `${addressText(base, family)}/${prefix}`;

/**
 * An address in its canonical text, which alone reaches records and rules.
 * @param what the wish it comes from, for the message
 * @throws {TareError} InvalidArgument: not an IP address, or one with a zone
 */
export function checkedAddress(text: string, what: string): string {
  const family = text.includes('%') ? 0 : isIP(text);
  if (family === 0)
    throw new TareError('InvalidArgument', `invalid ${what}: ${JSON.stringify(text)} is not an IP address`);
  return addressText(addressValue(text), family as 4 | 6);
}

/** @throws {RangeError} not an IP address */
export function addressValue(text: string): bigint {
  return BigInt(`0x${parseAddress(text).toString('hex')}`);
}

export function addressText(value: bigint, family: 4 | 6): string {
  return formatAddress(Buffer.from(value.toString(16).padStart(bitsOf(family) / 4, '0'), 'hex'));
}

export function contains(subnet: Subnet, address: string): boolean {
  if (isIP(address) !== subnet.family) return false;
  const value = addressValue(address);
  return value >= subnet.base && value <= lastAddress(subnet);
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base <= lastAddress(b) && b.base <= lastAddress(a);
}

/** `02:42:` and the IPv4 address, so that an address moved to another container keeps its neighbours' caches right. */
export function macAddressFor(ipv4: string): string {
  return `02:42:${[...parseAddress(ipv4)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
}
