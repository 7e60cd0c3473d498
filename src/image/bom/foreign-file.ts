import { TareError } from '../../errors/index.ts';
import type { VisibleFile } from '../../storage/index.ts';
import { readAt } from '../read-at.ts';

const PIECE_BYTES = 128 * 1024;
const MAX_LINE_BYTES = 1024 * 1024;

/** A part of an image cannot be read as what it claims to be. */
export const malformed = (path: string, problem: string): TareError =>
  new TareError('InvalidArgument', `${path}: ${problem}`);

/** Reads a file of an image whole. @throws {TareError} InvalidArgument: larger than `limitBytes` */
export function readWhole(file: VisibleFile, limitBytes: number): Buffer {
  const { sizeBytes } = file.status();
  if (sizeBytes > limitBytes) throw malformed(file.path, `${sizeBytes} bytes, at most ${limitBytes} are read`);
  using opened = file.open();
  const bytes = Buffer.alloc(sizeBytes);
  return bytes.subarray(0, readAt(opened.fd, bytes, 0));
}

/**
 * The lines of a text file, without their ends, in constant memory. Bytes that are no UTF-8 become U+FFFD.
 *
 * @throws {TareError} InvalidArgument: larger than `limitBytes`, or a line longer than 1 MiB
 */
export function* linesOf(file: VisibleFile, limitBytes: number): Generator<string, void, void> {
  const { sizeBytes } = file.status();
  if (sizeBytes > limitBytes) throw malformed(file.path, `${sizeBytes} bytes, at most ${limitBytes} are read`);
  using opened = file.open();
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  let rest: Buffer = Buffer.alloc(0);
  for (let offset = 0; ; ) {
    const size = readAt(opened.fd, piece, offset);
    if (size === 0) break;
    offset += size;
    const bytes = rest.length === 0 ? piece.subarray(0, size) : Buffer.concat([rest, piece.subarray(0, size)]);
    let start = 0;
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
      yield bytes.toString('utf8', start, end > start && bytes[end - 1] === 13 ? end - 1 : end);
      start = end + 1;
    }
    rest = Buffer.from(bytes.subarray(start));
    if (rest.length > MAX_LINE_BYTES) throw malformed(file.path, `a line of more than ${MAX_LINE_BYTES} bytes`);
  }
  if (rest.length > 0) yield rest.toString('utf8');
}
