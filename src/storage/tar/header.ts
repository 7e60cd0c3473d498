import { TareError } from '../../errors/index.ts';
import { type ByteString, fromByteString } from '../../linux/index.ts';

export type TarEntryType = 'file' | 'directory' | 'link' | 'hardlink' | 'character' | 'block' | 'fifo';

/** One entry of a tar, whichever dialect (ustar, PAX, GNU) said it. */
export interface TarHeader {
  /** As the archive has it: may be absolute, hold `..`, or end in a slash. */
  path: ByteString;
  type: TarEntryType;
  /** Permissions with set-user-id, set-group-id and sticky bits; no file type. */
  mode: number;
  uid: number;
  gid: number;
  /** Of the file as unpacked, holes included; 0 for all that is not a file. */
  sizeBytes: number;
  /** Nanoseconds since the epoch. */
  modifyNs: bigint;
  /** Target of a link; for a hard link a path in the archive. */
  linkTarget: ByteString;
  deviceMajor: number;
  deviceMinor: number;
  /** Extended attributes by name. */
  xattrs: Map<ByteString, Buffer>;
}

export const BLOCK = 512;

/** Bytes from the end of `size` bytes of data to the next block. */
export const paddingOf = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

export function invalidArchive(problem: string, path?: ByteString): TareError {
  const where = path === undefined ? '' : ` at entry ${JSON.stringify(fromByteString(path))}`;
  return new TareError('InvalidArgument', `invalid tar archive${where}: ${problem}`);
}

/** Where the fields of a header block lie: [offset, length] (POSIX.1-2017, pax, "ustar Interchange Format"). */
export const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkTarget: [157, 100],
  magic: [257, 8],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const satisfies Record<string, readonly [number, number]>;

type Field = readonly [number, number];

/** Text up to the first NUL. */
export function textField(block: Buffer, [offset, length]: Field): ByteString {
  const end = block.indexOf(0, offset);
  return block.toString('latin1', offset, end === -1 || end > offset + length ? offset + length : end);
}

/**
 * A number: octal text, or base-256 when the first bit is set (GNU).
 *
 * @throws {TareError} InvalidArgument: neither, or beyond what a double counts exactly
 */
export function numberField(block: Buffer, [offset, length]: Field, what: string): number {
  const first = block[offset] as number;
  if (first & 0x80) {
    const negative = (first & 0x40) !== 0;
    // Two's complement over the field without its marker bit.
    let value = BigInt(negative ? first | ~0xff : first & 0x7f);
    for (let at = offset + 1; at < offset + length; at += 1) value = (value << 8n) | BigInt(block[at] as number);
    return exact(value, what);
  }
  const text = block.toString('latin1', offset, offset + length).replace(/^[ \0]+|[ \0]+$/g, '');
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw invalidArchive(`${what} ${JSON.stringify(text)} is no octal number`);
  return Number.parseInt(text, 8);
}

export function exact(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw invalidArchive(`${what} ${value} is out of range`);
  }
  return Number(value);
}

/** The checksum of a block, its own field counted as spaces. Old tars summed signed bytes. */
export function checksums(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 8 * 32;
  let high = 0;
  const [start, length] = field.checksum;
  for (let at = 0; at < BLOCK; at += 1) {
    if (at === start) at += length;
    const byte = block[at] as number;
    unsigned += byte;
    high += byte >> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

export function isZeroBlock(block: Buffer): boolean {
  // A header always has a checksum, so the first non-zero byte comes early.
  for (let at = 0; at < BLOCK; at += 1) if (block[at] !== 0) return false;
  return true;
}
