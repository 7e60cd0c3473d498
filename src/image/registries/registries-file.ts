import { parse as parseToml } from 'smol-toml';
import { TareError } from '../../errors/index.ts';
import { type Foreign, flagAt, objectAt, optional, textAt } from '../json.ts';
import { isShortName, parseReference } from '../reference.ts';

/** When a mirror may be asked (containers-registries.conf(5), `pull-from-mirror`). */
export type PullFromMirror = 'all' | 'digest-only' | 'tag-only';

export interface Mirror {
  /** `host[:port][/path]` that takes the place of the prefix. */
  location: string;
  insecure: boolean;
  pullFromMirror: PullFromMirror;
}

/** One `[[registry]]`. */
export interface RegistryRule {
  /** `host[:port][/path]`, or `*.domain`. */
  prefix: string;
  /** Takes the place of the prefix; undefined for a wildcard: the name stays as it is. */
  location: string | undefined;
  insecure: boolean;
  blocked: boolean;
  mirrors: Mirror[];
}

export type ShortNameMode = 'enforcing' | 'permissive' | 'disabled';

/** What one file says; undefined: nothing. */
export interface RegistriesFile {
  registries: RegistryRule[];
  searchRegistries: string[] | undefined;
  shortNameMode: ShortNameMode | undefined;
  credentialHelpers: string[] | undefined;
  /** Short name → `host[:port]/path`; '' takes an alias of an earlier file away. */
  aliases: Map<string, string>;
  /** Keys that nobody knows. */
  warnings: string[];
}

/** A host, a path, a tag and a digest at their longest. */
const MAX_LOCATION_CHARACTERS = 1024;
const MODES: readonly string[] = ['enforcing', 'permissive', 'disabled'];
const USES: readonly string[] = ['all', 'digest-only', 'tag-only'];

const topKeys = [
  'unqualified-search-registries',
  'credential-helpers',
  'short-name-mode',
  'additional-layer-store-auth-helper',
  'registry',
  'aliases',
];
const registryKeys = ['prefix', 'location', 'insecure', 'blocked', 'mirror-by-digest-only', 'mirror'];
const mirrorKeys = ['location', 'insecure', 'pull-from-mirror'];

/**
 * Reads one file in the v2 format.
 *
 * @param file its path, for messages
 * @throws {TareError} InvalidArgument: not TOML, the v1 format, a value that contradicts another
 * @see containers-registries.conf(5)
 */
export function parseRegistriesFile(text: string, file: string): RegistriesFile {
  let document: Foreign;
  try {
    document = parseToml(text);
  } catch (cause) {
    throw new TareError('InvalidArgument', `${file} is not valid TOML: ${(cause as Error).message}`, { cause });
  }
  if (document['registries'] !== undefined)
    throw new TareError(
      'InvalidArgument',
      `${file} is in the v1 format, which is not supported: write unqualified-search-registries = […] in place of [registries.search], and [[registry]] tables with insecure or blocked in place of [registries.insecure] and [registries.block]`,
    );
  const warnings: string[] = [];
  const known = (table: Foreign, keys: readonly string[], where: string) => {
    for (const key of Object.keys(table))
      if (!keys.includes(key)) warnings.push(`${file}: unknown key ${JSON.stringify(key)}${where}`);
  };
  known(document, topKeys, '');
  const registries = (optional(document['registry'], `${file}: registry`, listAt) ?? []).map((value, index) => {
    const where = `${file}: registry ${index + 1}`;
    const table = objectAt(value, where);
    known(table, registryKeys, ` in registry ${index + 1}`);
    for (const mirror of optional(table['mirror'], `${where}: mirror`, listAt) ?? [])
      known(objectAt(mirror, `${where}: mirror`), mirrorKeys, ` in a mirror of registry ${index + 1}`);
    return registryRule(table, where);
  });
  refuseContradictions(registries, file);
  return {
    registries,
    searchRegistries: optional(
      document['unqualified-search-registries'],
      `${file}: unqualified-search-registries`,
      textsAt,
    )?.map((value) => location(value, `${file}: unqualified-search-registries`)),
    shortNameMode: oneOf(document['short-name-mode'], MODES, `${file}: short-name-mode`) as ShortNameMode | undefined,
    credentialHelpers: optional(document['credential-helpers'], `${file}: credential-helpers`, textsAt),
    aliases: aliasesOf(document['aliases'], file),
    warnings,
  };
}

/** One place may stand behind several prefixes, but cannot be insecure or blocked under one of them alone. */
function refuseContradictions(registries: readonly RegistryRule[], file: string): void {
  const seen = new Map<string, RegistryRule>();
  for (const rule of registries) {
    const place = rule.location ?? rule.prefix;
    const other = seen.get(place) ?? rule;
    for (const key of ['insecure', 'blocked'] as const)
      if (other[key] !== rule[key])
        throw invalid(`${file}: registry ${place} is given several times, with different settings of ${key}`);
    seen.set(place, rule);
  }
}

