import { EventEmitter } from 'node:events';
import { chmodSync, type FSWatcher, mkdirSync, statfsSync, watch } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import { DEFAULT_EVENT_LIMITS, type EventLimits, insertEvent, type NewEvent } from './event-log.ts';
import { migrations } from './schema.ts';

/** The view of the database inside one write. */
export interface Transaction {
  /** Returns the number of rows changed. */
  run(sql: string, ...parameters: SQLInputValue[]): number;
  all<T>(sql: string, ...parameters: SQLInputValue[]): T[];
  get<T>(sql: string, ...parameters: SQLInputValue[]): T | undefined;
  event(event: NewEvent): void;
}

// SQLite's own busy wait blocks the event loop, so it is short and the retry is ours.
const BUSY_TIMEOUT_MS = 5;
const GIVE_UP_MS = 30_000;
const RETELL_MS = [5, 50, 250, 2000];
const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;
const SQLITE_CONSTRAINT = 19;

const primaryCode = (error: unknown): number =>
  error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0;

/** Whether a write failed because a UNIQUE or PRIMARY KEY column already holds that value. */
export const isConstraintError = (error: unknown): boolean => primaryCode(error) === SQLITE_CONSTRAINT;

/**
 * The engine's records: one SQLite file in WAL mode that several processes open at once. Reads are synchronous and never
 * wait for a writer. A write is one IMMEDIATE transaction with a synchronous body.
 */
