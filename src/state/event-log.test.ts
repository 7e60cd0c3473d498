import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Database } from './database.ts';
import { cursorBefore, type EventLimits, eventsAfter, lastEventID, trimEvents, trimmedEvents } from './event-log.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-events-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

const open = (limits?: EventLimits) => Database.open(join(directory, 'tare.db'), limits);
const tell = (db: Database, action: string, attributes: Record<string, string> = {}) =>
  db.write((tx) => tx.event({ type: 'volume', action, actorId: 'v', attributes }));

test('attributes are kept in the order of their names', async () => {
  using db = await open();
  await tell(db, 'create', { name: 'b', image: 'a', 'read/write': 'true', driver: 'local' });
  expect(Object.keys(eventsAfter(db, 0, 1)[0]!.attributes)).toEqual(['driver', 'image', 'name', 'read/write']);
});

test('two processes with a clock each record rising times', async () => {
  using one = await open();
  using other = await open();
  for (let turn = 0; turn < 50; turn++) await tell(turn % 2 === 0 ? one : other, 'create');
  const times = eventsAfter(one, 0, 100).map(({ timeNs }) => timeNs);
  expect(times).toEqual([...new Set(times)].sort((a, b) => (a < b ? -1 : 1)));
  expect(times).toHaveLength(50);
});

test('a clock that was set back far is believed', async () => {
  using db = await open();
  vi.useFakeTimers({ now: new Date('2030-01-01') });
  await tell(db, 'ahead');
  vi.setSystemTime(new Date('2026-01-01'));
  await tell(db, 'right');
  const [ahead, right] = eventsAfter(db, 0, 2);
  expect(new Date(Number(ahead!.timeNs / 1_000_000n)).getUTCFullYear()).toBe(2030);
  expect(new Date(Number(right!.timeNs / 1_000_000n)).getUTCFullYear()).toBe(2026);
});

test('the oldest go when all take more than their bytes, and what went is known', async () => {
  const maxBytes = 100_000;
  using db = await open({ maxAgeSeconds: 3600, maxBytes });
  await db.write((tx) => {
    for (let i = 0; i < 2048; i++)
      tx.event({ type: 'volume', action: 'create', actorId: 'v', attributes: { x: 'y'.repeat(100) } });
  });
  const kept = eventsAfter(db, 0, 5000);
  expect(kept.at(-1)!.id).toBe(2048);
  expect(kept.length).toBeGreaterThan(300);
  expect(kept.length).toBeLessThan(maxBytes / 250 + 256);
  expect(trimmedEvents(db)?.id).toBe(kept[0]!.id - 1);
  // What is there is whole.
  expect(kept.map(({ id }) => id)).toEqual(kept.map((_, index) => kept[0]!.id + index));
});

test('older ones go, and the last id stays known when all have gone', async () => {
  using db = await open();
  vi.useFakeTimers({ now: new Date('2026-01-01') });
  await tell(db, 'old');
  vi.setSystemTime(new Date('2026-01-03'));
  await db.write((tx) => trimEvents(tx, { maxAgeSeconds: 3 * 86_400, maxBytes: 1e6 }));
  expect(eventsAfter(db, 0, 10)).toHaveLength(1);
  await db.write((tx) => trimEvents(tx, { maxAgeSeconds: 86_400, maxBytes: 1e6 }));
  expect(eventsAfter(db, 0, 10)).toEqual([]);
  expect(lastEventID(db)).toBe(1);
  await tell(db, 'new');
  expect(eventsAfter(db, 0, 10)).toMatchObject([{ id: 2, action: 'new' }]);
  expect(trimmedEvents(db)).toMatchObject({ id: 1 });
});

test('a cursor stands before the first event that is not older', async () => {
  using db = await open();
  for (const action of ['a', 'b', 'c']) await tell(db, action);
  const [, b, c] = eventsAfter(db, 0, 3);
  expect(cursorBefore(db, b!.timeNs)).toBe(1);
  expect(cursorBefore(db, b!.timeNs + 1n)).toBe(2);
  expect(cursorBefore(db, c!.timeNs + 1n)).toBe(3);
  expect(cursorBefore(db, 0n)).toBe(0);
});
