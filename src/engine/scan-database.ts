import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';

/** Where OSV publishes its databases, one `ECOSYSTEM/all.zip` each (google.github.io/osv.dev/data/). */
const OSV_URL = 'https://osv-vulnerabilities.storage.googleapis.com';

/** What a scan can use and most images need. */
const defaultEcosystems: readonly string[] = ['Debian', 'Ubuntu', 'Alpine', 'npm', 'PyPI', 'Go', 'Maven'];

const MAX_ARCHIVE_BYTES = 4 * 1024 ** 3;
const IDLE_TIMEOUT_MS = 60_000;
const ATTEMPTS = 3;
/** What a killed update left half written goes after this time: nobody writes so long without a pause. */
const STALE_MS = 24 * 3600 * 1000;

export interface ScanDatabaseUpdate {
  ecosystem: string;
  /** Undefined: what is here is the newest. */
  receivedBytes: number | undefined;
}

/**
 * Fetches OSV's databases into a folder, one zip file an ecosystem. What has not changed since is not fetched again; a file
 * takes its place when it is whole and on disk, so a scan may run meanwhile.
 *
 * @param from a server with OSV's layout; plain http is taken only when it is asked for
 * @throws {TareError} Unavailable: it cannot be fetched; NotFound: there is no such ecosystem; InvalidArgument: no zip file came
 */
export async function* updateScanDatabase(
  folder: string,
  options: { ecosystems?: readonly string[]; from?: string; signal?: AbortSignal } = {},
): AsyncGenerator<ScanDatabaseUpdate, void, void> {
  const { ecosystems = defaultEcosystems, from = OSV_URL, signal } = options;
  const base = parseBase(from);
  for (const ecosystem of ecosystems) requireEcosystem(ecosystem);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await removeStale(folder);
  for (const ecosystem of ecosystems) {
    const url = `${base}/${encodeURIComponent(ecosystem)}/all.zip`;
    yield { ecosystem, receivedBytes: await fetchArchive(url, join(folder, `${ecosystem}.zip`), ecosystem, signal) };
  }
}

function parseBase(from: string): string {
  const url = URL.parse(from);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new TareError('InvalidArgument', `invalid address ${JSON.stringify(from)}: want https://HOST[/PATH]`);
  }
  return from.replace(/\/+$/, '');
}

/** It becomes a file's name. */
function requireEcosystem(ecosystem: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9 .:_-]{0,99}$/.test(ecosystem)) return;
  throw new TareError(
    'InvalidArgument',
    `invalid ecosystem ${JSON.stringify(ecosystem)}: want a name of OSV's, such as Debian, Alpine:v3.20 or PyPI`,
  );
}

async function removeStale(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/\.zip\.\d+\.part$/.test(name)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && found.mtimeMs < Date.now() - STALE_MS) await rm(path, { force: true });
  }
}

async function fetchArchive(
  url: string,
  path: string,
  ecosystem: string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetchOnce(url, path, ecosystem, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof TareError && error.kind !== 'Unavailable') throw error;
      if (attempt === ATTEMPTS) {
        const cause = (error as Error).cause;
        const why =
          error instanceof TareError
            ? error.message
            : `${url}: ${cause instanceof Error ? cause.message : (error as Error).message}`;
        throw new TareError('Unavailable', `cannot fetch the database of ${ecosystem}: ${why}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
    }
  }
}

async function fetchOnce(
  url: string,
  path: string,
  ecosystem: string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const idle = new AbortController();
  const watch = setTimeout(() => idle.abort(new Error(`no bytes for ${IDLE_TIMEOUT_MS / 1000} s`)), IDLE_TIMEOUT_MS);
  try {
    const known = await stat(path).catch(() => undefined);
    const response = await fetch(url, {
      headers: known === undefined ? {} : { 'if-modified-since': known.mtime.toUTCString() },
      signal: signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal]),
    });
    if (url.startsWith('https:') && !response.url.startsWith('https:')) {
      throw new TareError('InvalidArgument', `${url} leads to ${response.url}, which is not encrypted`);
    }
    if (response.status === 304) return undefined;
    if (response.status === 404) throw new TareError('NotFound', `${url}: there is no database of ${ecosystem}`);
    if (!response.ok || response.body === null) {
      throw new TareError('Unavailable', `${url}: the server answered ${response.status}`);
    }
    const draft = `${path}.${process.pid}.part`;
    try {
      const received = await store(response.body, draft, url, () => watch.refresh());
      const modified = new Date(response.headers.get('last-modified') ?? Number.NaN);
      if (!Number.isNaN(modified.getTime())) await utimes(draft, modified, modified);
      await rename(draft, path);
      return received;
    } finally {
      await rm(draft, { force: true });
    }
  } finally {
    clearTimeout(watch);
  }
}

async function store(
  body: AsyncIterable<Uint8Array>,
  draft: string,
  url: string,
  onBytes: () => void,
): Promise<number> {
  await using file = await open(
    draft,
    constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
    0o600,
  );
  let received = 0;
  let head = Buffer.alloc(0);
  for await (const chunk of body) {
    onBytes();
    received += chunk.byteLength;
    if (received > MAX_ARCHIVE_BYTES) {
      throw new TareError('InvalidArgument', `${url}: more than ${MAX_ARCHIVE_BYTES} bytes`);
    }
    if (head.length < 4) head = Buffer.concat([head, chunk.subarray(0, 4 - head.length)]);
    await file.writeFile(chunk);
  }
  if (!head.equals(Buffer.from('PK\x03\x04')) && !head.equals(Buffer.from('PK\x05\x06'))) {
    throw new TareError('InvalidArgument', `${url}: what came is no zip file`);
  }
  await file.sync();
  return received;
}
