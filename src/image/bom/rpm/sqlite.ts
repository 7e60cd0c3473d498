import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { VisibleFile } from '../../../storage/index.ts';
import { readAt } from '../../read-at.ts';
import { malformed } from '../foreign-file.ts';

const MAX_DATABASE_BYTES = 1024 ** 3;
const PIECE_BYTES = 1024 * 1024;

/** As rpm makes it. Anything else (a view, computed columns) would run what the image wants to run. */
const packagesTable =
  /^CREATE TABLE (['"]?)Packages\1\s*\(\s*hnum INTEGER PRIMARY KEY AUTOINCREMENT,\s*blob BLOB NOT NULL\s*\)$/i;

/**
 * The headers in rpm's `rpmdb.sqlite`, read from a private copy: SQLite writes beside a database that it reads.
 *
 * @param log the write-ahead log, which may hold the newest packages
 * @throws {TareError} InvalidArgument: damaged, or not as rpm makes it
 */
export function* sqliteHeaders(file: VisibleFile, log: VisibleFile | undefined): Generator<Buffer, void, void> {
  using stack = new DisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'tare-rpmdb-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'rpmdb.sqlite');
  copy(file, path);
  if (log !== undefined) copy(log, `${path}-wal`);
  try {
    const db = new DatabaseSync(path, { allowExtension: false, enableForeignKeyConstraints: false });
    stack.defer(() => db.close());
    db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;');
    const made = db.prepare("SELECT type, sql FROM sqlite_schema WHERE tbl_name = 'Packages'").all();
    if (made.length !== 1 || made[0]!.type !== 'table' || !packagesTable.test(String(made[0]!.sql))) {
      throw malformed(file.path, 'it has no table Packages as rpm makes it');
    }
    // Pages that are listed many times would keep a reader busy for ever; this finds them in one pass over this table alone.
    const [state] = Object.values(db.prepare("PRAGMA quick_check('Packages')").get() ?? {});
    if (state !== 'ok') throw malformed(file.path, `damaged: ${String(state).replaceAll('\n', ' ')}`);
    for (const row of db.prepare('SELECT blob FROM Packages ORDER BY hnum').iterate()) {
      const { blob } = row as { blob: unknown };
      if (!(blob instanceof Uint8Array)) throw malformed(file.path, 'a package that is no blob');
      yield Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
    }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_SQLITE_ERROR') throw error;
    throw malformed(file.path, `no valid SQLite database: ${(error as Error).message}`);
  }
}

function copy(file: VisibleFile, to: string): void {
  const { sizeBytes } = file.status();
  if (sizeBytes > MAX_DATABASE_BYTES) {
    throw malformed(file.path, `${sizeBytes} bytes, at most ${MAX_DATABASE_BYTES} are read`);
  }
  using source = file.open();
  const target = openSync(to, 'wx', 0o600);
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (let offset = 0; offset < sizeBytes; ) {
      const size = readAt(source.fd, piece, offset);
      if (size === 0) break;
      writeSync(target, piece, 0, size);
      offset += size;
    }
  } finally {
    closeSync(target);
  }
}