export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, StatementSync>();
  readonly #commits = new EventEmitter().setMaxListeners(0);
  readonly #transaction: Transaction;
  #watcher: FSWatcher | undefined;
  #watching = 0;
  #retold: NodeJS.Timeout[] = [];
  #ownCommits = 0;
  /** Commits of others, as SQLite numbers them, that the watchers were told of. */
  #told = 0;

  private constructor(path: string, events: EventLimits) {
    this.#path = path;
    this.#db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    this.#transaction = {
      run: (sql, ...parameters) => Number(this.#prepare(sql).run(...parameters).changes),
      all: (sql, ...parameters) => this.all(sql, ...parameters),
      get: (sql, ...parameters) => this.get(sql, ...parameters),
      event: (event) => insertEvent(this.#transaction, event, events),
    };
  }

  /**
   * Opens or makes the file (mode 0600 in a folder of mode 0700) and brings its schema up to date.
   *
   * @param events how long events are kept
   */
  static async open(path: string, events: EventLimits = DEFAULT_EVENT_LIMITS): Promise<Database> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const database = await retryWhileBusy(path, () => {
      const opened = new Database(path, events);
      try {
        // WAL with NORMAL never corrupts; a power cut may take back the last commits, which reconcile() then sees.
        opened.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;');
        return opened;
      } catch (error) {
        opened.#db.close();
        throw error;
      }
    });
    chmodSync(path, 0o600);
    await database.#migrate();
    return database;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    for (const timer of this.#retold) clearTimeout(timer);
    this.#watcher = undefined;
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  all<T>(sql: string, ...parameters: SQLInputValue[]): T[] {
    return this.#prepare(sql).all(...parameters) as T[];
  }

  get<T>(sql: string, ...parameters: SQLInputValue[]): T | undefined {
    return this.#prepare(sql).get(...parameters) as T | undefined;
  }

  /**
   * Runs `body` in one transaction; it is rolled back when the body throws, and begun again while another process
   * writes. The body must be synchronous: an `await` inside would let other writes into the transaction.
   *
   * @throws {TareError} Unavailable: the database stayed locked for 30 s
   */
  async write<T>(body: (tx: Transaction) => T): Promise<T> {
    const result = await retryWhileBusy(this.#path, () => this.#attempt(body));
    this.#commits.emit('commit');
    return result;
  }

  /**
   * Makes every commit so far, of any process, last through a loss of power: to be called before a file goes that only
   * records from before the last commits speak of. Costs a sync of the log.
   */
  async settle(): Promise<void> {
    try {
      // SQLite syncs it itself before it brings it into the database; its locks are on other files.
      await using log = await open(`${this.#path}-wal`, 'r');
      await log.datasync();
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error;
    }
  }

  /** Yields once at the start, and after commits by this or any other process; those meanwhile are told as one. */
  async *watch(signal?: AbortSignal): AsyncGenerator<void> {
    if (signal?.aborted) return;
    this.#watchFile();
    let isStale = true;
    let wake = () => {};
    const tell = () => {
      isStale = true;
      wake();
    };
    this.#commits.on('commit', tell);
    signal?.addEventListener('abort', tell);
    try {
      while (signal?.aborted !== true) {
        if (isStale) {
          isStale = false;
          yield;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#commits.off('commit', tell);
      signal?.removeEventListener('abort', tell);
      this.#unwatchFile();
    }
  }

  /** Another number after each commit, of any process. Cheap enough to ask before every read. */
  version(): number {
    return this.#othersCommits() + this.#ownCommits;
  }

  /** SQLite counts the commits of other connections only. */
  #othersCommits(): number {
    return (this.#prepare('PRAGMA data_version').get() as { data_version: number }).data_version;
  }

  /** Calls `listener` after each commit of this process; returns how to stop. */
  onCommit(listener: () => void): Disposable {
    this.#commits.on('commit', listener);
    return { [Symbol.dispose]: () => void this.#commits.off('commit', listener) };
  }

  #attempt<T>(body: (tx: Transaction) => T): T {
    this.#prepare('BEGIN IMMEDIATE').run();
    try {
      const result = body(this.#transaction);
      this.#prepare('COMMIT').run();
      this.#ownCommits += 1;
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#prepare('ROLLBACK').run();
      throw error;
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  async #migrate(): Promise<void> {
    const version = () => this.#db.prepare('PRAGMA user_version').get()?.['user_version'] as number;
    if (version() === migrations.length) return;
    await retryWhileBusy(this.#path, () =>
      this.#attempt(() => {
        const applied = version();
        if (applied > migrations.length) {
          throw new TareError(
            'Unsupported',
            `${this.#path} was written by a newer Tare (schema ${applied}, this one knows ${migrations.length}): use that one`,
          );
        }
        for (const migration of migrations.slice(applied)) this.#db.exec(migration);
        this.#db.exec(`PRAGMA user_version = ${migrations.length}`);
      }),
    );
  }

  #watchFile(): void {
    this.#watching += 1;
    if (this.#watcher !== undefined) return;
    this.#told = this.#othersCommits();
    // Every commit of any process appends to the write-ahead log.
    this.#watcher = watch(`${this.#path}-wal`, { persistent: false }, () => this.#fileChanged());
    this.#watcher.on('error', () => {});
  }

  /**
   * The log is written a moment before the commit is visible (its index comes last), and no notice comes for that; so what
   * is told at once is told again.
   */
  #fileChanged(): void {
    const tell = () => {
      if (!this.#db.isOpen) return;
      // The log grows with our own commits too, of which everybody has heard.
      const others = this.#othersCommits();
      if (others === this.#told) return;
      this.#told = others;
      this.#commits.emit('commit');
    };
    tell();
    for (const timer of this.#retold) clearTimeout(timer);
    this.#retold = RETELL_MS.map((delayMs) => setTimeout(tell, delayMs).unref());
  }

  #unwatchFile(): void {
    this.#watching -= 1;
    if (this.#watching > 0) return;
    this.#watcher?.close();
    this.#watcher = undefined;
    for (const timer of this.#retold) clearTimeout(timer);
  }
}

/** A full disk, told by its name: SQLite calls it a full database, or an I/O error when its shared memory cannot grow. */
function fullDisk(path: string, error: unknown): TareError | undefined {
  const code = primaryCode(error);
  if (code !== SQLITE_FULL && !(code === SQLITE_IOERR && statfsSync(dirname(path)).bavail === 0)) return undefined;
  return new TareError('Unavailable', `cannot write ${path}: no space left on device: free some space`, {
    cause: error,
  });
}

async function retryWhileBusy<T>(path: string, attempt: () => T): Promise<T> {
  const deadline = Date.now() + GIVE_UP_MS;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 20)) {
    try {
      return attempt();
    } catch (error) {
      if (primaryCode(error) !== SQLITE_BUSY) throw fullDisk(path, error) ?? error;
      if (Date.now() > deadline) {
        throw new TareError('Unavailable', 'the database stayed locked by another process for 30 s: try again', {
          cause: error,
        });
      }
    }
    await sleep(pauseMs * (0.5 + Math.random()));
  }
}
