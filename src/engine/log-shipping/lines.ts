import type { LogEntry } from '../types.ts';
import type { ShippedLine } from './sink.ts';

/** Docker's copier sends no longer pieces. */
const MAX_TEXT_BYTES = 16 * 1024;
const NEWLINE = 10;

/** An entry of a log as lines to send: one, or the parts of a long one. @param partId names a line that has parts */
export function* shippedLines({ stream, time, line }: LogEntry, partId: () => string): Generator<ShippedLine> {
  const text = line.at(-1) === NEWLINE ? line.subarray(0, -1) : line;
  if (text.length <= MAX_TEXT_BYTES) {
    yield { stream, time, text };
    return;
  }
  const id = partId();
  for (let ordinal = 1, start = 0; start < text.length; ordinal += 1) {
    const end = characterEnd(text, start + MAX_TEXT_BYTES);
    yield { stream, time, text: text.subarray(start, end), part: { id, ordinal, isLast: end === text.length } };
    start = end;
  }
}

/** `end` or up to three bytes before it, so that no character of UTF-8 is cut. */
function characterEnd(text: Uint8Array, end: number): number {
  if (end >= text.length) return text.length;
  let at = end;
  while (at > end - 3 && ((text[at] as number) & 0xc0) === 0x80) at -= 1;
  return at;
}
