import type { VisibleFile } from '../../storage/index.ts';
import { malformed, readWhole } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_LOCK_BYTES = 32 * 1024 * 1024;
const MAX_DEPTH = 100;

export const isInstalledManifest = (path: string): boolean =>
  /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^@./][^/]*\/package\.json$/.test(path);
export const isLockFile = (path: string): boolean =>
  /(?:^|\/)(?:package-lock|npm-shrinkwrap)\.json$/.test(path) && !path.includes('node_modules/');

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

function parse(file: VisibleFile, limitBytes: number): Json {
  let value: unknown;
  try {
    value = JSON.parse(
      readWhole(file, limitBytes)
        .toString('utf8')
        .replace(/^\uFEFF/, ''),
    );
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed(file.path, `not valid JSON: ${error.message}`);
    throw error;
  }
  if (!isObject(value)) throw malformed(file.path, 'want a JSON object');
  return value;
}

/** @returns undefined: a part of another package, which has no name or version of its own */
export function npmPackage(file: VisibleFile): FoundPackage | undefined {
  const manifest = parse(file, MAX_MANIFEST_BYTES);
  const [name, version] = [text(manifest.name), text(manifest.version)];
  if (name === undefined || version === undefined) return undefined;
  const author = isObject(manifest.author) ? text(manifest.author.name) : text(manifest.author);
  return { type: 'npm', name, version, licenses: licensesOf(manifest), ...(author ? { supplier: author } : {}) };
}

/** `license` is an expression; old manifests have an object or a list of them. */
function licensesOf({ license, licenses }: Json): string[] {
  const all = [license, ...(Array.isArray(licenses) ? licenses.slice(0, 64) : [licenses])];
  return all.flatMap((entry) => text(isObject(entry) ? (entry.type ?? entry.name) : entry) ?? []);
}

/** What a lock file (version 1 to 3) says is installed beside it, development's own left out. */
export function* lockedPackages(file: VisibleFile): Generator<FoundPackage, void, void> {
  const lock = parse(file, MAX_LOCK_BYTES);
  if (isObject(lock.packages)) {
    for (const [path, entry] of Object.entries(lock.packages)) {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      if (!path.includes('node_modules/') || !isObject(entry) || entry.dev === true || entry.link === true) continue;
      const version = text(entry.version);
      if (version !== undefined) {
        yield { type: 'npm', name: text(entry.name) ?? name, version, licenses: licensesOf(entry) };
      }
    }
  } else if (isObject(lock.dependencies)) yield* nested(lock.dependencies, file.path, 0);
}

function* nested(dependencies: Json, path: string, depth: number): Generator<FoundPackage, void, void> {
  if (depth > MAX_DEPTH) throw malformed(path, `dependencies nested more than ${MAX_DEPTH} deep`);
  for (const [name, entry] of Object.entries(dependencies)) {
    if (!isObject(entry) || entry.dev === true) continue;
    const version = text(entry.version);
    if (version !== undefined) yield { type: 'npm', name, version };
    if (isObject(entry.dependencies)) yield* nested(entry.dependencies, path, depth + 1);
  }
}
