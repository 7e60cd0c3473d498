import type { ScanReport } from '../../engine/index.ts';
import type { Finding, Severity } from '../../image/index.ts';
import { table } from '../output/table.ts';
import { ellipsis } from '../output/text.ts';
import { visibleText } from '../output/visible-text.ts';

const TITLE_CHARACTERS = 60;

/** The worst first. */
const order: readonly Severity[] = ['critical', 'high', 'medium', 'low', 'unknown'];

/** A table that a person reads, with totals below. */
export function scanTable(findings: readonly Finding[]): string {
  const rows = findings.map(({ severity, package: { name, version }, fixed, id, title }) =>
    [severity.toUpperCase(), name, version, fixed ?? '-', id, ellipsis(title, TITLE_CHARACTERS)].map(visibleText),
  );
  const heading = ['SEVERITY', 'PACKAGE', 'INSTALLED', 'FIXED IN', 'ID', 'TITLE'];
  return `${rows.length === 0 ? '' : `${table([heading, ...rows])}\n`}${totals(findings)}\n`;
}

/** `Total: 3 (1 critical, 0 high, 2 medium, 0 low, 0 unknown)` */
function totals(findings: readonly Finding[]): string {
  const counts = order.map((severity) => `${findings.filter((each) => each.severity === severity).length} ${severity}`);
  return `Total: ${findings.length} (${counts.join(', ')})`;
}

/** Everything a program may want, the same text for the same input. */
export function scanJson(report: ScanReport, findings: readonly Finding[]): string {
  const { subject, catalogue, unchecked, database } = report;
  const document = {
    image: {
      name: subject.name,
      id: subject.id,
      digest: subject.digest,
      os: subject.os,
      architecture: subject.architecture,
    },
    distribution: catalogue.distribution ?? null,
    database,
    packages: catalogue.packages.length,
    findings: findings.map(({ layer, ...finding }) => ({
      ...finding,
      fixed: finding.fixed ?? null,
      layer: subject.layers[layer]!.diffID,
    })),
    unchecked,
    problems: catalogue.problems,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

const levels: Record<Severity, string> = {
  critical: 'error',
  high: 'error',
  medium: 'warning',
  low: 'note',
  unknown: 'none',
};
/** What code-scanning pages sort by where there is no score. */
const scores: Record<Severity, string> = { critical: '9.5', high: '8.0', medium: '5.5', low: '2.0', unknown: '0.0' };

/** SARIF 2.1.0, a rule for each vulnerability. */
export function scanSarif(report: ScanReport, findings: readonly Finding[], version: string): string {
  const rules = new Map<string, Finding>();
  for (const finding of findings) if (!rules.has(finding.id)) rules.set(finding.id, finding);
  const index = new Map([...rules.keys()].map((id, at) => [id, at]));
  const document = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'tare', version, rules: [...rules.values()].map(ruleOf) } },
        results: findings.map((finding) => ({
          ruleId: finding.id,
          ruleIndex: index.get(finding.id),
          level: levels[finding.severity],
          message: { text: messageOf(finding) },
          locations: finding.paths.map((path) => ({
            physicalLocation: {
              artifactLocation: {
                uri: path.toWellFormed().split('/').map(encodeURIComponent).join('/'),
                uriBaseId: 'ROOTFS',
              },
            },
            logicalLocations: [{ fullyQualifiedName: finding.package.purl }],
          })),
        })),
        originalUriBaseIds: {
          ROOTFS: { uri: 'file:///', description: { text: `root of the image ${report.subject.name}` } },
        },
      },
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

const ruleOf = ({ id, title, url, severity, score }: Finding) => ({
  id,
  shortDescription: { text: title || id },
  ...(url === undefined ? {} : { helpUri: url }),
  properties: { 'security-severity': score?.toFixed(1) ?? scores[severity], tags: ['vulnerability', severity] },
});

const messageOf = ({ package: { name, version }, fixed, id, title }: Finding): string =>
  `${name} ${version}: ${title || id}${fixed === undefined ? '; no fixed version is known' : `; fixed in ${fixed}`}`;
