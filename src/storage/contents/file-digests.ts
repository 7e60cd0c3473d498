import { createHash } from 'node:crypto';
import { readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, OpenFile, openAt } from '../../linux/index.ts';
import type { MergedEntry } from '../layers/merged-folder.ts';
import { entryHeader } from './entry-digest.ts';

const RECORD_BYTES = 56;
const PIECE_BYTES = 1024 * 1024;
/** Fewer new digests than this are not worth a new file. */
const WORTH_WRITING = 16;

const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

/**
 * Records by inode, in plain memory: as objects, those of a million files would fill a thread's heap.
 *
 * A record is as in the file: inode, time of the last change, size, digest.
 */
class Records {
  #bytes: Buffer;
  #count: number;
  /** Places of records, plus one; where an inode's should be is taken by another, it is in the next free slot. */
  #slots = new Uint32Array(0);

  /** @param bytes which become its own; what is no whole record at their end is dropped */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#count = Math.floor(bytes.length / RECORD_BYTES);
    this.#index();
  }

  /** All of them, one after the other. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#count * RECORD_BYTES);
  }

  /** @returns where the inode's record begins in `bytes`; undefined: there is none */
  find(inode: bigint): number | undefined {
    const place = this.#slots[this.#slot(inode)]!;
    return place === 0 ? undefined : (place - 1) * RECORD_BYTES;
  }

  /** @returns where the inode's record begins, which is to be filled in behind the inode */
  take(inode: bigint): number {
    const known = this.find(inode);
    if (known !== undefined) return known;
    if ((this.#count + 1) * RECORD_BYTES > this.#bytes.length) this.#grow();
    const at = this.#count * RECORD_BYTES;
    this.#bytes.writeBigUInt64LE(inode, at);
    this.#count += 1;
    this.#slots[this.#slot(inode)] = this.#count;
    return at;
  }

  #slot(inode: bigint): number {
    const mask = this.#slots.length - 1;
    let slot = Number(BigInt.asUintN(32, inode * MIXER) >> 4n) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#bytes.readBigUInt64LE((this.#slots[slot]! - 1) * RECORD_BYTES) === inode) break;
    }
    return slot;
  }

  #grow(): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(1024, this.#count * 2) * RECORD_BYTES);
    this.bytes.copy(larger);
    this.#bytes = larger;
    this.#index();
  }

  /** There are at least twice as many slots as records have room. */
  #index(): void {
    const room = Math.ceil(this.#bytes.length / RECORD_BYTES);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(room * 2 + 2)));
    for (let place = 1; place <= this.#count; place += 1) {
      const inode = this.#bytes.readBigUInt64LE((place - 1) * RECORD_BYTES);
      // Of two for one inode, the later.
      this.#slots[this.#slot(inode)] = place;
    }
  }
}

/** An odd number that spreads neighbours (Knuth). */
const MIXER = 2_654_435_761n;

/**
 * Digests of the files of one folder with what counts of each beside its content, remembered beside it by inode, time of the last change
 * and size: what did not change is not read again. A file of 56 bytes each; whatever it says wrongly or not at all is found anew.
 */
export class FileDigests {
  readonly #path: string;
  readonly #known: Records;
  #newCount = 0;

  constructor(path: string) {
    this.#path = path;
    this.#known = new Records(read(path));
  }

  /** @returns bytes that are not to be kept: the next call may change them */
  of(entry: Pick<MergedEntry, 'status' | 'layerFd' | 'path'>): Buffer {
    const { inode, changeNs, sizeBytes } = entry.status;
    const known = this.#known.find(inode);
    if (known !== undefined) {
      const { bytes } = this.#known;
      const isSame =
        bytes.readBigInt64LE(known + 8) === changeNs && bytes.readBigUInt64LE(known + 16) === BigInt(sizeBytes);
      if (isSame) return bytes.subarray(known + 24, known + RECORD_BYTES);
    }
    const digest = digestOfFile(entry);
    const at = this.#known.take(inode);
    const { bytes } = this.#known;
    bytes.writeBigInt64LE(changeNs, at + 8);
    bytes.writeBigUInt64LE(BigInt(sizeBytes), at + 16);
    digest.copy(bytes, at + 24);
    this.#newCount += 1;
    return digest;
  }

  /** Remembers what was found. A failure costs only time later. */
  save(): void {
    if (this.#newCount < WORTH_WRITING) return;
    const draft = `${this.#path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    try {
      writeFileSync(draft, this.#known.bytes, { mode: 0o600 });
      renameSync(draft, this.#path);
    } catch {
      // The layer is going, or the disk is full.
    }
  }
}

function digestOfFile(entry: Pick<MergedEntry, 'status' | 'layerFd' | 'path'>): Buffer {
  const hash = createHash('sha256').update(entryHeader(entry));
  if (entry.status.sizeBytes > 0) {
    using file = new OpenFile(openAt(entry.layerFd, entry.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    for (let size = readSync(file.fd, piece); size > 0; size = readSync(file.fd, piece)) {
      hash.update(piece.subarray(0, size));
    }
  }
  return hash.digest();
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
