import { createHash } from 'node:crypto';
import { readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, OpenFile, openAt } from '../../linux/index.ts';
import type { MergedEntry } from '../layers/merged-folder.ts';
import { entryHeader } from './entry-digest.ts';

const RECORD_BYTES = 56;
const PIECE_BYTES = 1024 * 1024;
/** Fewer new digests than this are not worth a new file. */
const WORTH_WRITING = 16;

interface Known {
  changeNs: bigint;
  sizeBytes: bigint;
  digest: Buffer;
}

const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

/**
 * Digests of the files of one folder with what counts of each beside its content, remembered beside it by inode, time of the last change and size: what did not change is
 * not read again. A file of 56 bytes each; whatever it says wrongly or not at all is found anew.
 */
export class FileDigests {
  readonly #path: string;
  readonly #known = new Map<bigint, Known>();
  #newCount = 0;

  constructor(path: string) {
    this.#path = path;
    const bytes = read(path);
    for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      this.#known.set(bytes.readBigUInt64LE(at), {
        changeNs: bytes.readBigInt64LE(at + 8),
        sizeBytes: bytes.readBigUInt64LE(at + 16),
        digest: bytes.subarray(at + 24, at + RECORD_BYTES),
      });
    }
  }

  of(entry: Pick<MergedEntry, 'status' | 'layerFd' | 'path'>): Buffer {
    const { status } = entry;
    const sizeBytes = BigInt(status.sizeBytes);
    const known = this.#known.get(status.inode);
    if (known?.changeNs === status.changeNs && known.sizeBytes === sizeBytes) return known.digest;
    const digest = digestOfFile(entry);
    this.#known.set(status.inode, { changeNs: status.changeNs, sizeBytes, digest });
    this.#newCount += 1;
    return digest;
  }

  /** Remembers what was found. A failure costs only time later. */
  save(): void {
    if (this.#newCount < WORTH_WRITING) return;
    const bytes = Buffer.allocUnsafe(this.#known.size * RECORD_BYTES);
    let at = 0;
    for (const [inode, { changeNs, sizeBytes, digest }] of this.#known) {
      bytes.writeBigUInt64LE(inode, at);
      bytes.writeBigInt64LE(changeNs, at + 8);
      bytes.writeBigUInt64LE(sizeBytes, at + 16);
      digest.copy(bytes, at + 24);
      at += RECORD_BYTES;
    }
    const draft = `${this.#path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    try {
      writeFileSync(draft, bytes, { mode: 0o600 });
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
