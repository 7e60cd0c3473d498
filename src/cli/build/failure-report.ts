import type { LineRange, SourceError, SourceFile, VertexError } from '../../build/index.ts';
import { visibleText } from '../output/visible-text.ts';
import type { BuildLedger, LedgerVertex } from './build-ledger.ts';

/** Lines of the failed step's output. */
const LOG_LINES = 20;
/** Lines of the file around the place. */
const MARGIN = 2;
/** Places in a file that are looked at: a frontend may name any number of them. */
const MAX_RANGES = 1_000;

/** Where in a file a build failed, as errors of files carry it; those of steps have several. */
interface Placed {
  ranges: readonly LineRange[];
  source: SourceFile | undefined;
}

/** What a failed build leaves on the screen above its error: the step with its last output, and the lines of the file. */
export function failureReport(ledger: BuildLedger, error: unknown): string {
  const failed = ledger.vertices.findLast((vertex) => vertex.error && !/canceled$/.test(vertex.error));
  const log = failed === undefined ? [] : failed.log.last(LOG_LINES);
  const output = failed === undefined || log.length === 0 ? '' : outputPart(failed, log);
  return output + placesOf(error).map(sourcePart).join('');
}

function outputPart(vertex: LedgerVertex, log: readonly string[]): string {
  return `------\n > ${visibleText(vertex.name)}:\n${log.map((line) => `${line}\n`).join('')}------\n`;
}

/** Of the outermost error that has any: what caused it may lie in the same lines. */
function placesOf(error: unknown): readonly Placed[] {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { source, ranges, places } = at as Partial<SourceError & VertexError>;
    if (source !== undefined && ranges !== undefined) return [{ source, ranges }];
    if (places !== undefined && places.length > 0) return places;
  }
  return [];
}

/**
 * `file:line`, with the column when a part of the line is meant, and the lines, those that are meant marked. Empty when the ranges are not
 * of this file.
 */
function sourcePart({ ranges: all, source }: Placed): string {
  const ranges = all.slice(0, MAX_RANGES);
  if (source === undefined || ranges.length === 0) return '';
  const lines = Buffer.from(source.data).toString().split('\n');
  const first = Math.min(...ranges.map(({ start }) => start.line));
  const last = Math.max(...ranges.map(({ end, start }) => Math.max(end.line, start.line)));
  if (first < 1 || first > lines.length) return '';
  const rule = '-'.repeat(20);
  const shown: string[] = [];
  for (let number = Math.max(1, first - MARGIN); number <= Math.min(lines.length, last + MARGIN); number++) {
    const isMeant = ranges.some(({ start, end }) => number >= start.line && number <= Math.max(start.line, end.line));
    shown.push(
      `${String(number).padStart(4)} | ${isMeant ? '>>>' : '   '} ${visibleText(lines[number - 1]!.replace(/\r$/, '').replaceAll('\t', '  '))}`,
    );
  }
  const part = ranges.find(({ start, end }) => start.line === first && end.character > 0);
  const place = part === undefined ? first : `${first}:${part.start.character + 1}`;
  return `${visibleText(source.filename)}:${place}\n${rule}\n${shown.join('\n')}\n${rule}\n`;
}

/** Build checks' warnings, as docker tells them when a build is over. */
export function warningReport(ledger: BuildLedger, isDetailed: boolean): string {
  const { warnings } = ledger;
  if (warnings.length === 0) return '';
  const count = `${warnings.length} warning${warnings.length === 1 ? '' : 's'} found`;
  if (!isDetailed) {
    const lines = warnings.map((warning) => ` - ${visibleText(warning.short)}`);
    return `\n ${count} (use --debug to expand):\n${lines.join('\n')}\n`;
  }
  const parts = warnings.map((warning) => {
    const detail = warning.detail.map((text) => `${visibleText(text)}\n`).join('');
    const more = warning.url === undefined ? '' : `More info: ${visibleText(warning.url)}\n`;
    return ` - ${visibleText(warning.short)}\n${detail}${more}${sourcePart({ ranges: warning.ranges, source: warning.source })}`;
  });
  return `\n ${count}:\n${parts.join('\n')}`;
}
