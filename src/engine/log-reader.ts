import { dirname } from 'node:path';
import { LogChain } from './log-chain.ts';
import { LineJoiner } from './log-line-joiner.ts';
import { entryTime, LogLineReader } from './log-lines.ts';
import { LogNews } from './log-news.ts';
import { LogRunReader } from './log-runs.ts';
import type { LogEntry, LogOptions } from './types.ts';

/** Should a notice of the kernel's be lost. */
const LOOK_AGAIN_MS = 1_000;
/** A line that was begun is waited for so long. */
const PROMPT_MS = 50;
const ROUNDING_SECONDS = 1e-6;

/**
 * Entries of a log and its rotated files, oldest first. Memory stays flat: one block is held at a time.
 *
 * @param options with `follow`, the entries to come as well, across rotations
 * @param ended aborted when nobody will write any more: what is there is then read, and following ends
 */
export async function* readLog(path: string, options: LogOptions, ended?: AbortSignal): AsyncGenerator<LogEntry> {
  // A number of seconds is exact to a quarter of a microsecond today; an entry's own time must include the entry.
  const since = options.sinceSeconds === undefined ? '' : entryTime(options.sinceSeconds - ROUNDING_SECONDS);
  const until = options.untilSeconds === undefined ? undefined : entryTime(options.untilSeconds + ROUNDING_SECONDS);
  await using chain = new LogChain(path);
  await chain.open(options.tail);
  options.onOpen?.();
  using news = options.follow ? new LogNews(dirname(path), [ended, options.signal], options.untilSeconds) : undefined;
  let lines = new LogLineReader();
  const joiner = new LineJoiner();
  const isWanted = ({ time, stream }: LogEntry): boolean =>
    time >= since && (stream === 'stdout' ? options.stdout : options.stderr);
  for (;;) {
    // Asked before reading: what was written before the end is then sure to be read.
    const isLast = news === undefined || news.over;
    for (;;) {
      const block = await chain.read();
      if (options.signal?.aborted === true) return;
      if (block === undefined) break;
      for (const part of lines.push(block)) {
        if (until !== undefined && part.time > until) return;
        const entry = joiner.join(part);
        if (entry !== undefined && isWanted(entry)) yield entry;
      }
    }
    if (await chain.advance(options.follow)) lines = new LogLineReader();
    else if (chain.drained) {
      // A prompt has no newline either; it is shown when nothing follows for a moment.
      const isQuiet = !isLast && joiner.isHolding && !(await news.next(PROMPT_MS));
      if (isLast || isQuiet) for (const entry of joiner.flush()) if (isWanted(entry)) yield entry;
      if (isLast) return;
      if (!joiner.isHolding) await news.next(LOOK_AGAIN_MS);
    }
  }
}

/** What is there now of a log and its rotated files, in runs. @see LogRunReader */
export async function* readRuns(
  path: string,
  { stdout, stderr, tail, signal, onOpen }: Pick<LogOptions, 'stdout' | 'stderr' | 'tail' | 'signal' | 'onOpen'>,
): AsyncGenerator<LogEntry> {
  await using chain = new LogChain(path);
  await chain.open(tail);
  onOpen?.();
  let runs = new LogRunReader();
  for (;;) {
    for (;;) {
      const read = await chain.read(runs.room());
      if (signal?.aborted === true) return;
      if (read === undefined) break;
      for (const run of runs.take(read.length)) if (run.stream === 'stdout' ? stdout : stderr) yield run;
    }
    if (await chain.advance(false)) runs = new LogRunReader();
    else if (chain.drained) return;
  }
}
