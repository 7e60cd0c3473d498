import type { RawEntry } from './log-lines.ts';
import type { LogEntry } from './types.ts';

/** A longer line comes in pieces of about this size, so that a program that never ends its line can't fill the memory. */
const MAX_LINE_BYTES = 1024 * 1024;
/** What a part takes beside its bytes: conmon makes one of each byte, if a program writes them one by one. */
const PART_BYTES = 256;

interface Begun {
  time: string;
  parts: Uint8Array[];
  bytes: number;
}

/**
 * Joins lines that conmon wrote in parts: it does so wherever its 8 KiB read happened to end, so a part of its own would
 * get a time of its own in the middle of a line.
 */
export class LineJoiner {
  readonly #begun: Record<LogEntry['stream'], Begun | undefined> = { stdout: undefined, stderr: undefined };

  get isHolding(): boolean {
    return this.#begun.stdout !== undefined || this.#begun.stderr !== undefined;
  }

  /** @returns undefined: the line goes on. A joined line has the time of its first part */
  join(entry: RawEntry): LogEntry | undefined {
    const begun = this.#begun[entry.stream];
    if (begun === undefined && !entry.partial) return entry;
    const line = begun ?? { time: entry.time, parts: [], bytes: 0 };
    this.#begun[entry.stream] = line;
    line.parts.push(entry.line);
    line.bytes += entry.line.length + PART_BYTES;
    return entry.partial && line.bytes < MAX_LINE_BYTES ? undefined : this.#take(entry.stream);
  }

  /** Lines that were begun, as far as they came. */
  *flush(): Generator<LogEntry> {
    for (const stream of ['stdout', 'stderr'] as const) {
      const entry = this.#take(stream);
      if (entry !== undefined) yield entry;
    }
  }

  #take(stream: LogEntry['stream']): LogEntry | undefined {
    const begun = this.#begun[stream];
    if (begun === undefined) return undefined;
    this.#begun[stream] = undefined;
    return { stream, time: begun.time, line: Buffer.concat(begun.parts) };
  }
}
