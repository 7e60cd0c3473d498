import { randomBytes } from 'node:crypto';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../errors/index.ts';
import { LogChain, type LogCursor } from '../log-chain.ts';
import { identityOf } from '../log-files.ts';
import { LineJoiner } from '../log-line-joiner.ts';
import { LogLineReader } from '../log-lines.ts';
import { LogNews } from '../log-news.ts';
import type { LogEntry } from '../types.ts';
import { shippedLines } from './lines.ts';
import type { LogSink, ShippedLine } from './sink.ts';

/** Should a notice of the kernel's be lost. */
const LOOK_AGAIN_MS = 1_000;
/** A line that was begun is waited for so long. */
const PROMPT_MS = 50;
/** The cursor is written no more often while lines keep coming. */
const SAVE_MS = 200;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 15_000;
const BATCH_BYTES = 256 * 1024;

export interface Shipment {
  logPath: string;
  /** Where it is written how far the log was sent. */
  cursorPath: string;
  sink: LogSink;
  /** Aborted when nobody writes any more: the rest is sent, then it is over. */
  ended: AbortSignal;
  /** Aborted when there is no time left: what is not sent stays unsent. */
  stop: AbortSignal;
  report: (error: unknown) => void;
}

/** Follows a log from where it was sent, and sends what comes. A line may be sent twice after a kill, never out of order. */
export async function ship(shipment: Shipment): Promise<void> {
  const { logPath, ended, stop } = shipment;
  await using chain = new LogChain(logPath);
  await openAtCursor(chain, shipment);
  using news = new LogNews(dirname(logPath), [ended, stop], undefined);
  const delivery = new Delivery(shipment);
  let lines = new LogLineReader();
  const joiner = new LineJoiner();
  for (;;) {
    // Asked before reading: what was written before the end is then sure to be read.
    const isLast = ended.aborted;
    for (;;) {
      const block = await chain.read();
      if (stop.aborted) return;
      if (block === undefined) break;
      for (const raw of lines.push(block)) {
        const entry = joiner.join(raw);
        if (entry !== undefined) await delivery.add(entry);
      }
      // A line that was begun is read again from its start, should this be as far as we come.
      if (!joiner.isHolding) await delivery.sentUpTo(chain.cursor, lines.restBytes);
    }
    if (await chain.advance(true)) {
      lines = new LogLineReader();
      continue;
    }
    if (!chain.drained) continue;
    const isQuiet = !isLast && joiner.isHolding && !(await news.next(PROMPT_MS));
    if (isLast || isQuiet) for (const entry of joiner.flush()) await delivery.add(entry);
    if (!joiner.isHolding) await delivery.sentUpTo(chain.cursor, lines.restBytes, true);
    if (isLast || stop.aborted) return;
    if (!joiner.isHolding) await news.next(LOOK_AGAIN_MS);
  }
}

/** Whether all that a log has was sent. */
export async function isShipped(logPath: string, cursorPath: string): Promise<boolean> {
  const log = await stat(logPath, { bigint: true }).catch(() => undefined);
  if (log === undefined || log.size === 0n) return true;
  const cursor = await readCursor(cursorPath);
  return cursor !== undefined && cursor.identity === identityOf(log) && BigInt(cursor.offset) >= log.size;
}

async function openAtCursor(chain: LogChain, { cursorPath, report }: Shipment): Promise<void> {
  const cursor = await readCursor(cursorPath);
  if (cursor === undefined) await chain.open(undefined);
  else if (!(await chain.openAt(cursor)))
    report(new Error('lines were rotated away before the collector took them: what is left is sent'));
}

/** Sends in batches, again and again until the collector takes them. */
class Delivery {
  readonly #shipment: Shipment;
  #batch: ShippedLine[] = [];
  #bytes = 0;
  #savedAt = 0;
  #saved = '';

  constructor(shipment: Shipment) {
    this.#shipment = shipment;
  }

  async add(entry: LogEntry): Promise<void> {
    for (const line of shippedLines(entry, () => randomBytes(32).toString('hex'))) {
      this.#batch.push(line);
      this.#bytes += line.text.length;
      if (this.#bytes >= BATCH_BYTES) await this.#send();
    }
  }

  /** Sends what there is, then notes the place. @param restBytes read, but not a whole entry yet */
  async sentUpTo(cursor: LogCursor | undefined, restBytes: number, isQuiet = false): Promise<void> {
    await this.#send();
    if (cursor === undefined || this.#shipment.stop.aborted) return;
    if (!isQuiet && performance.now() - this.#savedAt < SAVE_MS) return;
    const text = JSON.stringify({ identity: cursor.identity, offset: cursor.offset - restBytes });
    if (text === this.#saved) return;
    // The folder may have gone with its container.
    await writeFile(`${this.#shipment.cursorPath}.new`, text, { mode: 0o600 })
      .then(() => rename(`${this.#shipment.cursorPath}.new`, this.#shipment.cursorPath))
      .catch(() => undefined);
    this.#saved = text;
    this.#savedAt = performance.now();
  }

  async #send(): Promise<void> {
    const { sink, stop, report } = this.#shipment;
    let failed = '';
    for (let pauseMs = FIRST_RETRY_MS; this.#batch.length > 0 && !stop.aborted; ) {
      try {
        // A collector may take a connection and then nothing more.
        await unlessStopped(sink.send(this.#batch), stop);
        break;
      } catch (error) {
        // A collector that is away for hours is told of once.
        if (messageOf(error) !== failed) report(error);
        failed = messageOf(error);
        await sleep(pauseMs, undefined, { signal: stop, ref: false }).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS);
      }
    }
    this.#batch = [];
    this.#bytes = 0;
  }
}

/** Resolves with the work, or when there is no time left; a signal that lives long keeps nothing of it. */
async function unlessStopped(work: Promise<void>, stop: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stopped = () => resolve();
  stop.addEventListener('abort', stopped, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    stop.removeEventListener('abort', stopped);
  }
}

async function readCursor(path: string): Promise<LogCursor | undefined> {
  try {
    const { identity, offset } = JSON.parse(await readFile(path, 'utf8')) as LogCursor;
    return Number.isSafeInteger(offset) && offset >= 0 ? { identity, offset } : undefined;
  } catch {
    return undefined;
  }
}
