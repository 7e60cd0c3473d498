import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../../../errors/index.ts';

/** The versions of the specification that we speak, oldest first. */
export const cniVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof cniVersions)[number];

export const isAtLeast = (version: CniVersion, wanted: CniVersion): boolean =>
  cniVersions.indexOf(version) >= cniVersions.indexOf(wanted);

/** A plugin's configuration as it stands in its list; what we do not know is the plugin's. */
export interface PluginConfig {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

/** A network configuration list. @see CNI specification, section 1 */
export interface Conflist {
  name: string;
  cniVersion: CniVersion;
  disableCheck: boolean;
  disableGC: boolean;
  plugins: PluginConfig[];
}

/** A list and where it comes from. */
export interface ConflistFile {
  path: string;
  changedMs: number;
  list: Conflist;
}

/** What a folder of configurations holds: lists, and why other files are none. */
export interface ConflistFolder {
  files: ConflistFile[];
  problems: string[];
}

const MAX_BYTES = 1 << 20;
const MAX_PLUGINS = 64;

/**
 * Reads `*.conflist`, and single plugins in `*.conf` and `*.json`, in the order of their names. Of several with one name
 * the first counts. A file that makes no sense hides no other.
 */
export function readConflists(folder: string): ConflistFolder {
  const files: ConflistFile[] = [];
  const problems: string[] = [];
  for (const entry of entries(folder)) {
    const path = join(folder, entry);
    try {
      const { text, changedMs } = readBounded(path);
      const list = parseConflist(text, (name) => extraPlugins(folder, name));
      if (!files.some((other) => other.list.name === list.name)) files.push({ path, changedMs, list });
    } catch (error) {
      problems.push(`${path}: ${(error as Error).message}`);
    }
  }
  return { files, problems };
}

/** The id of a list's network: the same for as long as its name. */
export const conflistId = (name: string): string => createHash('sha256').update(`cni ${name}`).digest('hex');

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.(conflist|conf|json)$/.test(name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function readBounded(path: string): { text: string; changedMs: number } {
  // Not held up by a FIFO that nobody writes to.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw new Error('not a regular file');
    if (status.size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
    const bytes = Buffer.alloc(status.size);
    let length = 0;
    for (;;) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0 || length === bytes.length) break;
    }
    return { text: bytes.toString('utf8', 0, length), changedMs: status.mtimeMs };
  } finally {
    closeSync(fd);
  }
}

/**
 * @param more plugins from the list's own folder, unless it says that it is complete (specification 1.1)
 * @throws {TareError} InvalidArgument: what is wrong, without the file's name
 */
function parseConflist(text: string, more: (name: string) => unknown[] = () => []): Conflist {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw invalid(`not JSON: ${(error as Error).message}`);
  }
  if (!isObject(document)) throw invalid('not a JSON object');
  const { name, type } = document;
  if (typeof name !== 'string' || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(name)) {
    throw invalid(
      `invalid name ${JSON.stringify(name)}: begin with a letter or digit, go on with those, '_', '.' or '-'`,
    );
  }
  // A single plugin is a list of one (specification 0.2, still widespread).
  const inline = document['plugins'] ?? (type === undefined ? [] : [document]);
  if (!Array.isArray(inline)) throw invalid('plugins: want a list');
  const listed =
    document['loadOnlyInlinedPlugins'] === true || type !== undefined ? inline : [...inline, ...more(name)];
  if (listed.length === 0 || listed.length > MAX_PLUGINS) throw invalid(`plugins: want 1 to ${MAX_PLUGINS}`);
  return {
    name,
    cniVersion: version(document),
    disableCheck: flag(document['disableCheck']),
    disableGC: flag(document['disableGC']),
    plugins: listed.map(plugin),
  };
}

/** The newest version that both sides know; a list without any is of the oldest. */
function version(document: Record<string, unknown>): CniVersion {
  const one = document['cniVersion'] ?? '';
  const several = document['cniVersions'] ?? [];
  const offered = [...(Array.isArray(several) ? several : []), one].filter((text) => text !== '');
  if (offered.length === 0) return '0.3.0';
  const common = cniVersions.findLast((known) => offered.includes(known));
  if (common !== undefined) return common;
  throw invalid(
    `cniVersion ${JSON.stringify(offered.length === 1 ? offered[0] : offered)}: want one of ${cniVersions.join(', ')}`,
  );
}

function plugin(value: unknown): PluginConfig {
  if (!isObject(value)) throw invalid('plugins: want objects');
  const { type, capabilities } = value;
  // It becomes a file's name.
  if (typeof type !== 'string' || type === '' || type.length > 255 || /[/\0]/.test(type) || type.startsWith('.')) {
    throw invalid(`plugins: invalid type ${JSON.stringify(type)}: want the name of a program`);
  }
  if (capabilities !== undefined && !isObject(capabilities))
    throw invalid(`plugin ${type}: capabilities: want an object`);
  return value as PluginConfig;
}

/** Some write them as text (specification 1.0 allows it). */
const flag = (value: unknown): boolean => value === true || value === 'true';

function extraPlugins(folder: string, name: string): unknown[] {
  const own = join(folder, name);
  return entries(own)
    .filter((entry) => entry.endsWith('.conf'))
    .map((entry) => JSON.parse(readBounded(join(own, entry)).text) as unknown);
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const invalid = (text: string): TareError => new TareError('InvalidArgument', text);
