import { isIPv4, SocketAddress } from 'node:net';

export { isIPv4 };

/** What `isIPv6` of node:net says, without its regular expression: to compile that takes 5 ms, once in each process. */
export function isIPv6(text: string): boolean {
  // SocketAddress stops reading at a NUL.
  const [, address] = /^([\da-fA-F:.]*:[\da-fA-F:.]*)(?:%[\w.:-]+)?$/.exec(text) ?? [];
  if (address === undefined) return false;
  try {
    new SocketAddress({ address, family: 'ipv6' });
    return true;
  } catch {
    return false;
  }
}

/** What `isIP` of node:net says: 4, 6, or 0 for no address. */
export const isIP = (text: string): 0 | 4 | 6 => (isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0);

/**
 * An address's bytes in network order: 4 or 16.
 * @throws {RangeError} neither an IPv4 nor an IPv6 address
 */
export function parseAddress(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  const plain = text.split('%', 1)[0] as string;
  if (!isIPv6(plain)) throw new RangeError(`${JSON.stringify(text)} is not an IP address`);
  const bytes = Buffer.alloc(16);
  const [head = '', tail] = withHexTail(plain).split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  before.forEach((group, at) => void bytes.writeUInt16BE(Number.parseInt(group, 16), at * 2));
  after.forEach((group, at) => void bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - (after.length - at) * 2));
  return bytes;
}

/** The canonical text of 4 or 16 bytes (RFC 5952 for IPv6). */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((bytes[at] as number) << 8) | (bytes[at + 1] as number));
  const [from, length] = longestZeroRun(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return length < 2 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + length))}`;
}

/** `::ffff:1.2.3.4` written with hexadecimal groups only. */
function withHexTail(text: string): string {
  const at = text.lastIndexOf(':') + 1;
  const tail = text.slice(at);
  if (!isIPv4(tail)) return text;
  const [a = 0, b = 0, c = 0, d = 0] = tail.split('.').map(Number);
  return `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function longestZeroRun(groups: readonly number[]): [from: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let from = 0; from < groups.length; from += 1) {
    let length = 0;
    while (groups[from + length] === 0) length += 1;
    if (length > best[1]) best = [from, length];
  }
  return best;
}
