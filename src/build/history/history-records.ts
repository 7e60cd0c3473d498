import { fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { control } from '../../protocol/index.ts';
import type { Database, Transaction } from '../../state/index.ts';
import type { Digest } from '../../storage/index.ts';

/** As BuildKit's: what is older goes, as long as more than so many are left. */
const MAX_AGE_MS = 48 * 3_600_000;
const MAX_ENTRIES = 50;

type Reader = Pick<Database, 'all' | 'get'> | Transaction;

const read = (doc: string) => fromJsonString(control.BuildHistoryRecordSchema, doc, { ignoreUnknownFields: true });
const write = (record: control.BuildHistoryRecord) => toJsonString(control.BuildHistoryRecordSchema, record);

/** Refs of all builds on record, newest first, each with a text that is another one once its record is. */
export function recordedBuilds(db: Reader): Map<string, string> {
  const query = 'SELECT ref, completed_ms, is_pinned FROM build_history ORDER BY created_ms DESC, ref';
  const rows = db.all<{ ref: string; completed_ms: number | null; is_pinned: number }>(query);
  return new Map(rows.map((row) => [row.ref, `${row.completed_ms} ${row.is_pinned}`]));
}

export function findRecord(db: Reader, ref: string): control.BuildHistoryRecord | undefined {
  const row = db.get<{ doc: string }>('SELECT doc FROM build_history WHERE ref = ?', ref);
  return row && read(row.doc);
}

/** Refs of builds that have not been recorded as over. */
export const unfinishedBuilds = (db: Reader): string[] =>
  db.all<{ ref: string }>('SELECT ref FROM build_history WHERE completed_ms IS NULL').map(({ ref }) => ref);

/** Puts a record in the place of the one of its ref. @param blobs that it keeps */
export function putRecord(tx: Transaction, record: control.BuildHistoryRecord, blobs: Iterable<Digest> = []): void {
  const { Ref: ref, CreatedAt: created, CompletedAt: completed, pinned } = record;
  removeRecord(tx, ref);
  tx.run(
    'INSERT INTO build_history (ref, created_ms, completed_ms, is_pinned, doc) VALUES (?, ?, ?, ?, ?)',
    ...[ref, created === undefined ? 0 : timestampMs(created)],
    ...[completed === undefined ? null : timestampMs(completed), pinned ? 1 : 0, write(record)],
  );
  for (const digest of new Set(blobs))
    tx.run('INSERT INTO build_history_blobs (ref, digest) VALUES (?, ?)', ref, digest);
}

/** Changes a record, whose blobs stay. @returns false: there is none */
export function changeRecord(
  tx: Transaction,
  ref: string,
  change: (record: control.BuildHistoryRecord) => void,
): boolean {
  const record = findRecord(tx, ref);
  if (record === undefined) return false;
  change(record);
  record.Generation += 1;
  const changes = 'UPDATE build_history SET is_pinned = ?, doc = ? WHERE ref = ?';
  return tx.run(changes, record.pinned ? 1 : 0, write(record), ref) > 0;
}

/** @returns false: there was none */
export const removeRecord = (tx: Transaction, ref: string): boolean =>
  tx.run('DELETE FROM build_history WHERE ref = ?', ref) > 0;

/** Whether there are builds that `trimRecords` may forget: it takes longer to find those. */
export const hasOldRecords = (db: Pick<Database, 'get'>, nowMs: number): boolean =>
  db.get('SELECT 1 FROM build_history WHERE completed_ms < ? LIMIT 1', nowMs - MAX_AGE_MS) !== undefined;

/** Forgets old builds that nobody pinned. @returns how many */
export function trimRecords(tx: Transaction, nowMs: number): number {
  return tx.run(
    `DELETE FROM build_history WHERE completed_ms < ? AND ref IN (
       SELECT ref FROM build_history WHERE is_pinned = 0 AND completed_ms IS NOT NULL
       ORDER BY completed_ms DESC LIMIT -1 OFFSET ?)`,
    nowMs - MAX_AGE_MS,
    MAX_ENTRIES,
  );
}
