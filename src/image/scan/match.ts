import type { Catalogue, CataloguedPackage, PackageType } from '../bom/package.ts';
import type { Advisory, VulnerabilityDatabase } from './database.ts';
import { distributionPattern, languageEcosystem, lookupsOf } from './ecosystems.ts';
import { evaluate } from './ranges.ts';
import { type Severity, worst } from './severity.ts';
import { comparatorOf } from './versions/index.ts';

/** A vulnerability in a package of an image. */
export interface Finding {
  /** The name that most people know: a CVE where there is one. */
  id: string;
  /** All other names. */
  aliases: string[];
  package: { type: PackageType; name: string; version: string; purl: string };
  /** Files that say that the package is there. */
  paths: string[];
  /** Layer of the first of them. */
  layer: number;
  /** First version without it; undefined: none is known. */
  fixed: string | undefined;
  severity: Severity;
  score?: number;
  title: string;
  url?: string;
}

export interface ScanResult {
  /** The worst first. */
  findings: Finding[];
  /** What was not looked up, and why: an empty list of findings then proves less. */
  unchecked: string[];
}

interface Match extends Advisory {
  fixed: string | undefined;
}

/** Matches that speak of one vulnerability, with all its names. */
interface Group {
  names: Set<string>;
  matches: Match[];
}

/**
 * Looks every package of a catalogue up. What the distribution's packages brought counts as theirs, with their fixes, unless
 * the database knows nothing of the distribution.
 */
export function findVulnerabilities(catalogue: Catalogue, database: VulnerabilityDatabase): ScanResult {
  const { distribution, packages } = catalogue;
  const pattern = distribution === undefined ? undefined : distributionPattern(distribution);
  const ofDistribution = database.facts.ecosystems.filter((ecosystem) => pattern?.test(ecosystem));
  const findings = new Map<string, Finding>();
  for (const found of packages) {
    if (found.ownedBy !== undefined && ofDistribution.length > 0) continue;
    for (const finding of findingsOf(found, matchesOf(found, ofDistribution, database), database)) {
      const key = `${finding.id}\0${found.purl}`;
      const known = findings.get(key);
      if (known === undefined) findings.set(key, finding);
      else if (!known.paths.includes(found.path)) known.paths.push(found.path);
    }
  }
  const order = [...findings.values()].sort(byImportance);
  return { findings: order, unchecked: uncheckedOf(catalogue, ofDistribution, database) };
}

const rank: Record<Severity, number> = { critical: 0, high: 1, medium: 2, low: 3, unknown: 4 };
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const byImportance = (a: Finding, b: Finding): number =>
  rank[a.severity] - rank[b.severity] ||
  compareText(a.package.name, b.package.name) ||
  compareText(a.package.purl, b.package.purl) ||
  compareText(b.id, a.id);

function matchesOf(
  found: CataloguedPackage,
  ofDistribution: readonly string[],
  database: VulnerabilityDatabase,
): Match[] {
  const compare = comparatorOf(found.type);
  const matches: Match[] = [];
  for (const { ecosystem, name, version } of lookupsOf(found, ofDistribution)) {
    for (const advisory of database.advisories(ecosystem, name)) {
      const { binaries } = advisory.affected;
      if (binaries !== undefined && !binaries.includes(found.name)) continue;
      const { isAffected, fixed } = evaluate(version, advisory.affected, compare);
      if (isAffected) matches.push({ ...advisory, fixed });
    }
  }
  return matches;
}

/** Matches that are one vulnerability under several names become one finding. */
function findingsOf(found: CataloguedPackage, matches: readonly Match[], database: VulnerabilityDatabase): Finding[] {
  const byName = new Map<string, Group>();
  for (const match of matches) {
    const { id, aliases, upstream } = match.vulnerability;
    // An advisory about one vulnerability is that vulnerability; one about several is a thing of its own.
    const names = [id, ...aliases, ...(upstream.length === 1 ? upstream : [])];
    const joined: Group = { names: new Set(names), matches: [] };
    for (const group of new Set(names.flatMap((name) => byName.get(name) ?? []))) {
      for (const name of group.names) joined.names.add(name);
      joined.matches.push(...group.matches);
    }
    joined.matches.push(match);
    for (const name of joined.names) byName.set(name, joined);
  }
  const groups = [...new Set(byName.values())];
  return groups
    .filter(({ matches: [only, ...others] }) => {
      // All that an advisory about several is about is told by itself.
      const about = others.length === 0 ? (only?.vulnerability.upstream ?? []) : [];
      return about.length < 2 || !about.every((name) => byName.has(name));
    })
    .map((group) => findingOf(found, group, database));
}

/** CVE before GHSA before all else, a database's own names last. */
const fame = (name: string): number => (name.startsWith('CVE-') ? 0 : name.startsWith('GHSA-') ? 1 : 2);

function findingOf(found: CataloguedPackage, { names, matches }: Group, database: VulnerabilityDatabase): Finding {
  const [id, ...aliases] = [...names].sort((a, b) => fame(a) - fame(b) || compareText(a, b));
  // What another database says under another name counts, too: distributions often give no severity.
  const records = [...names].flatMap((name) => database.vulnerability(name) ?? []);
  const said = [...matches.map(({ affected }) => affected), ...records];
  const severity = worst(said.map((each) => each.severity));
  const scores = said.flatMap(({ score }) => score ?? []);
  const compare = comparatorOf(found.type);
  const fixes = matches.flatMap(({ fixed }) => fixed ?? []).sort(compare);
  const title = records.find((record) => record.title !== '')?.title ?? '';
  const url = records.find((record) => record.id === id)?.url ?? records.find((record) => record.url)?.url;
  const { type, name, version, purl, path, layer } = found;
  return {
    id: id!,
    aliases,
    package: { type, name, version, purl },
    paths: [path],
    layer,
    // The last: with an earlier one some of the advisories would still say that it is affected.
    fixed: fixes.at(-1),
    severity,
    ...(scores.length === 0 ? {} : { score: Math.max(...scores) }),
    title,
    ...(url === undefined ? {} : { url }),
  };
}

function uncheckedOf(
  { packages, distribution }: Catalogue,
  ofDistribution: readonly string[],
  database: VulnerabilityDatabase,
): string[] {
  const unchecked: string[] = [];
  const counts = new Map<PackageType, number>();
  for (const { type, ownedBy } of packages) {
    if (ownedBy === undefined || ofDistribution.length === 0) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  for (const [type, count] of counts) {
    const language = languageEcosystem(type);
    if (language !== undefined) {
      if (!database.facts.ecosystems.includes(language)) {
        unchecked.push(`${count} ${type} packages: the database has no advisories of ${language}`);
      }
    } else if (ofDistribution.length === 0) {
      const name = distribution?.prettyName || distribution?.id || 'an unknown distribution';
      unchecked.push(`${count} ${type} packages: the database has no advisories of ${name}`);
    }
  }
  return unchecked;
}