function registryRule(table: Foreign, where: string): RegistryRule {
  const prefixText = optional(table['prefix'], `${where}: prefix`, textAt) || undefined;
  const locationText = optional(table['location'], `${where}: location`, textAt) || undefined;
  if (table['pull-from-mirror'] !== undefined)
    throw invalid(`${where}: pull-from-mirror belongs into its [[registry.mirror]] tables`);
  const prefix = prefixText === undefined ? undefined : wildcardOrLocation(prefixText, `${where}: prefix`);
  if (prefix === undefined && locationText === undefined) throw invalid(`${where}: neither prefix nor location is set`);
  if (locationText === undefined && !prefix!.startsWith('*.'))
    throw invalid(`${where}: location is not set, which only a prefix like "*.example.com" may leave out`);
  const own = locationText === undefined ? undefined : location(locationText, `${where}: location`);
  const byDigestOnly = optional(table['mirror-by-digest-only'], `${where}: mirror-by-digest-only`, flagAt) ?? false;
  const mirrors = (optional(table['mirror'], `${where}: mirror`, listAt) ?? []).map((value, index): Mirror => {
    const at = `${where}: mirror ${index + 1}`;
    const mirror = objectAt(value, at);
    const use = oneOf(mirror['pull-from-mirror'], USES, `${at}: pull-from-mirror`) as PullFromMirror | undefined;
    if (use !== undefined && byDigestOnly)
      throw invalid(`${at}: pull-from-mirror and its registry's mirror-by-digest-only cannot both be set`);
    return {
      location: location(textAt(mirror['location'] ?? '', `${at}: location`), `${at}: location`),
      insecure: optional(mirror['insecure'], `${at}: insecure`, flagAt) ?? false,
      pullFromMirror: use ?? (byDigestOnly ? 'digest-only' : 'all'),
    };
  });
  return {
    prefix: prefix ?? own!,
    location: own,
    insecure: optional(table['insecure'], `${where}: insecure`, flagAt) ?? false,
    blocked: optional(table['blocked'], `${where}: blocked`, flagAt) ?? false,
    mirrors,
  };
}

const host =
  '(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?';
// A prefix may end in a tag or a digest as well: it is compared with whole references.
const locationPattern = new RegExp(`^${host}(?:/[A-Za-z0-9._-]+)*(?::[\\w][\\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`);
const wildcardPattern = /^\*(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+$/;
const hostPattern = new RegExp(`^${host}$`);

/** Whether a text is `host[:port]` and nothing else. */
export const isHost = (text: string): boolean => text.length <= 260 && hostPattern.test(text);

/** @returns the place with its host in lower case, without slashes at the end */
function location(text: string, where: string): string {
  if (text.length > MAX_LOCATION_CHARACTERS) throw invalid(`${where}: ${text.length} characters are too many`);
  const [host = '', ...path] = text.replace(/\/+$/, '').split('/');
  if (host === '') throw invalid(`${where}: it is empty`);
  if (/^https?:$/i.test(host))
    throw invalid(
      `${where}: ${JSON.stringify(text)} must not begin with http:// or https://: write insecure = true for plain HTTP`,
    );
  const place = [host.toLowerCase(), ...path].join('/');
  if (!locationPattern.test(place)) throw invalid(`${where}: want HOST[:PORT][/PATH], not ${JSON.stringify(text)}`);
  return place;
}

function wildcardOrLocation(text: string, where: string): string {
  if (!text.includes('*')) return location(text, where);
  if (text.length > 260 || !wildcardPattern.test(text))
    throw invalid(`${where}: a wildcard is *.DOMAIN and nothing more, not ${JSON.stringify(text.slice(0, 200))}`);
  return text.toLowerCase();
}

function aliasesOf(value: unknown, file: string): Map<string, string> {
  const aliases = new Map<string, string>();
  for (const [name, target] of Object.entries(optional(value, `${file}: aliases`, objectAt) ?? {})) {
    const where = `${file}: alias ${JSON.stringify(name.slice(0, 200))}`;
    if (!isShortName(name) || /[:@]/.test(name))
      throw invalid(`${where}: want a name without registry, tag and digest, such as "fedora"`);
    const text = textAt(target, where);
    if (text !== '') checkTarget(text, where);
    aliases.set(name, text);
  }
  return aliases;
}

function checkTarget(text: string, where: string): void {
  if (isShortName(text)) throw invalid(`${where}: its value needs a registry, as "docker.io/library/alpine" has`);
  const { tag, digest } = parseReference(text);
  if (tag !== undefined || digest !== undefined) throw invalid(`${where}: its value must have no tag and no digest`);
}

function oneOf(value: unknown, known: readonly string[], where: string): string | undefined {
  const text = optional(value, where, textAt);
  if (text === undefined || text === '') return undefined;
  if (!known.includes(text)) throw invalid(`${where}: want ${known.join(', ')}, not ${JSON.stringify(text)}`);
  return text;
}

function listAt(value: unknown, where: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(`${where}: want a list`);
}

function textsAt(value: unknown, where: string): string[] {
  return listAt(value, where).map((entry) => textAt(entry, where));
}

const invalid = (message: string) => new TareError('InvalidArgument', message);
