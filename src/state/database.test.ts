import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database, isConstraintError } from './database.ts';
import { migrations } from './schema.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-state-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const file = () => join(directory, 'state', 'tare.db');
const put = (db: Database, name: string) =>
  db.write((tx) => {
    tx.run('INSERT INTO volumes (name, doc) VALUES (?, ?)', name, '{}');
    tx.event({ type: 'volume', action: 'create', actorId: name, attributes: { driver: 'local' } });
  });

test('files are private', async () => {
  using db = await Database.open(file());
  await put(db, 'a');
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, 'state')).mode & 0o777).toBe(0o700);
});

test('a write that throws leaves neither record nor event', async () => {
  using db = await Database.open(file());
  await expect(
    db.write((tx) => {
      tx.run('INSERT INTO volumes (name, doc) VALUES (?, ?)', 'a', '{}');
      tx.event({ type: 'volume', action: 'create', actorId: 'a', attributes: {} });
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  expect(db.all('SELECT * FROM volumes')).toEqual([]);
  expect(db.all('SELECT * FROM events')).toEqual([]);
});

test('a taken name is told as a constraint', async () => {
  using db = await Database.open(file());
  await put(db, 'a');
  const failure = await put(db, 'a').catch((error: unknown) => error);
  expect(isConstraintError(failure)).toBe(true);
});

test('events get rising ids and times', async () => {
  using db = await Database.open(file());
  for (const name of ['a', 'b', 'c']) await put(db, name);
  // Nanoseconds since the epoch do not fit a JavaScript number.
  const events = db.all<{ id: number; time: string }>(
    'SELECT id, CAST(time_ns AS TEXT) AS time FROM events ORDER BY id',
  );
  expect(events.map((event) => event.id)).toEqual([1, 2, 3]);
  const times = events.map((event) => BigInt(event.time));
  expect(times[1]! > times[0]! && times[2]! > times[1]!).toBe(true);
});

test('a newer schema is refused', async () => {
  {
    using db = await Database.open(file());
    await db.write((tx) => tx.run(`PRAGMA user_version = ${migrations.length + 1}`));
  }
  await expect(Database.open(file())).rejects.toThrow(/newer Tare/);
});

test('processes write side by side and hear each other', async () => {
  using db = await Database.open(file());
  const stop = new AbortController();
  let seen = 0;
  const watching = (async () => {
    for await (const _ of db.watch(stop.signal)) {
      seen = db.get<{ n: number }>('SELECT count(*) AS n FROM volumes')?.n ?? 0;
      if (seen === 150) stop.abort();
    }
  })();
  const program = `
    import { Database } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)};
    using db = await Database.open(${JSON.stringify(file())});
    for (let i = 0; i < 50; i++) await db.write((tx) => tx.run('INSERT INTO volumes VALUES (?, ?)', process.argv[1] + i, '{}'));
  `;
  const writers = ['x', 'y'].map((name) =>
    spawn(process.execPath, ['--input-type=module-typescript', '-e', program, name], {
      stdio: ['ignore', 'inherit', 'inherit'],
    }),
  );
  for (let i = 0; i < 50; i++) await put(db, `own${i}`);
  for (const writer of writers) if (writer.exitCode === null) await once(writer, 'exit');
  await watching;
  expect(writers.map((writer) => writer.exitCode)).toEqual([0, 0]);
  expect(seen).toBe(150);
});
