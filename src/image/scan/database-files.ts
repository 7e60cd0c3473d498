import { createHash } from 'node:crypto';
import { closeSync, createReadStream, type Dirent, openSync, readSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { ZipReader } from '../zip.ts';

const MAX_FILES = 2_000_000;
const MAX_DEPTH = 16;
const MAX_RECORD_BYTES = 32 * 1024 * 1024;
/** A JSON file up to here is read whole; a longer one must have a record a line. */
const MAX_JSON_BYTES = 128 * 1024 * 1024;

/** A file of a vulnerability database. */
export interface DatabaseFile {
  path: string;
  sizeBytes: number;
  modifiedMs: number;
}

/** A record as it lies there. */
export interface RawRecord {
  /** Names it in errors. */
  where: string;
  /** Parsed JSON, or why it is none. */
  value: unknown;
  error?: Error;
}

/**
 * The files of a database in OSV's format: one file, or a folder of `.json`, `.jsonl` and `.zip` files at any depth.
 *
 * @throws {TareError} NotFound; InvalidArgument: no such file in the folder, or far too many
 */
export async function databaseFiles(path: string): Promise<DatabaseFile[]> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new TareError(
      'NotFound',
      `no vulnerability database at ${path}: get one with "tare scan-db update", or name one with --db`,
    );
  }
  if (!found.isDirectory()) return [{ path, sizeBytes: found.size, modifiedMs: found.mtimeMs }];
  const files: DatabaseFile[] = [];
  await gather(path, 0, files);
  if (files.length === 0) throw new TareError('InvalidArgument', `${path}: no .json, .jsonl or .zip file in it`);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function gather(folder: string, depth: number, files: DatabaseFile[]): Promise<void> {
  if (depth > MAX_DEPTH)
    throw new TareError('InvalidArgument', `${folder}: folders nested more than ${MAX_DEPTH} deep`);
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true });
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await gather(path, depth + 1, files);
    else if (entry.isFile() && /\.(?:json|jsonl|ndjson|zip)$/i.test(entry.name)) {
      if (files.length >= MAX_FILES) throw new TareError('InvalidArgument', `${folder}: more than ${MAX_FILES} files`);
      const { size, mtimeMs } = statSync(path);
      files.push({ path, sizeBytes: size, modifiedMs: mtimeMs });
    }
  }
}

/** Changes when a file comes, goes or is written. */
export function fingerprint(root: string, files: readonly DatabaseFile[], salt: string): string {
  const hash = createHash('sha256').update(`${salt}\0${root}\0`);
  for (const { path, sizeBytes, modifiedMs } of files) {
    hash.update(`${relative(root, path)}\0${sizeBytes}\0${modifiedMs}\0`);
  }
  return hash.digest('hex');
}

/** All records of a file, one at a time. @throws {TareError} InvalidArgument: no zip file, or one JSON file of more than 128 MiB */
export async function* recordsIn(file: DatabaseFile): AsyncGenerator<RawRecord, void, void> {
  if (isZip(file.path)) yield* zipRecords(file.path);
  else if (/\.(?:jsonl|ndjson)$/i.test(file.path) || file.sizeBytes > MAX_JSON_BYTES) yield* lineRecords(file.path);
  else yield* jsonRecords(file.path);
}

function isZip(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(4);
    return (
      readSync(fd, head, 0, 4, 0) === 4 && (head.readUInt32LE(0) === 0x04034b50 || head.readUInt32LE(0) === 0x06054b50)
    );
  } finally {
    closeSync(fd);
  }
}

async function* zipRecords(path: string): AsyncGenerator<RawRecord, void, void> {
  const fd = openSync(path, 'r');
  try {
    const zip = await ZipReader.open(fd, path, MAX_FILES);
    for await (const entry of zip.entries()) {
      const name = entry.fileName as string;
      if (!name.endsWith('.json')) continue;
      const where = `${path}: ${name}`;
      yield parsed(zip.read(entry, MAX_RECORD_BYTES).toString('utf8'), where);
    }
  } finally {
    closeSync(fd);
  }
}

async function* lineRecords(path: string): AsyncGenerator<RawRecord, void, void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let number = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...rest, chunk.subarray(start, end)]).toString('utf8');
      rest = [];
      restBytes = 0;
      start = end + 1;
      number += 1;
      if (line.trim() !== '') yield parsed(line, `${path}:${number}`);
    }
    rest.push(chunk.subarray(start));
    restBytes += chunk.length - start;
    if (restBytes > MAX_RECORD_BYTES) {
      throw new TareError('InvalidArgument', `${path}: a line of more than ${MAX_RECORD_BYTES} bytes`);
    }
  }
  const last = Buffer.concat(rest).toString('utf8');
  if (last.trim() !== '') yield parsed(last, `${path}:${number + 1}`);
}

/** One record, a list of them, or `{"vulns": [...]}`; a file that has a record a line says so by its first one. */
async function* jsonRecords(path: string): AsyncGenerator<RawRecord, void, void> {
  const text = await readFile(path, 'utf8');
  const whole = parsed(text, path);
  if (whole.error !== undefined && parsed(text.slice(0, text.indexOf('\n')), path).error === undefined) {
    yield* lineRecords(path);
    return;
  }
  const { value } = whole;
  const list = Array.isArray(value) ? value : (value as { vulns?: unknown } | undefined)?.vulns;
  if (!Array.isArray(list)) yield whole;
  else for (const [at, each] of list.entries()) yield { where: `${path}[${at}]`, value: each };
}

function parsed(text: string, where: string): RawRecord {
  try {
    return { where, value: JSON.parse(text) };
  } catch (error) {
    return { where, value: undefined, error: error as Error };
  }
}
