import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ZipEntry, ZipReader } from '../zip.ts';
import { malformed } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';

const MAX_ENTRIES = 500_000;
const MAX_DEPTH = 4;
const MAX_PROPERTIES_BYTES = 256 * 1024;
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_NESTED_BYTES = 512 * 1024 * 1024;
/** Inflated bytes that one archive may cost with all that is in it. */
const MAX_INFLATED_BYTES = 2 * 1024 ** 3;
const MAX_NESTED = 10_000;

export const isJavaArchive = (path: string): boolean => /\.(?:jar|war|ear|sar|par|jpi|hpi|lpkg)$/i.test(path);

export interface FoundInArchive extends FoundPackage {
  /** The archives on the way inside, each after a colon; '' for the outermost. */
  inside: string;
}

interface Budget {
  inflatedBytes: number;
  archives: number;
}

/**
 * Packages of a Java archive and of those in it, by their Maven properties, else by their manifest and file name.
 *
 * @throws {TareError} InvalidArgument: damaged, nested deeper than 4, or it inflates beyond reason
 */
export async function javaPackages(fd: number, path: string, signal?: AbortSignal): Promise<FoundInArchive[]> {
  const budget: Budget = { inflatedBytes: 0, archives: 0 };
  return await readArchive(fd, path, '', 0, budget, signal);
}

async function readArchive(
  fd: number,
  path: string,
  inside: string,
  depth: number,
  budget: Budget,
  signal: AbortSignal | undefined,
): Promise<FoundInArchive[]> {
  const what = `${path}${inside}`;
  budget.archives += 1;
  if (budget.archives > MAX_NESTED) throw malformed(path, `more than ${MAX_NESTED} archives in it`);
  const zip = await ZipReader.open(fd, what, MAX_ENTRIES);
  const count = (sizeBytes: number) => spend(budget, sizeBytes, path);
  const found: FoundInArchive[] = [];
  let manifest: Map<string, string> | undefined;
  for await (const entry of zip.entries()) {
    signal?.throwIfAborted();
    const name = entry.fileName as string;
    if (/^(?:.*\/)?META-INF\/maven\/[^/]+\/[^/]+\/pom\.properties$/.test(name)) {
      const properties = parseProperties(zip.read(entry, MAX_PROPERTIES_BYTES, count).toString('utf8'));
      const group = properties.get('groupId');
      const artifact = properties.get('artifactId');
      const version = properties.get('version');
      if (group && artifact && version) {
        found.push({ type: 'maven', name: `${group}:${artifact}`, version, inside });
      }
    } else if (name === 'META-INF/MANIFEST.MF') {
      manifest = parseManifest(zip.read(entry, MAX_MANIFEST_BYTES, count).toString('utf8'));
    } else if (isJavaArchive(name)) {
      if (depth + 1 > MAX_DEPTH) throw malformed(what, `archives nested more than ${MAX_DEPTH} deep`);
      const nested = await extract(zip, entry, count);
      try {
        found.push(...(await readArchive(nested, path, `${inside}:${name}`, depth + 1, budget, signal)));
      } finally {
        closeSync(nested);
      }
    }
  }
  if (!found.some((entry) => entry.inside === inside)) {
    const own = byManifest(manifest ?? new Map(), inside === '' ? path : inside);
    if (own !== undefined) found.push({ ...own, inside });
  }
  return found;
}

function spend(budget: Budget, sizeBytes: number, path: string): void {
  budget.inflatedBytes += sizeBytes;
  if (budget.inflatedBytes <= MAX_INFLATED_BYTES) return;
  throw malformed(path, `it inflates to more than ${MAX_INFLATED_BYTES} bytes: refused as a decompression bomb`);
}

/** A nested archive in a file without a name: it may be large, and its directory is at its end. */
async function extract(zip: ZipReader, entry: ZipEntry, count: (sizeBytes: number) => void): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'tare-jar-'));
  let fd: number;
  try {
    fd = openSync(join(folder, 'nested'), 'wx+', 0o600);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    for await (const chunk of zip.bytes(entry, MAX_NESTED_BYTES, count)) writeSync(fd, chunk);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Java's properties, as Maven writes them: no continued lines, no escapes in what is read. */
function parseProperties(text: string): Map<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line): [string, string][] => {
      const [, key, value] = /^\s*([^#!=:\s][^=:\s]*)\s*[=:]\s*(.*?)\s*$/.exec(line) ?? [];
      return key === undefined ? [] : [[key, value!]];
    }),
  );
}

/** The main section; a line that begins with a space continues the one before (JAR file specification). */
function parseManifest(text: string): Map<string, string> {
  const main = text.split(/\r?\n\r?\n/, 1)[0]!.replaceAll(/\r?\n /g, '');
  return new Map(
    main.split(/\r?\n/).flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon <= 0 ? [] : [[line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]];
    }),
  );
}

function byManifest(manifest: Map<string, string>, path: string): FoundPackage | undefined {
  const base = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf(':')) + 1).replace(/\.[^.]+$/, '');
  const [, fileName, fileVersion] = /^(.+?)-(\d[A-Za-z0-9._+-]*)$/.exec(base) ?? [];
  const first = (...keys: string[]) =>
    keys.map((key) => manifest.get(key)).find((value) => value !== undefined && value !== '');
  const version =
    first('implementation-version', 'bundle-version', 'plugin-version', 'specification-version') ?? fileVersion;
  const symbolic = first('bundle-symbolicname')?.split(';')[0]?.trim();
  const artifact = fileName ?? first('implementation-title', 'extension-name', 'short-name') ?? symbolic ?? base;
  if (!version || !artifact || /\s/.test(version) || /\s/.test(artifact)) return undefined;
  // org.example.thing of thing-1.0.jar is of the group org.example.
  const group =
    first('implementation-vendor-id') ??
    (symbolic?.endsWith(`.${artifact}`) ? symbolic.slice(0, -artifact.length - 1) : undefined);
  const license = first('bundle-license');
  return {
    type: 'maven',
    name: group && !/\s/.test(group) ? `${group}:${artifact}` : artifact,
    version,
    ...(license && license.length <= 200 ? { licenses: [license] } : {}),
  };
}
