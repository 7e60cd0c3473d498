import type { LogEntry } from './types.ts';

export const NEWLINE = 10;
export const SPACE = 32;
const LETTER_F = 70;
export const LETTER_O = 111;
export const MAX_ENTRY_BYTES = 16 * 1024 * 1024;

/** An entry as it stands in the file, and whether its line goes on in the next entry of its stream. */
export interface RawEntry extends LogEntry {
  partial: boolean;
}

/**
 * Parses one line of conmon's log, `TIME STREAM TAG CONTENT` (the CRI's format): tag F is a whole line or its end, P a part.
 * The content may be any bytes.
 *
 * @param end index of the newline that ends the entry
 * @returns undefined: not such a line (torn by a crash, or foreign)
 */
function parseLogLine(buffer: Buffer, start: number, end: number): RawEntry | undefined {
  const timeEnd = buffer.indexOf(SPACE, start);
  // "stdout" and "stderr" have six letters; a space and a tag of one letter follow, and a space even before no content.
  const content = timeEnd + 10;
  if (timeEnd === -1 || content > end || buffer[timeEnd + 7] !== SPACE || buffer[timeEnd + 9] !== SPACE)
    return undefined;
  const partial = isPartial(buffer, timeEnd);
  return {
    stream: buffer[timeEnd + 4] === LETTER_O ? 'stdout' : 'stderr',
    time: utcTime(buffer.toString('latin1', start, timeEnd)),
    // The newline of a partial entry is the file's, that of a whole one is the program's.
    line: buffer.subarray(content, partial ? end : end + 1),
    partial,
  };
}

/** Whether an entry is a part of a line that goes on. @param timeEnd index of the space behind its time */
export const isPartial = (buffer: Buffer, timeEnd: number): boolean => buffer[timeEnd + 8] !== LETTER_F;

/** Splits blocks of a log file into entries; an unfinished line waits for the next block. */
export class LogLineReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Bytes that wait for the rest of their entry. */
  get restBytes(): number {
    return this.#rest.length;
  }

  /** The block must not be written to afterwards: the entries are views of it. */
  *push(block: Buffer): Generator<RawEntry> {
    const buffer = this.#rest.length === 0 ? block : Buffer.concat([this.#rest, block]);
    let start = 0;
    for (;;) {
      const end = buffer.indexOf(NEWLINE, start);
      if (end === -1) break;
      const entry = parseLogLine(buffer, start, end);
      if (entry !== undefined) yield entry;
      start = end + 1;
    }
    this.#rest = buffer.subarray(start);
    // No monitor writes entries like that; what is no log must not grow in memory.
    if (this.#rest.length > MAX_ENTRY_BYTES) this.#rest = Buffer.alloc(0);
  }
}

/** RFC 3339 with nanoseconds, in UTC; conmon writes the offset of its time zone. */
function utcTime(text: string): string {
  if (text.endsWith('Z')) return text;
  if (text.endsWith('+00:00')) return `${text.slice(0, -6)}Z`;
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds)) return text;
  const fraction = /\.\d+/.exec(text)?.[0] ?? '';
  return `${new Date(milliseconds).toISOString().slice(0, 19)}${fraction}Z`;
}

/** The time in the form that entries have, so that the two compare as text. @param seconds since the epoch */
export function entryTime(seconds: number): string {
  const whole = Math.floor(seconds);
  const fraction = Math.min(999_999_999, Math.round((seconds - whole) * 1e9));
  return `${new Date(whole * 1000).toISOString().slice(0, 19)}.${String(fraction).padStart(9, '0')}Z`;
}
