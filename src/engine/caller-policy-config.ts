import { TareError } from '../errors/index.ts';

/** What a caller may not have. Lists that are undefined forbid nothing. */
export interface CallerRules {
  denyPrivileged: boolean;
  denyHostNamespaces: boolean;
  denyDevices: boolean;
  denyUnconfined: boolean;
  /** Absolute and clean. */
  allowedBindSources?: string[];
  /** Without `CAP_`. */
  deniedCapabilities: string[];
  /** `HOST[:PORT]`, or the beginning of a repository's name with its registry. */
  allowedRegistries?: string[];
}

/** Rules for some callers, in place of everybody's. */
export interface RulesForCallers {
  uids: number[];
  /** Common names of verified certificates. */
  certificates: string[];
  rules: CallerRules;
}

export interface CallerPolicy {
  everybody: CallerRules;
  /** The first that names a caller counts. */
  callers: RulesForCallers[];
}

const flags = ['deny-privileged', 'deny-host-namespaces', 'deny-devices', 'deny-unconfined'];
const lists = ['allowed-bind-sources', 'denied-capabilities', 'allowed-registries'];

type Table = Record<string, unknown>;

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const invalid = (why: string) => new TareError('InvalidArgument', `configuration: policy: ${why}`);

/** @param value the table `[policy]` @throws {TareError} InvalidArgument: the key and what would be right */
export function parseCallerPolicy(value: unknown): CallerPolicy {
  if (!isTable(value)) throw invalid('want a table');
  const { callers = [], ...own } = value;
  if (!Array.isArray(callers) || !callers.every(isTable)) throw invalid('callers: want tables, [[policy.callers]]');
  return { everybody: parseRules(own), callers: callers.map(parseCallers) };
}

function parseCallers(table: Table): RulesForCallers {
  const { uids = [], certificates = [], ...rules } = table;
  if (!Array.isArray(uids) || !uids.every((uid) => Number.isSafeInteger(uid) && uid >= 0))
    throw invalid('callers: uids: want a list of numbers');
  const names = texts('callers: certificates', certificates);
  if (uids.length + names.length === 0) throw invalid('callers: each table must name uids or certificates');
  return { uids, certificates: names, rules: parseRules(rules) };
}

function parseRules(table: Table): CallerRules {
  for (const [key, value] of Object.entries(table)) {
    if (flags.includes(key)) {
      if (typeof value !== 'boolean') throw invalid(`${key}: want true or false`);
    } else if (!lists.includes(key)) {
      throw invalid(`unknown key ${JSON.stringify(key)}: one of ${[...flags, ...lists].join(', ')}`);
    }
  }
  const given = (key: string): string[] | undefined => (table[key] === undefined ? undefined : texts(key, table[key]));
  const sources = given('allowed-bind-sources')?.map(cleanFolder);
  const registries = given('allowed-registries');
  return {
    denyPrivileged: table['deny-privileged'] === true,
    denyHostNamespaces: table['deny-host-namespaces'] === true,
    denyDevices: table['deny-devices'] === true,
    denyUnconfined: table['deny-unconfined'] === true,
    deniedCapabilities: (given('denied-capabilities') ?? []).map((name) => name.toUpperCase().replace(/^CAP_/, '')),
    ...(sources === undefined ? {} : { allowedBindSources: sources }),
    ...(registries === undefined ? {} : { allowedRegistries: registries.map((name) => name.replace(/\/+$/, '')) }),
  };
}

function texts(key: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== '')) return value;
  throw invalid(`${key}: want a list of texts`);
}

function cleanFolder(path: string): string {
  if (/^\/([^/]+(\/[^/]+)*)?$/.test(path) && !/(^|\/)\.{1,2}(\/|$)/.test(path)) return path;
  throw invalid(`allowed-bind-sources: ${JSON.stringify(path)}: want absolute paths without . and ..`);
}
