import type { ScanReport } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { documentOptions, problemText, writeDocument } from '../output/document.ts';
import { visibleText } from '../output/visible-text.ts';
import { VERSION } from '../version.ts';

const formats = ['table', 'json', 'sarif'] as const;
/** From the least to the worst; `unknown` is below all of them. */
const severities = ['unknown', 'low', 'medium', 'high', 'critical'] as const;
const thresholds = ['low', 'medium', 'high', 'critical'] as const;

/** Exit code when a finding reaches the threshold: told apart from failures, which are 1. */
const FOUND = 2;

export default command({
  usage: '[OPTIONS] IMAGE',
  description:
    'Compares the packages that "tare image sbom" lists with a database in the format of OSV (osv.dev): a folder, a zip file or a file of JSON records. The first scan with a database builds an index over it. With --fail-on the exit code is 2 when a vulnerability is that severe or worse; --severity only chooses what is shown. What could not be looked up is told on standard error. A line of an ignore file is ID [until:YYYY-MM-DD] [# why].',
  options: {
    db: {
      type: 'string',
      help: 'Vulnerability database (default: the one of "tare scan-db update")',
      completes: 'files',
    },
    severity: {
      type: 'string',
      help: 'Show only this severity and worse: low, medium, high or critical',
      completes: thresholds,
    },
    'fail-on': {
      type: 'string',
      help: 'Exit with 2 when there is this severity or worse: low, medium, high or critical',
      completes: thresholds,
    },
    ignore: { type: 'list', help: 'Leave out a vulnerability, by any of its ids' },
    'ignore-file': { type: 'string', help: 'Leave out those that a file lists', completes: 'files' },
    'only-fixed': { type: 'bool', help: 'Leave out what has no fixed version' },
    format: {
      type: 'string',
      default: 'table',
      help: 'Format of the output: table, json or sarif',
      completes: formats,
    },
    ...documentOptions,
  },
  args: [1, 1],
  completes: 'images',
  async run(context, options, [image]) {
    const format = oneOf(formats, options.format, '--format');
    const shown = options.severity === undefined ? 'unknown' : oneOf(thresholds, options.severity, '--severity');
    const failing = options['fail-on'] === undefined ? undefined : oneOf(thresholds, options['fail-on'], '--fail-on');
    const { ignoredIds } = await import('../scan/ignored.ts');
    const ignored = ignoredIds(options.ignore, options['ignore-file'], new Date());
    const { scanImage } = await import('../local/image-scan.ts');
    const report = await scanImage(context.globals, image!, { database: options.db, platform: options.platform });
    const counted = report.findings.filter(
      ({ id, aliases, fixed }) =>
        ![id, ...aliases].some((name) => ignored.has(name)) && !(options['only-fixed'] && fixed === undefined),
    );
    const isAtLeast = (severity: string, least: string) =>
      severities.indexOf(severity as never) >= severities.indexOf(least as never);
    const findings = counted.filter(({ severity }) => isAtLeast(severity, shown));
    for (const warning of warningsOf(report)) context.err(`WARNING: ${visibleText(warning)}\n`);
    const { scanJson, scanSarif, scanTable } = await import('../scan/report.ts');
    const text =
      format === 'table'
        ? scanTable(findings)
        : format === 'json'
          ? scanJson(report, findings)
          : scanSarif(report, findings, VERSION);
    await writeDocument(context, options.output, text);
    return failing !== undefined && counted.some(({ severity }) => isAtLeast(severity, failing)) ? FOUND : 0;
  },
});

function oneOf<T extends string>(allowed: readonly T[], given: string, option: string): T {
  const known = allowed.find((name) => name === given.toLowerCase());
  if (known !== undefined) return known;
  throw new TareError('InvalidArgument', `${option} ${JSON.stringify(given)}: want ${allowed.join(', ')}`);
}

function warningsOf({ catalogue, unchecked, database }: ScanReport): string[] {
  const { unreadable, firstUnreadable, path } = database;
  return [
    ...catalogue.problems.map(problemText),
    ...unchecked.map((what) => `not checked: ${what}`),
    ...(unreadable > 0 ? [`${path}: ${unreadable} records could not be read, the first: ${firstUnreadable}`] : []),
  ];
}
