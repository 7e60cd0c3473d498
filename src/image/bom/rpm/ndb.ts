import { readAt } from '../../read-at.ts';
import { malformed } from '../foreign-file.ts';

const DATABASE_MAGIC = 0x506d7052; // "RpmP"
const SLOT_MAGIC = 0x746f6c53; // "Slot"
const BLOB_MAGIC = 0x53626c42; // "BlbS"
const PAGE_BYTES = 4096;
const SLOT_BYTES = 16;
const BLOCK_BYTES = 16;
const MAX_SLOT_PAGES = 2048;
const MAX_BLOB_BYTES = 256 * 1024 * 1024;

/**
 * The headers in rpm's own database `Packages.db` (rpm, lib/backend/ndb/rpmpkg.c): pages of slots at the start, each naming
 * the blocks where a header lies. Little-endian.
 *
 * @throws {TareError} InvalidArgument: not such a database, or a slot that points elsewhere
 */
export function* ndbHeaders(fd: number, path: string, sizeBytes: number): Generator<Buffer, void, void> {
  const head = Buffer.alloc(32);
  if (readAt(fd, head, 0) < 32 || head.readUInt32LE(0) !== DATABASE_MAGIC)
    throw malformed(path, 'no ndb database of rpm');
  if (head.readUInt32LE(4) !== 0) throw malformed(path, `ndb version ${head.readUInt32LE(4)} is not supported`);
  const pages = head.readUInt32LE(12);
  if (pages === 0 || pages > MAX_SLOT_PAGES || pages * PAGE_BYTES > sizeBytes) {
    throw malformed(path, `${pages} pages of slots in ${sizeBytes} bytes`);
  }
  const slots = Buffer.alloc(pages * PAGE_BYTES);
  readAt(fd, slots, 0);
  // The first two slots' place is the database's header.
  for (let at = 2 * SLOT_BYTES; at < slots.length; at += SLOT_BYTES) {
    if (slots.readUInt32LE(at) !== SLOT_MAGIC) throw malformed(path, `no slot at byte ${at}`);
    const [index, block] = [slots.readUInt32LE(at + 4), slots.readUInt32LE(at + 8)];
    // A free slot.
    if (index === 0 || block === 0) continue;
    yield readBlob(fd, path, index, block * BLOCK_BYTES, sizeBytes);
  }
}

function readBlob(fd: number, path: string, index: number, offset: number, sizeBytes: number): Buffer {
  const head = Buffer.alloc(16);
  if (readAt(fd, head, offset) < 16 || head.readUInt32LE(0) !== BLOB_MAGIC || head.readUInt32LE(4) !== index) {
    throw malformed(path, `no header of package ${index} at byte ${offset}`);
  }
  const length = head.readUInt32LE(12);
  if (length > MAX_BLOB_BYTES || offset + 16 + length > sizeBytes) {
    throw malformed(path, `the header of package ${index} has ${length} bytes, more than the file holds`);
  }
  const blob = Buffer.alloc(length);
  readAt(fd, blob, offset + 16);
  return blob;
}
