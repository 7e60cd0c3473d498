import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import { type DatabaseFile, databaseFiles, fingerprint, recordsIn } from './database-files.ts';
import { indexedName, typeOfEcosystem } from './ecosystems.ts';
import { type Affected, parseOsv, type Vulnerability } from './osv.ts';
import { versionsBeyondRanges } from './ranges.ts';
import { loadScoring } from './severity.ts';
import { comparatorOf } from './versions/index.ts';

/** Goes into the fingerprint: an index that an older version made is made again. */
const INDEX_VERSION = '1';
const MAX_INDEXES = 3;
const STALE_MS = 24 * 3600 * 1000;

const schema = `
  CREATE TABLE vulnerabilities (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL);
  CREATE TABLE affected (ecosystem TEXT NOT NULL, name TEXT NOT NULL, vulnerability INTEGER NOT NULL, doc TEXT NOT NULL);
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
`;

/** A vulnerability with the versions of one package that it is in. */
export interface Advisory {
  vulnerability: Vulnerability;
  affected: Affected;
}

export interface DatabaseFacts {
  records: number;
  /** Records that are none, with the first of them. */
  unreadable: number;
  firstUnreadable: string;
  ecosystems: string[];
}

/** A vulnerability database with an index over it. */
export class VulnerabilityDatabase implements Disposable {
  readonly facts: DatabaseFacts;
  readonly #db: DatabaseSync;
  readonly #byName: StatementSync;
  readonly #byId: StatementSync;

