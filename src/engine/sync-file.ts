import { open } from 'node:fs/promises';
import { TareError } from '../errors/index.ts';

/** One registry of a sync file. */
export interface SyncRegistry {
  host: string;
  images: SyncImages[];
  credentials?: { username: string; password: string };
  tlsVerify?: boolean;
  certDir?: string;
}

/** Which tags of a repository; none named: all, or those that a pattern matches. */
export interface SyncImages {
  repository: string;
  /** Tags and digests. */
  tags: string[];
  pattern?: RegExp;
}

const MAX_BYTES = 4 << 20;
const keys = ['images', 'images-by-tag-regex', 'credentials', 'tls-verify', 'cert-dir'];

/**
 * Reads a sync file: registries, and what of them to copy.
 *
 * @throws {TareError} InvalidArgument: the key and what would be right; NotFound
 * @see skopeo-sync(1), "YAML file content"
 */
export async function readSyncFile(path: string): Promise<SyncRegistry[]> {
  const { parseDocument } = await import('yaml');
  const document = parseDocument((await readText(path)).toString('utf8'), { version: '1.2', merge: true });
  const [problem] = document.errors;
  if (problem !== undefined) throw new TareError('InvalidArgument', `${path}: ${problem.message}`, { cause: problem });
  // At most 100 uses of aliases: a small file must not stand for a large one.
  const content: unknown = document.toJS({ maxAliasCount: 100 });
  return Object.entries(mapping(content, path)).map(([host, value]) =>
    registryOf(host, mapping(value, `${path}: ${host}`), `${path}: ${host}`),
  );
}

async function readText(path: string): Promise<Buffer> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    if (size <= MAX_BYTES) return await file.readFile();
    throw new TareError('InvalidArgument', `${path} has ${size} bytes, at most ${MAX_BYTES} are read`);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new TareError('NotFound', `${path}: no such file`, { cause });
  }
}

function registryOf(host: string, document: Record<string, unknown>, where: string): SyncRegistry {
  for (const key of Object.keys(document)) {
    if (keys.includes(key)) continue;
    throw new TareError('InvalidArgument', `${where}: unknown key ${JSON.stringify(key)}: one of ${keys.join(', ')}`);
  }
  const images = Object.entries(mapping(document['images'] ?? {}, `${where}: images`)).map(([repository, tags]) => ({
    repository,
    tags: texts(tags, `${where}: images: ${repository}`),
  }));
  const patterns = Object.entries(mapping(document['images-by-tag-regex'] ?? {}, `${where}: images-by-tag-regex`)).map(
    ([repository, text]) => ({
      repository,
      tags: [],
      pattern: patternOf(text, `${where}: images-by-tag-regex: ${repository}`),
    }),
  );
  const tlsVerify = document['tls-verify'];
  if (tlsVerify !== undefined && typeof tlsVerify !== 'boolean') throw wrong(`${where}: tls-verify`, 'true or false');
  const certDir = document['cert-dir'];
  if (certDir !== undefined && typeof certDir !== 'string') throw wrong(`${where}: cert-dir`, 'a path');
  const credentials = document['credentials'];
  return {
    host,
    images: [...images, ...patterns],
    ...(tlsVerify === undefined ? {} : { tlsVerify }),
    ...(certDir === undefined ? {} : { certDir }),
    ...(credentials === undefined ? {} : { credentials: credentialsOf(credentials, `${where}: credentials`) }),
  };
}

function credentialsOf(value: unknown, where: string): { username: string; password: string } {
  const { username, password } = mapping(value, where);
  if (typeof username === 'string' && typeof password === 'string') return { username, password };
  throw wrong(where, 'username and password');
}

function patternOf(value: unknown, where: string): RegExp {
  if (typeof value !== 'string') throw wrong(where, 'a regular expression');
  try {
    return new RegExp(value);
  } catch (cause) {
    throw new TareError('InvalidArgument', `${where}: ${(cause as Error).message}`, { cause });
  }
}

function mapping(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw wrong(where, 'a mapping');
}

/** A tag such as 1.10 reads as a number, which has lost its zero: it must stand in quotes. */
function texts(value: unknown, where: string): string[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw wrong(where, 'a list of tags and digests');
  return value.map((entry: unknown) => {
    if (typeof entry === 'string') return entry;
    throw wrong(where, `tags in quotes, not ${JSON.stringify(entry)}`);
  });
}

const wrong = (where: string, want: string) => new TareError('InvalidArgument', `${where}: want ${want}`);
