import { type ByteString, fromByteString, toByteString } from '../../linux/index.ts';
import { BLOCK, checksums, field, paddingOf, type TarEntryType, type TarHeader } from './header.ts';
import { encodePaxRecord } from './pax.ts';

/** What the writer needs to know; the rest defaults to a plain file of root's. */
export type TarEntry = Pick<TarHeader, 'path' | 'type'> & Partial<TarHeader>;

const flags: Record<TarEntryType, string> = {
  file: '0',
  hardlink: '1',
  link: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** Two zero blocks: the end of every archive. */
export const endOfArchive = (): Buffer => Buffer.alloc(2 * BLOCK);

/** The zeros after `size` bytes of data. */
export const padding = (size: number): Buffer => Buffer.alloc(paddingOf(size));

/**
 * The header of one entry: a ustar block, with a PAX header before it for what ustar cannot say (long or non-ASCII
 * names, large numbers, extended attributes). Times are cut to seconds, so that equal trees give equal layers.
 */
export function encodeHeader(entry: TarEntry): Buffer {
  const records: Buffer[] = [];
  const add = (key: ByteString, value: Uint8Array | string): void => {
    records.push(encodePaxRecord(key, typeof value === 'string' ? Buffer.from(value, 'latin1') : value));
  };
  const block = Buffer.alloc(BLOCK);
  const path = entry.type === 'directory' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
  const split = splitPath(path);
  if (split === undefined) add('path', path);
  const [prefix, name] = split ?? ['', plain(path).slice(0, 100)];
  block.write(name, ...field.name, 'latin1');
  block.write(prefix, ...field.prefix, 'latin1');

  const target = entry.linkTarget ?? '';
  const isPlainTarget = target.length <= 100 && isAscii(target);
  if (!isPlainTarget) add('linkpath', target);
  block.write(isPlainTarget ? target : plain(target).slice(0, 100), ...field.linkTarget, 'latin1');

  const seconds = secondsOf(entry.modifyNs ?? 0n);
  const sizeBytes = entry.type === 'file' ? (entry.sizeBytes ?? 0) : 0;
  octal(block, field.mode, (entry.mode ?? 0o644) & 0o7777);
  if (!octal(block, field.uid, entry.uid ?? 0)) add('uid', String(entry.uid));
  if (!octal(block, field.gid, entry.gid ?? 0)) add('gid', String(entry.gid));
  if (!octal(block, field.size, sizeBytes)) add('size', String(sizeBytes));
  if (!octal(block, field.mtime, seconds)) add('mtime', String(seconds));
  block.write(flags[entry.type], ...field.type, 'latin1');
  block.write('ustar\x0000', ...field.magic, 'latin1');
  if (entry.type === 'character' || entry.type === 'block') {
    // Linux device numbers (12 and 20 bits) fit 7 octal digits.
    octal(block, field.deviceMajor, entry.deviceMajor ?? 0);
    octal(block, field.deviceMinor, entry.deviceMinor ?? 0);
  }
  for (const [key, value] of entry.xattrs ?? []) add(`SCHILY.xattr.${key}`, value);
  seal(block);
  if (records.length === 0) return block;
  const body = Buffer.concat(records);
  const extended = Buffer.alloc(BLOCK);
  extended.write(`PaxHeaders.0/${plain(path).slice(-80)}`.replace(/\/$/, ''), ...field.name, 'latin1');
  octal(extended, field.mode, 0o644);
  octal(extended, field.uid, 0);
  octal(extended, field.gid, 0);
  octal(extended, field.size, body.length);
  octal(extended, field.mtime, 0);
  extended.write('x', ...field.type, 'latin1');
  extended.write('ustar\x0000', ...field.magic, 'latin1');
  seal(extended);
  return Buffer.concat([extended, body, padding(body.length), block]);
}

/** A small file whole: header, bytes, padding. */
export function encodeFile(path: string, bytes: Uint8Array | string, entry: Partial<TarEntry> = {}): Buffer {
  const body = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  const header = encodeHeader({ ...entry, path: toByteString(path), type: 'file', sizeBytes: body.length });
  return Buffer.concat([header, body, padding(body.length)]);
}

const isAscii = (text: ByteString): boolean => /^[\x01-\x7f]*$/.test(text);
/** For readers that know no PAX: something to show. */
const plain = (text: ByteString): string => fromByteString(text).replace(/[^\x20-\x7e]/g, '_');

/** Splits a name over the prefix and name fields; undefined when it needs a PAX record. */
function splitPath(path: ByteString): [prefix: string, name: string] | undefined {
  if (!isAscii(path)) return undefined;
  if (path.length <= 100) return ['', path];
  if (path.length > 256) return undefined;
  const slash = path.indexOf('/', path.length - 101);
  return slash > 0 && slash <= 155 && slash < path.length - 1
    ? [path.slice(0, slash), path.slice(slash + 1)]
    : undefined;
}

/** Writes octal digits and a NUL. @returns false: the number does not fit, the field is left zero */
function octal(block: Buffer, [offset, length]: readonly [number, number], value: number): boolean {
  const digits = value < 0 ? undefined : value.toString(8);
  const fits = digits !== undefined && digits.length < length;
  block.write(`${(fits ? digits : '0').padStart(length - 1, '0')}\0`, offset, length, 'latin1');
  return fits;
}

function seal(block: Buffer): void {
  const [offset, length] = field.checksum;
  block.write(`${checksums(block).unsigned.toString(8).padStart(6, '0')}\0 `, offset, length, 'latin1');
}

function secondsOf(nanoseconds: bigint): number {
  const seconds = nanoseconds / 1_000_000_000n;
  return Number(nanoseconds < 0n && seconds * 1_000_000_000n !== nanoseconds ? seconds - 1n : seconds);
}
