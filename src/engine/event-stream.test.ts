import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database, type EventLimits, eventsAfter } from '../state/index.ts';
import { createEventService } from './event-stream.ts';
import type { EventRecord } from './types.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-events-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const open = (limits?: EventLimits) => Database.open(join(directory, 'tare.db'), limits);
const tell = (db: Database, ...actions: string[]) =>
  db.write((tx) => {
    for (const action of actions) tx.event({ type: 'volume', action, actorId: 'v', attributes: { driver: 'local' } });
  });
const actions = async (events: AsyncIterable<EventRecord>): Promise<string[]> => {
  const all: string[] = [];
  for await (const { action } of events) all.push(action);
  return all;
};
const seconds = (timeNs: bigint): string => {
  const digits = String(timeNs).padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
};
const many = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`);

test('an event is seen although the reader asks for the first one later', async () => {
  using db = await open();
  await tell(db, 'before');
  const stop = new AbortController();
  const events = createEventService(db).subscribe({ signal: stop.signal })[Symbol.asyncIterator]();
  await tell(db, 'between');
  expect((await events.next()).value.action).toBe('between');
  const next = events.next();
  await tell(db, 'live');
  expect((await next).value.action).toBe('live');
  stop.abort();
  expect((await events.next()).done).toBe(true);
});

test('since is exact to the nanosecond, and until ends a stream that is past', async () => {
  using db = await open();
  await tell(db, 'a', 'b', 'c', 'd');
  const [, b, c] = eventsAfter(db, 0, 4) as [EventRecord, EventRecord, EventRecord];
  const { subscribe } = createEventService(db);
  const from = seconds(b.timeNs);
  const to = seconds(c.timeNs);
  await new Promise((resolve) => setTimeout(resolve, 2));
  expect(await actions(subscribe({ since: from, until: to }))).toEqual(['b', 'c']);
  expect(await actions(subscribe({ since: seconds(b.timeNs + 1n), until: to }))).toEqual(['c']);
  expect(await actions(subscribe({ since: '10m', until: '0s' }))).toEqual(['a', 'b', 'c', 'd']);
  expect(await actions(subscribe({ until: to }))).toEqual(['a', 'b', 'c']);
});

test('until in the future ends it then, with all that came meanwhile', async () => {
  using db = await open();
  await tell(db, 'a');
  const until = String((Date.now() + 400) / 1000);
  const read = actions(createEventService(db).subscribe({ since: '0', until }));
  await tell(db, 'b');
  expect(await read).toEqual(['a', 'b']);
  expect(Date.now()).toBeGreaterThan(Number(until) * 1000 - 1);
});

test('moments that contradict each other, and filters that nobody knows, are refused at once', async () => {
  using db = await open();
  const { subscribe } = createEventService(db);
  expect(() => subscribe({ since: '2', until: '1' })).toThrow('`since` time (2) cannot be after `until` time (1)');
  expect(() => subscribe({ since: 'yesterday' })).toThrow(/invalid time "yesterday"/);
  expect(() => subscribe({ filters: { colour: ['red'] } })).toThrow("invalid filter 'colour'");
});

test('a reader that is slower than the trimming is told how much it missed', async () => {
  using db = await open({ maxAgeSeconds: 3600, maxBytes: 64 * 1024 });
  const { subscribe } = createEventService(db);
  const events = subscribe({ filters: { event: ['n1', 'last'] } })[Symbol.asyncIterator]();
  await tell(db, 'n0', 'n1');
  expect((await events.next()).value.action).toBe('n1');
  await tell(db, ...many(3000), 'last');
  const lost = (await events.next()).value as EventRecord;
  expect(lost).toMatchObject({ type: 'daemon', action: 'events-lost', attributes: { reason: expect.any(String) } });
  const kept = eventsAfter(db, 0, 5000);
  expect(Number(lost.attributes['count'])).toBe(kept[0]!.id - 1 - 2);
  expect((await events.next()).value.action).toBe('last');
  await events.return?.();
});

test('whoever asks for more of the past than is kept is told so first', async () => {
  using db = await open({ maxAgeSeconds: 3600, maxBytes: 64 * 1024 });
  await tell(db, ...many(3000));
  const { subscribe } = createEventService(db);
  const first = eventsAfter(db, 0, 1)[0]!;
  expect((await actions(subscribe({ since: '1h', until: '0s' })))[0]).toBe('events-lost');
  expect((await actions(subscribe({ until: '0s' })))[0]).toBe('events-lost');
  const whole = await actions(subscribe({ since: seconds(first.timeNs), until: '0s' }));
  expect(whole[0]).toBe(first.action);
  expect(whole).not.toContain('events-lost');
});
