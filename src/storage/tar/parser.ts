import type { ByteString } from '../../linux/index.ts';
import {
  BLOCK,
  checksums,
  field,
  invalidArchive,
  isZeroBlock,
  numberField,
  paddingOf,
  type TarEntryType,
  type TarHeader,
  textField,
} from './header.ts';
import { applyPax, type PaxRecords, parsePax, type SparseRecords } from './pax.ts';
import { parseOldSparse, parseSparseLines, type SparseMap, sparseMap } from './sparse.ts';

/** A PAX header or long name may be this long: room for several 64 KiB attributes, no room to fill memory. */
const METADATA_LIMIT = 1024 * 1024;

/**
 * What the parser met:
 * `more` wants `push` or `end`; `entry` has a new `header`; `data` has a `chunk` of the current file at `offset`;
 * `entryEnd` follows the last data of each entry; `finished`: the archive is over, what follows is padding.
 */
export type TarStep = 'more' | 'entry' | 'data' | 'entryEnd' | 'finished';

const types: Record<string, TarEntryType> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'link',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/**
 * Reads a tar as its bytes arrive, in constant memory, without waiting: the caller alternates `next` and `push`, so one
 * parser serves synchronous workers and asynchronous streams. Knows v7, ustar, PAX, GNU long names, base-256 numbers,
 * and the four sparse formats. Global PAX headers are skipped, as Docker and containerd do.
 *
 * `next` throws TareError InvalidArgument for malformed and truncated archives, naming the entry.
 */
export class TarParser {
  header!: TarHeader;
  /** A view into the pushed bytes, valid until the next call. */
  chunk!: Buffer;
  /** Where in the file `chunk` belongs; jumps over holes. */
  offset = 0;
  /** Whether the current file has holes: then its data does not lie in the archive as it is. */
  isSparse = false;

  #pending: Buffer = Buffer.alloc(0);
  #at = 0;
  #ended = false;
  readonly #steps: Generator<TarStep, void, void>;

  constructor() {
    this.#steps = this.#run();
  }

  /** Hands over bytes; only after `next` said `more`. */
  push(chunk: Uint8Array): void {
    this.#pending = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#at = 0;
  }

  /** Says that no more bytes come; only after `next` said `more`. */
  end(): void {
    this.#ended = true;
  }

  next(): TarStep {
    const { value, done } = this.#steps.next();
    return done ? 'finished' : (value as TarStep);
  }

