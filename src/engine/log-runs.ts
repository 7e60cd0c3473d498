import { BLOCK_BYTES } from './log-files.ts';
import { isPartial, LETTER_O, MAX_ENTRY_BYTES, NEWLINE, SPACE } from './log-lines.ts';
import type { LogEntry } from './types.ts';

/** What docker's client takes in without making its buffer larger. */
const RUN_BYTES = 32 * 1024;

/**
 * Splits blocks of a log file into runs: what stands next to each other from one stream, many lines at once, for a reader that
 * wants nothing of the times. The heads are taken out in place: one pass, and nothing is made for a line.
 */
export class LogRunReader {
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  /** An entry without its end, at the block's start. */
  #restBytes = 0;

  /** Where the file's next bytes are to be put. */
  room(): Buffer {
    if (this.#restBytes > this.#block.length / 2) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#block.length);
      larger.set(this.#block.subarray(0, this.#restBytes));
      this.#block = larger;
    }
    return this.#block.subarray(this.#restBytes);
  }

  /** @param bytes that were put into the room. The runs are views of it: they end when the next bytes are put there */
  *take(bytes: number): Generator<LogEntry> {
    const buffer = this.#block.subarray(0, this.#restBytes + bytes);
    let start = 0;
    let stream: LogEntry['stream'] = 'stdout';
    let runStart = 0;
    let runEnd = 0;
    for (;;) {
      const newline = buffer.indexOf(NEWLINE, start);
      if (newline === -1) break;
      // As in parseLogLine: `TIME STREAM TAG CONTENT`.
      let timeEnd = start;
      while (timeEnd < newline && buffer[timeEnd] !== SPACE) timeEnd++;
      const content = timeEnd + 10;
      const isEntry = content <= newline && buffer[timeEnd + 7] === SPACE && buffer[timeEnd + 9] === SPACE;
      start = newline + 1;
      if (!isEntry) continue;
      const end = isPartial(buffer, timeEnd) ? newline : start;
      const of = buffer[timeEnd + 4] === LETTER_O ? 'stdout' : 'stderr';
      if (runEnd > runStart && (of !== stream || runEnd - runStart + end - content > RUN_BYTES)) {
        yield { stream, time: '', line: buffer.subarray(runStart, runEnd) };
        runStart = runEnd;
      }
      stream = of;
      buffer.copyWithin(runEnd, content, end);
      runEnd += end - content;
    }
    if (runEnd > runStart) yield { stream, time: '', line: buffer.subarray(runStart, runEnd) };
    // No monitor writes entries like that; what is no log must not grow in memory.
    this.#restBytes = buffer.length - start > MAX_ENTRY_BYTES ? 0 : buffer.copy(this.#block, 0, start);
  }
}
