import type { ByteString } from '../../linux/index.ts';
import { exact, invalidArchive, type TarHeader } from './header.ts';

/** The records of one PAX extended header, in order; GNU's sparse format 0.0 repeats keys. */
export type PaxRecords = [key: ByteString, value: Buffer][];

/**
 * @see POSIX.1-2017, pax, "pax Extended Header": `"%d %s=%s\n", length, keyword, value`
 * @throws {TareError} InvalidArgument
 */
export function parsePax(bytes: Buffer): PaxRecords {
  const records: PaxRecords = [];
  for (let at = 0; at < bytes.length; ) {
    // Some writers pad with NULs.
    if (bytes[at] === 0) break;
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 ? '' : bytes.toString('latin1', at, Math.min(space, at + 20));
    const length = /^[0-9]{1,9}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = bytes.indexOf(0x3d, space + 1);
    if (length === 0 || end > bytes.length || bytes[end - 1] !== 0x0a || equals === -1 || equals >= end) {
      throw invalidArchive('malformed PAX extended header');
    }
    records.push([bytes.toString('latin1', space + 1, equals), bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

const XATTR = 'SCHILY.xattr.';

/** What of the records concerns sparse files. */
export interface SparseRecords {
  /** The map itself for 0.0 and 0.1; undefined for 1.0, where it comes before the data. */
  map: number[] | undefined;
  sizeBytes: number | undefined;
}

/** Puts PAX records over a header. @returns the stored size if the records say one, and the sparse map's records */
export function applyPax(header: TarHeader, records: PaxRecords): { size?: number; sparse?: SparseRecords } {
  const result: { size?: number; sparse?: SparseRecords } = {};
  const sparse: SparseRecords = { map: undefined, sizeBytes: undefined };
  let isSparse = false;
  const gnu00: number[] = [];
  for (const [key, value] of records) {
    if (value.length === 0 && !key.startsWith(XATTR)) continue;
    switch (key) {
      case 'path':
        header.path = textOf(value, key);
        break;
      case 'linkpath':
        header.linkTarget = textOf(value, key);
        break;
      case 'size':
        result.size = numberOf(value, key);
        break;
      case 'uid':
        header.uid = numberOf(value, key);
        break;
      case 'gid':
        header.gid = numberOf(value, key);
        break;
      case 'mtime':
        header.modifyNs = timeOf(value);
        break;
      case 'GNU.sparse.name':
        header.path = textOf(value, key);
        break;
      case 'GNU.sparse.size':
      case 'GNU.sparse.realsize':
        sparse.sizeBytes = numberOf(value, key);
        isSparse = true;
        break;
      case 'GNU.sparse.offset':
      case 'GNU.sparse.numbytes':
        gnu00.push(numberOf(value, key));
        isSparse = true;
        break;
      case 'GNU.sparse.map':
        sparse.map = value
          .toString('latin1')
          .split(',')
          .map((part) => numberOf(Buffer.from(part, 'latin1'), key));
        isSparse = true;
        break;
      case 'GNU.sparse.numblocks':
      case 'GNU.sparse.major':
        isSparse = true;
        break;
      default:
        if (key.startsWith(XATTR)) header.xattrs.set(key.slice(XATTR.length), Buffer.from(value));
    }
  }
  if (gnu00.length > 0 && sparse.map === undefined) sparse.map = gnu00;
  if (isSparse) result.sparse = sparse;
  return result;
}

function textOf(value: Buffer, key: string): ByteString {
  if (value.includes(0)) throw invalidArchive(`the PAX record ${key} holds a NUL`);
  return value.toString('latin1');
}

function numberOf(value: Buffer, key: string): number {
  const text = value.toString('latin1');
  if (!/^-?[0-9]{1,19}$/.test(text)) throw invalidArchive(`the PAX record ${key}=${JSON.stringify(text)} is no number`);
  return exact(BigInt(text), key);
}

/** Decimal seconds with a fraction, to nanoseconds. */
function timeOf(value: Buffer): bigint {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(value.toString('latin1'));
  if (!match) throw invalidArchive(`the PAX record mtime=${JSON.stringify(value.toString('latin1'))} is no time`);
  const [, sign, seconds, fraction = ''] = match as unknown as [string, string, string, string | undefined];
  const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return sign === '-' ? -nanoseconds : nanoseconds;
}

/** One record as text on the wire; its length counts itself. */
export function encodePaxRecord(key: ByteString, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}
