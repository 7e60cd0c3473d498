import type { ByteString } from '../../linux/index.ts';
import { invalidArchive, numberField } from './header.ts';

/** Where the stored bytes of a file with holes belong. */
export interface SparseMap {
  extents: { offset: number; length: number }[];
  /** With the holes. */
  sizeBytes: number;
}

/** More extents than any real file has, few enough to hold. */
const EXTENT_LIMIT = 1 << 20;

/**
 * Checks a map: extents in order, apart, inside the file, and exactly as long as what is stored.
 *
 * @param numbers offset, length, offset, length, …
 */
export function sparseMap(
  numbers: readonly number[],
  sizeBytes: number | undefined,
  stored: number,
  path: ByteString,
): SparseMap {
  if (sizeBytes === undefined || sizeBytes < 0) throw invalidArchive('a sparse file without its real size', path);
  if (numbers.length % 2 !== 0) throw invalidArchive('an odd sparse map', path);
  const extents: SparseMap['extents'] = [];
  let end = 0;
  let total = 0;
  for (let at = 0; at < numbers.length; at += 2) {
    const offset = numbers[at] as number;
    const length = numbers[at + 1] as number;
    if (offset < end || length < 0 || offset + length > sizeBytes) {
      throw invalidArchive(`sparse extent ${offset}+${length} overlaps or lies outside ${sizeBytes} bytes`, path);
    }
    end = offset + length;
    total += length;
    if (length > 0) extents.push({ offset, length });
  }
  if (total !== stored) throw invalidArchive(`its sparse map counts ${total} bytes, ${stored} are stored`, path);
  return { extents, sizeBytes };
}

/**
 * Reads the map in an old GNU header (typeflag S, four extents at 386) or, with `numbers` to add to, in an extension
 * block (21 extents at 0).
 */
export function parseOldSparse(
  block: Buffer,
  path: ByteString,
  numbers?: number[],
): { numbers: number[]; sizeBytes: number; isExtended: boolean } {
  const [start, count, flag] = numbers === undefined ? [386, 4, 482] : [0, 21, 504];
  const all = numbers ?? [];
  for (let at = start; at < start + count * 24; at += 24) {
    const length = numberField(block, [at + 12, 12], 'sparse length');
    if (block[at] !== 0) all.push(numberField(block, [at, 12], 'sparse offset'), length);
  }
  if (all.length > 2 * EXTENT_LIMIT) throw invalidArchive(`more than ${EXTENT_LIMIT} sparse extents`, path);
  const sizeBytes = numbers === undefined ? numberField(block, [483, 12], 'real size') : 0;
  return { numbers: all, sizeBytes, isExtended: block[flag] !== 0 };
}

/** Adds the complete decimal lines of a 1.0 map; the first is the number of extents. */
export function parseSparseLines(
  text: string,
  numbers: number[],
  path: ByteString,
): { isComplete: boolean; rest: string } {
  let at = 0;
  for (;;) {
    if (numbers.length > 0 && numbers.length === 1 + 2 * (numbers[0] as number)) return { isComplete: true, rest: '' };
    const end = text.indexOf('\n', at);
    if (end === -1) break;
    const line = text.slice(at, end);
    if (!/^[0-9]{1,15}$/.test(line)) throw invalidArchive('malformed sparse map', path);
    numbers.push(Number(line));
    if ((numbers[0] as number) > EXTENT_LIMIT) throw invalidArchive(`more than ${EXTENT_LIMIT} sparse extents`, path);
    at = end + 1;
  }
  const rest = text.slice(at);
  if (rest.length > 16) throw invalidArchive('malformed sparse map', path);
  return { isComplete: false, rest };
}