  private constructor(path: string) {
    this.#db = new DatabaseSync(path, { readOnly: true });
    const row = this.#db.prepare("SELECT value FROM facts WHERE name = 'facts'").get() as { value: string };
    this.facts = JSON.parse(row.value) as DatabaseFacts;
    this.#byName = this.#db.prepare(
      'SELECT v.doc AS vulnerability, a.doc AS affected FROM affected a JOIN vulnerabilities v ON v.number = a.vulnerability WHERE a.ecosystem = ? AND a.name = ? ORDER BY v.id',
    );
    this.#byId = this.#db.prepare('SELECT doc FROM vulnerabilities WHERE id = ?');
  }

  /**
   * Opens a database in OSV's format. The first time, and whenever its files change, an index is built in `cacheFolder`.
   *
   * @throws {TareError} NotFound; InvalidArgument: nothing in it is a record of OSV's schema
   */
  static async open(path: string, cacheFolder: string, signal?: AbortSignal): Promise<VulnerabilityDatabase> {
    const root = resolve(path);
    const files = await databaseFiles(root);
    mkdirSync(cacheFolder, { recursive: true, mode: 0o700 });
    const index = join(cacheFolder, `${fingerprint(root, files, INDEX_VERSION)}.db`);
    if (statSync(index, { throwIfNoEntry: false }) !== undefined) {
      try {
        const opened = new VulnerabilityDatabase(index);
        utimesSync(index, new Date(), new Date());
        return opened;
      } catch {
        // Damaged, or trimmed by another process a moment ago: it only repeats what the database says.
        rmSync(index, { force: true });
      }
    }
    await build(root, files, index, signal);
    trim(cacheFolder);
    return new VulnerabilityDatabase(index);
  }

  /** Advisories for a package, whatever its version. */
  advisories(ecosystem: string, name: string): Advisory[] {
    const rows = this.#byName.all(ecosystem, name) as { vulnerability: string; affected: string }[];
    return rows.map(({ vulnerability, affected }) => ({
      vulnerability: JSON.parse(vulnerability) as Vulnerability,
      affected: JSON.parse(affected) as Affected,
    }));
  }

  vulnerability(id: string): Vulnerability | undefined {
    const row = this.#byId.get(id) as { doc: string } | undefined;
    return row === undefined ? undefined : (JSON.parse(row.doc) as Vulnerability);
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

/** Builds beside its name and takes the name when it is whole and on disk. */
async function build(root: string, files: DatabaseFile[], index: string, signal?: AbortSignal): Promise<void> {
  const draft = `${index}.${process.pid}.part`;
  rmSync(draft, { force: true });
  try {
    using writer = new IndexWriter(draft);
    const score = await loadScoring();
    const facts: DatabaseFacts = { records: 0, unreadable: 0, firstUnreadable: '', ecosystems: [] };
    let count = 0;
    for (const file of files) {
      for await (const raw of recordsIn(file)) {
        count += 1;
        if (count % 256 === 0) {
          await setImmediate();
          signal?.throwIfAborted();
        }
        try {
          if (raw.error !== undefined) throw raw.error;
          const record = parseOsv(raw.value, score);
          if (record !== undefined) writer.add(record, record.affected);
          facts.records += 1;
        } catch (error) {
          if (error instanceof TareError || (error as { code?: unknown }).code !== undefined) throw error;
          facts.unreadable += 1;
          facts.firstUnreadable ||= `${raw.where}: ${(error as Error).message}`;
        }
      }
    }
    if (facts.records === 0) {
      const first = facts.firstUnreadable === '' ? '' : ` (${facts.firstUnreadable})`;
      throw new TareError('InvalidArgument', `${root}: no record of OSV's format in it${first}`);
    }
    writer.finish(facts);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  const fd = openSync(draft, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(draft, index);
}

class IndexWriter implements Disposable {
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #insertAffected: StatementSync;
  readonly #ecosystems = new Set<string>();

  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    // Nobody sees the file before it is whole, and a half-written one is thrown away.
    this.#db.exec(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; ${schema} BEGIN;`);
    this.#insert = this.#db.prepare('INSERT OR IGNORE INTO vulnerabilities (id, doc) VALUES (?, ?)');
    this.#insertAffected = this.#db.prepare('INSERT INTO affected VALUES (?, ?, ?, ?)');
  }

  /** A record that is there already (a database may hold it once for each ecosystem) is left out. */
  add({ id, aliases, upstream, title, severity, score, url }: Vulnerability, affected: readonly Affected[]): void {
    const doc: Vulnerability = { id, aliases, upstream, title, severity, score, url };
    const { changes, lastInsertRowid } = this.#insert.run(id, JSON.stringify(doc));
    if (Number(changes) === 0) return;
    for (const entry of affected) {
      const type = typeOfEcosystem(entry.ecosystem);
      if (type === undefined) continue;
      this.#ecosystems.add(entry.ecosystem);
      const kept = { ...entry, versions: versionsBeyondRanges(entry, comparatorOf(type)) };
      const name = indexedName(entry.ecosystem, entry.name);
      this.#insertAffected.run(entry.ecosystem, name, lastInsertRowid, JSON.stringify(kept));
    }
  }

  finish(facts: DatabaseFacts): void {
    facts.ecosystems = [...this.#ecosystems].sort();
    this.#db.prepare("INSERT INTO facts VALUES ('facts', ?)").run(JSON.stringify(facts));
    this.#db.exec('CREATE INDEX affected_by_name ON affected (name, ecosystem); COMMIT;');
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** Keeps the indexes that were used last; what a killed process left half made goes after a day. */
function trim(folder: string): void {
  const entries = readdirSync(folder).flatMap((name) => {
    const found = statSync(join(folder, name), { throwIfNoEntry: false });
    return found === undefined ? [] : [{ path: join(folder, name), name, usedMs: found.mtimeMs }];
  });
  const indexes = entries.filter(({ name }) => name.endsWith('.db')).sort((a, b) => b.usedMs - a.usedMs);
  const stale = entries.filter(({ name, usedMs }) => name.endsWith('.part') && usedMs < Date.now() - STALE_MS);
  for (const { path } of [...indexes.slice(MAX_INDEXES), ...stale]) rmSync(path, { force: true });
}
