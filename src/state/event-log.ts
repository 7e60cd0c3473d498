import type { SQLInputValue } from 'node:sqlite';

/** What happened to what, recorded with the change itself. */
export interface NewEvent {
  type: string;
  action: string;
  actorId: string;
  attributes: Record<string, string>;
}

/** An event as it was recorded. */
export interface StoredEvent extends NewEvent {
  /** Rises by one with each event, of any process. */
  id: number;
  /** Since the epoch. */
  timeNs: bigint;
}

/** How long events are kept: whichever is reached first. */
export interface EventLimits {
  maxAgeSeconds: number;
  /** Of events, roughly as they lie on disk. */
  maxBytes: number;
}

export const DEFAULT_EVENT_LIMITS: EventLimits = { maxAgeSeconds: 7 * 86_400, maxBytes: 32 * 1024 ** 2 };

/** The newest event that is not kept any more. */
export interface Trimmed {
  id: number;
  timeNs: bigint;
}

/** What reads rows: the database, or a transaction of it. */
interface Reader {
  all<T>(sql: string, ...parameters: SQLInputValue[]): T[];
  get<T>(sql: string, ...parameters: SQLInputValue[]): T | undefined;
}

interface Writer extends Reader {
  run(sql: string, ...parameters: SQLInputValue[]): number;
}

/** Row, indexes and the text around the attributes. */
const ROW_BYTES = 150;
/** Trimming looks at the oldest rows, so it is done once in so many events. */
const TRIM_EVERY = 256;
/** A clock that is further behind the last event was set back, and is believed. */
const SKEW_NS = 1_000_000_000;

/**
 * Records an event, in the transaction of the change it tells of. Its time is later than the last one's, by whichever process,
 * so that a cursor by time misses none.
 */
export function insertEvent(tx: Writer, event: NewEvent, limits: EventLimits): void {
  const attributes = JSON.stringify(sortedByKey(event.attributes));
  const bytes = ROW_BYTES + event.action.length + event.actorId.length + attributes.length;
  tx.run(
    `INSERT INTO events (time_ns, position, type, action, actor_id, attributes)
     SELECT CASE WHEN last.time_ns >= now.ns AND last.time_ns < now.ns + ${SKEW_NS} THEN last.time_ns + 1 ELSE now.ns END,
            coalesce(last.position, 0) + ?, ?, ?, ?, ?
     FROM (SELECT ? AS ns) AS now
     LEFT JOIN (SELECT time_ns, position FROM events ORDER BY id DESC LIMIT 1) AS last`,
    ...[bytes, event.type, event.action, event.actorId, attributes, wallClockNs()],
  );
  if (lastEventID(tx) % TRIM_EVERY === 0) trimEvents(tx, limits);
}

/** Forgets the oldest events, and keeps in mind up to where. */
export function trimEvents(tx: Writer, limits: EventLimits): void {
  const kept = tx.get<{ id: number }>(
    `SELECT id FROM events
     WHERE +time_ns >= ? AND position > (SELECT position FROM events ORDER BY id DESC LIMIT 1) - ?
     ORDER BY id LIMIT 1`,
    ...[wallClockNs() - BigInt(Math.round(limits.maxAgeSeconds)) * 1_000_000_000n, limits.maxBytes],
  );
  const firstKept = kept?.id ?? lastEventID(tx) + 1;
  const trimmed = tx.get<{ id: number; time: string }>(
    'SELECT id, CAST(time_ns AS TEXT) AS time FROM events WHERE id < ? ORDER BY id DESC LIMIT 1',
    firstKept,
  );
  if (trimmed === undefined) return;
  tx.run('DELETE FROM events WHERE id < ?', firstKept);
  tx.run("INSERT OR REPLACE INTO facts (key, value) VALUES ('events-trimmed', ?)", `${trimmed.id} ${trimmed.time}`);
}

/** Up to where events were trimmed; undefined: all that ever happened are there. */
export function trimmedEvents(db: Reader): Trimmed | undefined {
  const fact = db.get<{ value: string }>("SELECT value FROM facts WHERE key = 'events-trimmed'")?.value;
  if (fact === undefined) return undefined;
  const [id, time] = fact.split(' ') as [string, string];
  return { id: Number(id), timeNs: BigInt(time) };
}

/** Id of the newest event, also if it is not kept any more; 0: there never was one. */
export const lastEventID = (db: Reader): number =>
  db.get<{ id: number }>('SELECT id FROM events ORDER BY id DESC LIMIT 1')?.id ?? trimmedEvents(db)?.id ?? 0;

/** The cursor before the first event that is not older than a moment. */
export function cursorBefore(db: Reader, timeNs: bigint): number {
  const first = db.get<{ id: number | null }>('SELECT min(id) AS id FROM events WHERE time_ns >= ?', timeNs)?.id;
  return first == null ? lastEventID(db) : first - 1;
}

interface Row {
  id: number;
  time: string;
  type: string;
  action: string;
  actor_id: string;
  attributes: string;
}

/** The next events after a cursor, oldest first. */
export function eventsAfter(db: Reader, cursor: number, limit: number): StoredEvent[] {
  return db
    .all<Row>(
      'SELECT id, CAST(time_ns AS TEXT) AS time, type, action, actor_id, attributes FROM events WHERE id > ? ORDER BY id LIMIT ?',
      cursor,
      limit,
    )
    .map(({ id, time, type, action, actor_id, attributes }) => ({
      ...{ id, type, action, actorId: actor_id },
      attributes: JSON.parse(attributes) as Record<string, string>,
      timeNs: BigInt(time),
    }));
}

/** Docker's order, which is that of Go's maps. */
const sortedByKey = (attributes: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));

/** The wall clock, finer than its milliseconds where the process's own clock agrees with it. */
function wallClockNs(): bigint {
  const ms = Date.now();
  const finer = performance.timeOrigin + performance.now() - ms;
  return BigInt(ms) * 1_000_000n + BigInt(Math.floor(Math.min(Math.max(finer, 0), 0.999) * 1e6));
}
