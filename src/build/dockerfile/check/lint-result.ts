import type { LineRange, SourceFile, VertexWarning } from '../../progress.ts';
import type { LintWarning } from './linter.ts';

const MAX_EXCERPT_LINES = 100;

/** A warning as clients draw it among a build's progress. */
export function vertexWarning(warning: LintWarning, vertex: string, source: SourceFile): VertexWarning {
  const { rule, message, ranges } = warning;
  const line = ranges[0]?.start.line ?? 0;
  return {
    vertex,
    level: 1,
    short: `${rule.name}: ${message}${line > 0 ? ` (line ${line})` : ''}`,
    detail: [rule.description],
    ...(rule.url === '' ? {} : { url: rule.url }),
    source,
    ranges,
  };
}

/** Why the file could not be checked to its end. */
export interface LintError {
  readonly message: string;
  readonly ranges: readonly LineRange[];
}

/**
 * What `docker build --check` is answered: the documents of the subrequest `frontend.lint`, by their keys.
 *
 * @see moby/buildkit, frontend/subrequests/lint
 */
export function lintDocuments(
  warnings: readonly LintWarning[],
  source: SourceFile,
  error?: LintError,
): Map<string, Uint8Array> {
  const result = {
    warnings: warnings.map(({ rule, message, ranges }) => ({
      ruleName: rule.name,
      description: rule.description,
      ...(rule.url === '' ? {} : { url: rule.url }),
      detail: message,
      location: { ranges: ranges.map(rangeDocument) },
    })),
    sources: [
      {
        filename: source.filename,
        data: Buffer.from(source.data).toString('base64'),
        ...(source.language === undefined ? {} : { language: source.language }),
      },
    ],
    ...(error === undefined
      ? {}
      : { buildError: { message: error.message, location: { ranges: error.ranges.map(rangeDocument) } } }),
  };
  const isClean = warnings.length === 0 && error === undefined;
  const documents: Record<string, string> = {
    'result.json': JSON.stringify(result, null, 2),
    'result.txt': lintText(warnings, source),
    'result.statuscode': isClean ? '0' : '1',
    version: '1.0.0',
  };
  return new Map(Object.entries(documents).map(([key, text]) => [key, new TextEncoder().encode(text)]));
}

/** Zeros are left out, as protobuf's messages in JSON have it. */
function rangeDocument(range: LineRange) {
  const position = ({ line, character }: LineRange['start']) => ({ line, ...(character === 0 ? {} : { character }) });
  return { start: position(range.start), end: position(range.end) };
}

function lintText(warnings: readonly LintWarning[], source: SourceFile): string {
  const lines = new TextDecoder().decode(source.data).split('\n');
  const lineOf = (warning: LintWarning) => warning.ranges[0]?.start.line ?? 0;
  return warnings
    .toSorted((one, other) => lineOf(one) - lineOf(other))
    .map(({ rule, message, ranges }) => {
      const heading = `\nWARNING: ${rule.name}${rule.url === '' ? '' : ` - ${rule.url}`}\n${message}\n`;
      return heading + excerpt(source.filename, lines, ranges);
    })
    .join('');
}

/** Lines of a file around what is meant, which is marked. */
function excerpt(filename: string, lines: readonly string[], ranges: readonly LineRange[]): string {
  if (ranges.length === 0) return '';
  const first = Math.min(...ranges.slice(0, MAX_EXCERPT_LINES).map(({ start }) => start.line));
  const last = Math.max(...ranges.slice(0, MAX_EXCERPT_LINES).map(({ end }) => end.line));
  if (first < 1 || first > lines.length) return '';
  let start = first;
  let end = Math.min(last, lines.length);
  const padding = end === start ? 4 : 2;
  for (let padded = 0; padded < padding; padded += 1) {
    if (start > 1) {
      start -= 1;
      padded += 1;
    }
    if (end !== lines.length) {
      end += 1;
      padded += 1;
    }
  }
  const isMarked = (line: number) => ranges.some((range) => range.start.line <= line && range.end.line >= line);
  const shown = lines.slice(start - 1, end).map((text, index) => {
    const line = start + index;
    return ` ${String(line).padStart(3)} | ${isMarked(line) ? '>>>' : '   '} ${text}\n`;
  });
  const rule = `${'-'.repeat(20)}\n`;
  return `${filename}:${first}\n${rule}${shown.join('')}${rule}`;
}
