import { TareError } from '../errors/index.ts';
import type { Database, NewEvent } from '../state/index.ts';
import type { ExecRecord } from './types.ts';

/** What is stored of an exec: the record, and how far it has come. */
export interface StoredExec extends ExecRecord {
  /** 0: not yet. Set before anything is run. */
  startedMs: number;
  /** 0: not yet. */
  endedMs: number;
}

interface Row {
  doc: string;
}

/** Records of execs. Reads parse afresh; changes are made inside `update` alone. */
export class ExecStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async insert(record: StoredExec, event: NewEvent): Promise<void> {
    await this.#db.write((tx) => {
      tx.run(
        'INSERT INTO execs (id, container_id, doc) VALUES (?, ?, ?)',
        record.id,
        record.containerId,
        JSON.stringify(record),
      );
      tx.event(event);
    });
  }

  find(id: string): StoredExec | undefined {
    const row = this.#db.get<Row>('SELECT doc FROM execs WHERE id = ?', id);
    return row === undefined ? undefined : (JSON.parse(row.doc) as StoredExec);
  }

  /** @throws {TareError} NotFound */
  get(id: string): StoredExec {
    const record = this.find(id);
    if (record === undefined) throw new TareError('NotFound', `No such exec instance: ${id}`);
    return record;
  }

  ofContainer(containerId: string): StoredExec[] {
    return this.#db
      .all<Row>('SELECT doc FROM execs WHERE container_id = ?', containerId)
      .map((row) => JSON.parse(row.doc) as StoredExec);
  }

  all(): StoredExec[] {
    return this.#db.all<Row>('SELECT doc FROM execs').map((row) => JSON.parse(row.doc) as StoredExec);
  }

  /**
   * Changes a record as it is at the time of writing.
   *
   * @param change returns events to record with it; what it throws undoes all
   * @returns undefined: the record is gone
   */
  update(id: string, change: (record: StoredExec) => NewEvent[]): Promise<StoredExec | undefined> {
    return this.#db.write((tx) => {
      const row = tx.get<Row>('SELECT doc FROM execs WHERE id = ?', id);
      if (row === undefined) return undefined;
      const record = JSON.parse(row.doc) as StoredExec;
      for (const event of change(record)) tx.event(event);
      tx.run('UPDATE execs SET doc = ? WHERE id = ?', JSON.stringify(record), id);
      return record;
    });
  }

  async delete(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#db.write((tx) => {
      for (const id of ids) tx.run('DELETE FROM execs WHERE id = ?', id);
    });
  }
}
