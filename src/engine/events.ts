import type { Database, NewEvent } from '../state/index.ts';
import { refuseUnknownFilters } from './filters.ts';
import type { ContainerRecord, EventRecord, EventService, Filters } from './types.ts';

interface Row {
  id: number;
  time: string;
  type: EventRecord['type'];
  action: string;
  actor_id: string;
  attributes: string;
}

const PAGE = 500;
/** Events kept; older ones are trimmed. */
const KEPT = 10_000;

/** An event about a container, with docker's attributes: its labels, image and name, and what the action adds. */
export function containerEvent(
  record: Pick<ContainerRecord, 'id' | 'name' | 'config'>,
  action: string,
  attributes: Record<string, string> = {},
): NewEvent {
  return {
    type: 'container',
    action,
    actorId: record.id,
    attributes: { ...record.config.labels, image: record.config.image, name: record.name, ...attributes },
  };
}

/** Past and live events, read from the records by a cursor: what happened while nobody listened is there too. */
export function createEventService(db: Database): EventService {
  return { subscribe: (options) => subscribe(db, options) };
}

async function* subscribe(
  db: Database,
  options: Parameters<EventService['subscribe']>[0],
): AsyncGenerator<EventRecord> {
  const filters = options.filters ?? {};
  refuseUnknownFilters(filters, [
    ...['config', 'container', 'daemon', 'event', 'image', 'label', 'network', 'node', 'plugin', 'scope', 'secret'],
    ...['service', 'type', 'volume', 'builder'],
  ]);
  const untilNs = options.untilSeconds === undefined ? undefined : toNs(options.untilSeconds);
  let cursor =
    options.sinceSeconds === undefined
      ? lastID(db)
      : (db.get<{ id: number }>(
          'SELECT id FROM events WHERE time_ns < ? ORDER BY id DESC LIMIT 1',
          toNs(options.sinceSeconds),
        )?.id ?? 0);
  using stop = new Deadline(options.signal, options.untilSeconds);
  for await (const _ of db.watch(stop.signal)) {
    for (;;) {
      const rows = db.all<Row>(
        'SELECT id, CAST(time_ns AS TEXT) AS time, type, action, actor_id, attributes FROM events WHERE id > ? ORDER BY id LIMIT ?',
        cursor,
        PAGE,
      );
      for (const row of rows) {
        cursor = row.id;
        const event = fromRow(row);
        if (untilNs !== undefined && event.timeNs > untilNs) return;
        if (matches(event, filters)) yield event;
      }
      if (rows.length < PAGE) break;
    }
    if (stop.isPast) return;
  }
  // The deadline ends the watch; what was committed just before it still counts.
}

/** Aborts with the caller's signal or when the time comes. */
class Deadline implements Disposable {
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #untilMs: number;

  constructor(signal: AbortSignal | undefined, untilSeconds: number | undefined) {
    const controller = new AbortController();
    this.#untilMs = untilSeconds === undefined ? Number.POSITIVE_INFINITY : untilSeconds * 1000;
    this.signal = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
    if (untilSeconds !== undefined && !this.isPast) {
      this.#timer = setTimeout(() => controller.abort(), Math.min(this.#untilMs - Date.now(), 2 ** 31 - 1));
    }
  }

  get isPast(): boolean {
    return Date.now() >= this.#untilMs;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** Removes the oldest events beyond the number kept. */
export async function trimEvents(db: Database): Promise<void> {
  await db.write((tx) => tx.run('DELETE FROM events WHERE id <= ?', lastID(db) - KEPT));
}

const lastID = (db: Database): number => db.get<{ id: number | null }>('SELECT max(id) AS id FROM events')?.id ?? 0;

const toNs = (seconds: number): bigint =>
  BigInt(Math.floor(seconds)) * 1_000_000_000n + BigInt(Math.round((seconds % 1) * 1e9));

const fromRow = (row: Row): EventRecord => ({
  id: row.id,
  type: row.type,
  action: row.action,
  actorId: row.actor_id,
  attributes: JSON.parse(row.attributes) as Record<string, string>,
  timeNs: BigInt(row.time),
});

function matches(event: EventRecord, filters: Filters): boolean {
  const wanted = (key: string, test: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].length === 0 || filters[key].some(test);
  const actor = (key: string) =>
    wanted(
      key,
      (value) => event.type === key && (event.actorId.startsWith(value) || event.attributes['name'] === value),
    );
  const hasLabel = (value: string): boolean => {
    const [key = '', text] = value.split(/=(.*)/s);
    return Object.hasOwn(event.attributes, key) && (text === undefined || event.attributes[key] === text);
  };
  return (
    wanted('type', (value) => event.type === value) &&
    // `health_status` means every `health_status: …`, as for exec_create and its command.
    wanted('event', (value) => event.action === value || event.action.startsWith(`${value}:`)) &&
    wanted('scope', (value) => value === 'local') &&
    (filters['label'] ?? []).every(hasLabel) &&
    wanted(
      'image',
      (value) =>
        (event.type === 'image' && (event.actorId === value || event.attributes['name'] === value)) ||
        (event.type === 'container' && event.attributes['image'] === value),
    ) &&
    ['container', 'network', 'volume', 'daemon'].every(actor)
  );
}
