import { type ScoreVector, type Severity, severityOfScore, severityOfWord, worst } from './severity.ts';

/** An event on a line of versions (OSV schema 1.7, "affected[].ranges[].events"). */
export type RangeEvent = { introduced: string } | { fixed: string } | { last_affected: string } | { limit: string };

/** Versions of one package that a vulnerability is in. */
export interface Affected {
  ecosystem: string;
  name: string;
  ranges: RangeEvent[][];
  versions: string[];
  severity: Severity;
  score?: number;
  /** Binary packages that contain it, where the database says so and the name is a source package's. */
  binaries?: string[];
}

/** What a finding tells of a vulnerability. */
export interface Vulnerability {
  id: string;
  /** Other names of the same vulnerability. */
  aliases: string[];
  /** Vulnerabilities that this one, a distribution's advisory, is about. */
  upstream: string[];
  title: string;
  severity: Severity;
  score?: number;
  url?: string;
}

export interface OsvRecord extends Vulnerability {
  affected: Affected[];
}

const MAX_TEXT = 512;
const MAX_LIST = 10_000;
const MAX_VERSIONS = 100_000;

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const list = (value: unknown, most = MAX_LIST): unknown[] => (Array.isArray(value) ? value.slice(0, most) : []);
const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= MAX_TEXT ? value : undefined;
const texts = (value: unknown, most = MAX_LIST): string[] => list(value, most).flatMap((entry) => text(entry) ?? []);

/**
 * Reads one record of the OSV schema.
 *
 * @returns undefined: it was withdrawn
 * @throws {Error} it is no such record, saying what it lacks
 */
export function parseOsv(value: unknown, score: ScoreVector): OsvRecord | undefined {
  if (!isObject(value)) throw new Error('want a JSON object');
  const id = text(value.id);
  if (id === undefined) throw new Error('it has no id');
  if (value.affected !== undefined && value.affected !== null && !Array.isArray(value.affected)) {
    throw new Error(`${id}: affected is no list`);
  }
  if (text(value.withdrawn) !== undefined) return undefined;
  const own = rate([value.severity], [value.database_specific], score);
  const summary = typeof value.summary === 'string' ? value.summary : '';
  const details = typeof value.details === 'string' ? value.details : '';
  const references = list(value.references).filter(isObject);
  const reference = references.find(({ type }) => type === 'ADVISORY') ?? references[0];
  const url = text(reference?.url);
  return {
    id,
    aliases: texts(value.aliases, 100),
    upstream: texts(value.upstream, 1000),
    title: oneLine(summary || details),
    ...own,
    ...(url !== undefined && /^https?:\/\//.test(url) ? { url } : {}),
    affected: list(value.affected)
      .filter(isObject)
      .flatMap((entry) => affectedOf(entry, score)),
  };
}

const oneLine = (long: string): string => long.slice(0, 2000).replaceAll(/\s+/g, ' ').trim().slice(0, 300);

function affectedOf(entry: Json, score: ScoreVector): Affected[] {
  const named = isObject(entry.package) ? entry.package : {};
  const [ecosystem, name] = [text(named.ecosystem), text(named.name)];
  if (ecosystem === undefined || name === undefined) return [];
  const ranges = list(entry.ranges)
    .filter(isObject)
    .filter(({ type }) => type === 'SEMVER' || type === 'ECOSYSTEM')
    .map(({ events }) => list(events).flatMap(eventOf));
  const binaries = isObject(entry.ecosystem_specific) ? binariesOf(entry.ecosystem_specific) : undefined;
  return [
    {
      ecosystem,
      name,
      ranges: ranges.filter((events) => events.length > 0),
      versions: texts(entry.versions, MAX_VERSIONS),
      ...rate([entry.severity], [entry.ecosystem_specific, entry.database_specific], score),
      ...(binaries === undefined ? {} : { binaries }),
    },
  ];
}

function eventOf(value: unknown): RangeEvent[] {
  if (!isObject(value)) return [];
  for (const key of ['introduced', 'fixed', 'last_affected', 'limit'] as const) {
    const version = text(value[key]);
    if (version !== undefined) return [{ [key]: version } as RangeEvent];
  }
  return [];
}

/** SUSE and Ubuntu list them as `{name: version}` or `{binary_name, binary_version}`. */
function binariesOf({ binaries }: Json): string[] | undefined {
  const names = list(binaries)
    .filter(isObject)
    .flatMap((entry) => text(entry.binary_name) ?? Object.keys(entry).filter((key) => !key.startsWith('binary_')));
  return names.length === 0 ? undefined : [...new Set(names)].slice(0, MAX_LIST);
}

/** The worst of what is said: vectors, else words. */
function rate(
  severityLists: unknown[],
  specifics: unknown[],
  score: ScoreVector,
): { severity: Severity; score?: number } {
  const entries = severityLists.flatMap((each) => list(each, 100)).filter(isObject);
  const scores = entries.flatMap(({ score: vector }) => (typeof vector === 'string' ? (score(vector) ?? []) : []));
  if (scores.length > 0) {
    const highest = Math.max(...scores);
    return { severity: severityOfScore(highest), score: highest };
  }
  const said = [
    ...entries.map(({ score: word }) => word),
    ...specifics.filter(isObject).flatMap((specific) => [specific.severity, specific.urgency]),
  ];
  return { severity: worst(said.map(severityOfWord)) };
}
