import { setImmediate } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import { cursorBefore, type Database, eventsAfter, lastEventID, type Trimmed, trimmedEvents } from '../state/index.ts';
import { eventFilter } from './event-filter.ts';
import { parseMoment } from './moments.ts';
import type { EventRecord, EventService } from './types.ts';

const PAGE = 500;
const NS_PER_MS = 1_000_000n;

/** Past and live events, read from the records by a cursor: what happened while nobody listened is there too. */
export function createEventService(db: Database): EventService {
  return { subscribe: (options) => subscribe(db, options) };
}

/** Looks for its place at once, so that what happens before the first event is asked for is not missed. */
function subscribe(
  db: Database,
  { since = '', until = '', filters = {}, signal }: Parameters<EventService['subscribe']>[0],
): AsyncIterable<EventRecord> {
  const nowMs = Date.now();
  const sinceNs = since === '' ? undefined : parseMoment(since, nowMs);
  const untilNs = until === '' ? undefined : parseMoment(until, nowMs);
  if (sinceNs !== undefined && untilNs !== undefined && sinceNs > untilNs) {
    throw new TareError('InvalidArgument', `\`since\` time (${since}) cannot be after \`until\` time (${until})`);
  }
  const matches = eventFilter(filters);
  const live = lastEventID(db);
  // As docker has it: with an end alone, all that is known up to it.
  const cursor = sinceNs !== undefined ? cursorBefore(db, sinceNs) : untilNs !== undefined ? 0 : live;
  const trimmed = cursor < live ? trimmedEvents(db) : undefined;
  const isIncomplete = trimmed !== undefined && cursor <= trimmed.id && (sinceNs ?? 0n) <= trimmed.timeNs;
  const isWanted = (event: EventRecord): boolean =>
    (untilNs === undefined || event.timeNs <= untilNs) &&
    // Past ones are chosen by time, live ones are not: a clock that is set back hides none.
    (event.id > live || sinceNs === undefined || event.timeNs >= sinceNs) &&
    matches(event);
  return follow(db, {
    ...{ untilNs, signal, isWanted },
    cursor: Math.max(cursor, trimmed?.id ?? 0),
    before: isIncomplete ? lostBefore(trimmed) : undefined,
  });
}

interface Following {
  /** Id of the event before the first. */
  cursor: number;
  untilNs: bigint | undefined;
  signal: AbortSignal | undefined;
  isWanted(event: EventRecord): boolean;
  /** Told first. */
  before: EventRecord | undefined;
}

async function* follow(db: Database, following: Following): AsyncGenerator<EventRecord> {
  const { untilNs, isWanted, before } = following;
  let { cursor } = following;
  function* recorded(): Generator<EventRecord> {
    for (;;) {
      const page = eventsAfter(db, cursor, PAGE) as EventRecord[];
      const first = page[0];
      // Ids have no gaps but where the oldest were trimmed: this reader was slower than that.
      if (first !== undefined && first.id > cursor + 1) yield lostBetween(cursor, first);
      for (const event of page) {
        cursor = event.id;
        if (isWanted(event)) yield event;
      }
      if (page.length < PAGE) return;
    }
  }
  if (before !== undefined) yield before;
  using stop = new Deadline(following.signal, untilNs);
  for await (const _ of db.watch(stop.signal)) {
    const isOver = stop.isPast;
    // What is recorded in one turn of the event loop is read at once: a daemon answers many requests in one.
    await setImmediate();
    yield* recorded();
    if (isOver) return;
  }
  // The end of the time ended the watch; what was committed just before it still counts.
  if (stop.isPast) yield* recorded();
}

/** Says in the stream that events of some time are missing in it; told whatever the filters are, which they might have met. */
function lost(id: number, timeNs: bigint, attributes: Record<string, string>): EventRecord {
  return { id, type: 'daemon', action: 'events-lost', actorId: '', attributes, timeNs };
}

const lostBetween = (cursor: number, next: EventRecord): EventRecord =>
  lost(next.id - 1, next.timeNs, { count: String(next.id - 1 - cursor), reason: 'the reader was too slow' });

const lostBefore = ({ id, timeNs }: Trimmed): EventRecord =>
  lost(id, timeNs, { reason: 'older events are not kept', until: new Date(Number(timeNs / NS_PER_MS)).toISOString() });

/** Aborts with the caller's signal or when the time comes. */
class Deadline implements Disposable {
  readonly signal: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  readonly #untilMs: number;

  constructor(signal: AbortSignal | undefined, untilNs: bigint | undefined) {
    const controller = new AbortController();
    this.#untilMs = untilNs === undefined ? Number.POSITIVE_INFINITY : Number(untilNs / NS_PER_MS);
    this.signal = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
    if (untilNs !== undefined && !this.isPast) {
      const fire = () => {
        const leftMs = this.#untilMs + 1 - Date.now();
        if (leftMs <= 0) controller.abort();
        else this.#timer = setTimeout(fire, Math.min(leftMs, LONGEST_TIMER_MS));
      };
      fire();
    }
  }

  get isPast(): boolean {
    return Date.now() > this.#untilMs;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
