import { TareError } from '../errors/index.ts';
import { type Database, isConstraintError, type Transaction } from '../state/index.ts';
import type { ContainerRecord, ContainerState } from './types.ts';

interface Row {
  id: string;
  doc: string;
}

interface Parsed {
  doc: string;
  record: ContainerRecord;
}

const idPattern = /^[0-9a-f]{64}$/;
const prefixPattern = /^[0-9a-f]{1,63}$/;

/**
 * The records of containers. Every read parses afresh, so no caller can hold what another process has since changed;
 * change a record only inside `update`.
 */
export class ContainerStore {
  readonly #db: Database;
  /** What texts of records mean, for `shared`. */
  #parsed = new Map<string, Parsed>();
  #shared: readonly ContainerRecord[] = [];
  #sharedVersion = -1;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Containers of each image that has any, running or not. */
  countByImage(): Map<string, number> {
    const rows = this.#db.all<{ image: string; count: number }>(
      "SELECT doc ->> '$.imageId' AS image, count(*) AS count FROM containers GROUP BY image",
    );
    return new Map(rows.map(({ image, count }) => [image, count]));
  }

  /** @throws {TareError} AlreadyExists: the name is taken, naming its holder */
  async insert(record: ContainerRecord, inSameTransaction?: (tx: Transaction) => void): Promise<void> {
    try {
      await this.#db.write((tx) => {
        tx.run(
          'INSERT INTO containers (id, name, status, doc) VALUES (?, ?, ?, ?)',
          record.id,
          record.name,
          record.state.status,
          JSON.stringify(record),
        );
        inSameTransaction?.(tx);
      });
    } catch (error) {
      throw isConstraintError(error) ? this.#nameTaken(record.name, error) : error;
    }
  }

  find(id: string): ContainerRecord | undefined {
    const row = this.#db.get<Row>('SELECT doc FROM containers WHERE id = ?', id);
    return row === undefined ? undefined : (JSON.parse(row.doc) as ContainerRecord);
  }

  /**
   * @param ref id, name (a leading slash is allowed), or unique id prefix, in that order
   * @throws {TareError} NotFound; InvalidArgument: the prefix fits several
   */
  get(ref: string): ContainerRecord {
    const name = ref.startsWith('/') ? ref.slice(1) : ref;
    const exact = idPattern.test(name)
      ? this.find(name)
      : parse(this.#db.get<Row>('SELECT doc FROM containers WHERE name = ?', name));
    if (exact !== undefined) return exact;
    if (prefixPattern.test(name)) {
      const rows = this.#db.all<Row>('SELECT doc FROM containers WHERE id >= ? AND id < ? LIMIT 2', name, `${name}g`);
      if (rows.length > 1) {
        throw new TareError('InvalidArgument', `multiple IDs found with provided prefix: ${name}`);
      }
      if (rows.length === 1) return parse(rows[0])!;
    }
    throw new TareError('NotFound', `No such container: ${ref}`);
  }

  /** All records, newest first. */
  all(): ContainerRecord[] {
    return this.#db
      .all<Row>('SELECT doc FROM containers')
      .map((row) => JSON.parse(row.doc) as ContainerRecord)
      .sort((a, b) => b.createdMs - a.createdMs);
  }

  /**
   * `all` for those who change nothing in them: nothing is read again when nobody has committed since, and a record whose text is
   * the same is not parsed again. Not inside a transaction, which would not see its own changes.
   */
  shared(): readonly ContainerRecord[] {
    const version = this.#db.version(); // asked first: what is committed meanwhile is read again
    if (version === this.#sharedVersion) return this.#shared;
    const parsed = new Map<string, Parsed>();
    for (const { id, doc } of this.#db.all<Row>('SELECT id, doc FROM containers')) {
      const known = this.#parsed.get(id);
      parsed.set(id, known?.doc === doc ? known : { doc, record: JSON.parse(doc) as ContainerRecord });
    }
    this.#parsed = parsed;
    this.#shared = Array.from(parsed.values(), ({ record }) => record).sort((a, b) => b.createdMs - a.createdMs);
    this.#sharedVersion = version;
    return this.#shared;
  }

  /** Records of these states. */
  withStatus(...statuses: ContainerState['status'][]): ContainerRecord[] {
    const marks = statuses.map(() => '?').join(', ');
    return this.#db
      .all<Row>(`SELECT doc FROM containers WHERE status IN (${marks})`, ...statuses)
      .map((row) => JSON.parse(row.doc) as ContainerRecord);
  }

  /**
   * Changes a record in one transaction, with whatever else belongs to the change (an event). Returns the new record,
   * or undefined when the container is gone.
   * @throws {TareError} AlreadyExists: the new name is taken
   */
  async update(
    id: string,
    change: (record: ContainerRecord, tx: Transaction) => void,
  ): Promise<ContainerRecord | undefined> {
    let name = '';
    try {
      return await this.#db.write((tx) => {
        const record = parse(tx.get<Row>('SELECT doc FROM containers WHERE id = ?', id));
        if (record === undefined) return undefined;
        change(record, tx);
        name = record.name;
        tx.run(
          'UPDATE containers SET name = ?, status = ?, doc = ? WHERE id = ?',
          record.name,
          record.state.status,
          JSON.stringify(record),
          id,
        );
        return record;
      });
    } catch (error) {
      throw isConstraintError(error) ? this.#nameTaken(name, error) : error;
    }
  }

  #nameTaken(name: string, cause: unknown): TareError {
    const holder = parse(this.#db.get<Row>('SELECT doc FROM containers WHERE name = ?', name));
    return new TareError(
      'AlreadyExists',
      `Conflict. The container name "/${name}" is already in use by container "${holder?.id ?? 'unknown'}". You have to remove (or rename) that container to be able to reuse that name.`,
      { cause },
    );
  }
}

function parse(row: Row | undefined): ContainerRecord | undefined {
  return row === undefined ? undefined : (JSON.parse(row.doc) as ContainerRecord);
}