  *#run(): Generator<TarStep, void, void> {
    let pax: PaxRecords = [];
    let longName: ByteString | undefined;
    let longTarget: ByteString | undefined;
    for (;;) {
      const block = yield* this.#take(BLOCK, 'a header');
      // The end is two zero blocks; like other readers we take one, or a plain end of file between entries.
      if (block === undefined || isZeroBlock(block)) {
        if (pax.length > 0 || longName !== undefined || longTarget !== undefined) {
          throw invalidArchive('it ends after an extended header, before the entry that header is for');
        }
        return;
      }
      verifyChecksum(block);
      const flag = textField(block, field.type) || '\0';
      const size = sizeField(block);
      if (flag === 'x' || flag === 'X') {
        pax = parsePax(yield* this.#metadata(size, 'PAX extended header'));
      } else if (flag === 'g' || flag === 'V') {
        yield* this.#skip(size + paddingOf(size));
      } else if (flag === 'L') {
        longName = cText(yield* this.#metadata(size, 'GNU long name'));
      } else if (flag === 'K') {
        longTarget = cText(yield* this.#metadata(size, 'GNU long link'));
      } else {
        yield* this.#entry(block, flag, size, pax, longName, longTarget);
        pax = [];
        longName = undefined;
        longTarget = undefined;
      }
    }
  }

  *#entry(
    block: Buffer,
    flag: string,
    blockSize: number,
    pax: PaxRecords,
    longName: ByteString | undefined,
    longTarget: ByteString | undefined,
  ): Generator<TarStep, void, void> {
    const header = decodeHeader(block, flag);
    header.path = longName ?? header.path;
    header.linkTarget = longTarget ?? header.linkTarget;
    // Copied: reading further blocks may reuse the memory behind this one.
    const oldSparse = flag === 'S' ? Buffer.from(block) : undefined;
    const { size = blockSize, sparse } = applyPax(header, pax);
    check(header, size);
    // Before ustar a directory was a file whose name ends in a slash. Its whole name: what the block has may be cut there.
    if (header.type === 'file' && header.path.endsWith('/') && flag !== 'S') header.type = 'directory';
    let stored = size;
    let map: SparseMap | undefined;
    if (header.type !== 'file') {
      // A size on other types says nothing about data (Go's archive/tar and GNU tar read none).
      stored = 0;
    } else if (oldSparse !== undefined) {
      map = yield* this.#oldSparse(oldSparse, header, stored);
    } else if (sparse !== undefined) {
      const read = yield* this.#paxSparse(sparse, header, stored);
      map = read.map;
      stored = read.stored;
    }
    header.sizeBytes = header.type === 'file' ? (map?.sizeBytes ?? stored) : 0;
    this.header = header;
    this.isSparse = map !== undefined;
    yield 'entry';
    if (map === undefined) {
      yield* this.#data(0, stored);
    } else {
      for (const { offset, length } of map.extents) yield* this.#data(offset, length);
    }
    // umoci's layers end without their last padding, and Go's reader takes them so.
    yield* this.#skip(paddingOf(stored), true);
    yield 'entryEnd';
  }

  *#oldSparse(block: Buffer, header: TarHeader, stored: number): Generator<TarStep, SparseMap, void> {
    const { numbers, sizeBytes, isExtended } = parseOldSparse(block, header.path);
    for (let more = isExtended; more; ) {
      const extension = (yield* this.#take(BLOCK, 'a sparse map')) ?? this.#truncated('a sparse map');
      more = parseOldSparse(extension, header.path, numbers).isExtended;
    }
    return sparseMap(numbers, sizeBytes, stored, header.path);
  }

  *#paxSparse(
    sparse: SparseRecords,
    header: TarHeader,
    stored: number,
  ): Generator<TarStep, { map: SparseMap; stored: number }, void> {
    if (sparse.map !== undefined) {
      return { map: sparseMap(sparse.map, sparse.sizeBytes, stored, header.path), stored };
    }
    // Format 1.0: the map is decimal lines in blocks of their own before the data, counted in the stored size.
    const numbers: number[] = [];
    let used = 0;
    for (let text = ''; ; ) {
      if (used + BLOCK > stored) throw invalidArchive('its sparse map is longer than its data', header.path);
      const block = (yield* this.#take(BLOCK, 'a sparse map')) ?? this.#truncated('a sparse map');
      used += BLOCK;
      const read = parseSparseLines(text + block.toString('latin1'), numbers, header.path);
      if (read.isComplete) break;
      text = read.rest;
    }
    const rest = stored - used;
    return { map: sparseMap(numbers.slice(1), sparse.sizeBytes, rest, header.path), stored: rest };
  }

  *#data(offset: number, length: number): Generator<TarStep, void, void> {
    for (let done = 0; done < length; ) {
      const available = this.#pending.length - this.#at;
      if (available === 0) {
        if (this.#ended) this.#truncated(`the data of ${JSON.stringify(this.header.path)}`);
        yield 'more';
        continue;
      }
      const size = Math.min(available, length - done);
      this.chunk = this.#pending.subarray(this.#at, this.#at + size);
      this.offset = offset + done;
      this.#at += size;
      done += size;
      yield 'data';
    }
  }

  *#metadata(size: number, what: string): Generator<TarStep, Buffer, void> {
    if (size > METADATA_LIMIT) throw invalidArchive(`a ${what} of ${size} bytes; at most ${METADATA_LIMIT} are read`);
    const bytes = (yield* this.#take(size, `a ${what}`)) ?? this.#truncated(`a ${what}`);
    // Copied, because the records outlive this chunk.
    const kept = Buffer.from(bytes);
    yield* this.#skip(paddingOf(size));
    return kept;
  }

  *#skip(length: number, mayEnd = false): Generator<TarStep, void, void> {
    for (let left = length; left > 0; ) {
      const available = this.#pending.length - this.#at;
      if (available === 0) {
        if (this.#ended && mayEnd) return;
        if (this.#ended) this.#truncated('padding');
        yield 'more';
        continue;
      }
      const size = Math.min(available, left);
      this.#at += size;
      left -= size;
    }
  }

  /** Exactly so many bytes, or undefined at a clean end. */
  *#take(length: number, what: string): Generator<TarStep, Buffer | undefined, void> {
    if (this.#pending.length - this.#at >= length) {
      this.#at += length;
      return this.#pending.subarray(this.#at - length, this.#at);
    }
    const whole = Buffer.allocUnsafe(length);
    for (let filled = 0; ; ) {
      const copied = this.#pending.copy(whole, filled, this.#at);
      this.#at += copied;
      filled += copied;
      if (filled === length) return whole;
      if (this.#ended) return filled === 0 ? undefined : this.#truncated(what);
      yield 'more';
    }
  }

  #truncated(what: string): never {
    throw invalidArchive(`it is truncated in ${what}`, this.header?.path);
  }
}

function verifyChecksum(block: Buffer): void {
  const [offset, length] = field.checksum;
  const text = block.toString('latin1', offset, offset + length).replace(/^[ \0]+|[ \0]+$/g, '');
  const { unsigned, signed } = checksums(block);
  const stored = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : -1;
  if (stored !== unsigned && stored !== signed) {
    throw invalidArchive('a header has a wrong checksum: this is no tar, or it is damaged');
  }
}

function sizeField(block: Buffer): number {
  const size = numberField(block, field.size, 'size');
  if (size < 0) throw invalidArchive(`negative size ${size}`, textField(block, field.name));
  return size;
}

function decodeHeader(block: Buffer, flag: string): TarHeader {
  let path = textField(block, field.name);
  const magic = block.toString('latin1', field.magic[0], field.magic[0] + 6);
  // GNU's magic is `ustar ` and uses the prefix field for other things.
  if (magic === 'ustar\0') {
    const prefix = textField(block, field.prefix);
    if (prefix !== '') path = `${prefix}/${path}`;
  }
  const type = types[flag];
  if (type === undefined) {
    throw invalidArchive(`type ${JSON.stringify(flag)} is not supported (files, links, devices and folders are)`, path);
  }
  const isDevice = type === 'character' || type === 'block';
  return {
    path,
    type,
    mode: numberField(block, field.mode, 'mode') & 0o7777,
    uid: numberField(block, field.uid, 'uid'),
    gid: numberField(block, field.gid, 'gid'),
    sizeBytes: 0,
    modifyNs: BigInt(numberField(block, field.mtime, 'mtime')) * 1_000_000_000n,
    linkTarget: textField(block, field.linkTarget),
    deviceMajor: isDevice ? numberField(block, field.deviceMajor, 'device number') : 0,
    deviceMinor: isDevice ? numberField(block, field.deviceMinor, 'device number') : 0,
    xattrs: new Map(),
  };
}

const LARGEST_ID = 0xffff_fffe;

function check(header: TarHeader, size: number): void {
  if (size < 0) throw invalidArchive(`negative size ${size}`, header.path);
  for (const [what, id] of [
    ['uid', header.uid],
    ['gid', header.gid],
  ] as const) {
    // 2^32-1 means "leave alone" to chown.
    if (id < 0 || id > LARGEST_ID)
      throw invalidArchive(`${what} ${id} is not between 0 and ${LARGEST_ID}`, header.path);
  }
}

const cText = (bytes: Buffer): ByteString => {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
};
