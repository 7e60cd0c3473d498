import { TareError } from '../errors/index.ts';
import { isIP } from '../linux/index.ts';
import type { Transaction } from '../state/index.ts';
import type { StoredNetwork } from './records.ts';
import { addressText, addressValue, contains, lastAddress, parseSubnet, type Subnet } from './subnet.ts';

export interface AssignedAddress {
  /** '172.17.0.2', without prefix length. */
  address: string;
  prefix: number;
  gateway: string;
}

/**
 * Gives out an address of a network inside a transaction: the wanted one, or the next free one after the last that was
 * given out, so that an address just released is not at once another container's.
 *
 * @param wanted '' for any
 * @throws {TareError} InvalidArgument: not in the network's subnets; Conflict: taken; Unavailable: none left
 */
export function assignAddress(tx: Transaction, network: StoredNetwork, family: 4 | 6, wanted: string): AssignedAddress {
  const blocks = network.ipam
    .map(({ subnet, gateway, ipRange }) => ({
      subnet: parseSubnet(subnet),
      gateway,
      range: parseSubnet(ipRange === '' ? subnet : ipRange),
    }))
    .filter(({ subnet }) => subnet.family === family);
  const column = family === 4 ? 'ipv4' : 'ipv6';
  const isTaken = (address: string) =>
    network.ipam.some(({ gateway, auxAddresses = {} }) =>
      [gateway, ...Object.values(auxAddresses)].includes(address),
    ) || tx.get(`SELECT 1 FROM endpoints WHERE network_id = ? AND ${column} = ?`, network.id, address) !== undefined;
  if (wanted !== '') return assignWanted(network, blocks, family, wanted, isTaken);

  const cursor = family === 4 ? network.cursorIpv4 : network.cursorIpv6;
  const start = Math.max(
    blocks.findIndex(({ range }) => contains(range, cursor)),
    0,
  );
  // From the cursor to the end of its block, through the other blocks, and back up to the cursor.
  for (let turn = 0; turn <= blocks.length; turn += 1) {
    const block = blocks[(start + turn) % blocks.length];
    if (block === undefined) break;
    const { first, last } = usable(block.subnet, block.range);
    const isCursorBlock = contains(block.range, cursor);
    const from = turn === 0 && isCursorBlock ? addressValue(cursor) + 1n : first;
    const to = turn === blocks.length && isCursorBlock ? addressValue(cursor) : last;
    for (let value = from; value <= to; value += 1n) {
      const address = addressText(value, family);
      if (isTaken(address)) continue;
      const path = family === 4 ? '$.cursorIpv4' : '$.cursorIpv6';
      tx.run('UPDATE networks SET doc = json_set(doc, ?, ?) WHERE id = ?', path, address, network.id);
      return { address, prefix: block.subnet.prefix, gateway: block.gateway };
    }
  }
  throw new TareError(
    'Unavailable',
    `no available IPv${family} addresses on network ${network.name}: remove containers from it or use a larger subnet`,
  );
}

function assignWanted(
  network: StoredNetwork,
  blocks: readonly { subnet: Subnet; gateway: string; range: Subnet }[],
  family: 4 | 6,
  wanted: string,
  isTaken: (address: string) => boolean,
): AssignedAddress {
  if (isIP(wanted) !== family || wanted.includes('%')) {
    throw new TareError('InvalidArgument', `invalid IPv${family} address: ${wanted}`);
  }
  const address = addressText(addressValue(wanted), family);
  const block = blocks.find(({ subnet }) => contains(subnet, address));
  if (block === undefined) {
    throw new TareError(
      'InvalidArgument',
      `invalid address ${wanted}: it does not belong to any of network ${network.name}'s subnets`,
    );
  }
  const { first, last } = usable(block.subnet, block.subnet);
  const value = addressValue(address);
  if (value < first || value > last || isTaken(address)) {
    throw new TareError('Conflict', `Address already in use: ${wanted} on network ${network.name}`);
  }
  return { address, prefix: block.subnet.prefix, gateway: block.gateway };
}

/** A range without the subnet's own first (and for IPv4 broadcast) address; /31, /32, /127 and /128 have none to spare. */
function usable(subnet: Subnet, range: Subnet): { first: bigint; last: bigint } {
  const isTiny = subnet.prefix >= (subnet.family === 4 ? 31 : 127);
  const lowest = isTiny ? subnet.base : subnet.base + 1n;
  const highest = isTiny || subnet.family === 6 ? lastAddress(subnet) : lastAddress(subnet) - 1n;
  const last = lastAddress(range);
  return { first: range.base > lowest ? range.base : lowest, last: last < highest ? last : highest };
}
