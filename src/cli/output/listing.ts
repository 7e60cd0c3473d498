import { TareError } from '../../errors/index.ts';
import { execute } from '../template/execute.ts';
import { type Node, type Operand, type Pipeline, parseTemplate } from '../template/parse.ts';
import { goJson } from '../template/text.ts';
import { table } from './table.ts';

/** A row of a list: a field's text, or a method that templates call with arguments. */
export type Row = Record<string, string | ((...args: string[]) => string)>;

export interface Listing {
  /** Field → heading, of all fields that a template may name. */
  headings: Record<string, string>;
  /** Fields of the default table, in order. */
  columns: readonly string[];
  /** Shown by -q. */
  quiet: string;
}

/**
 * A list in the format the user chose: docker's `table`, `table TEMPLATE`, `json`, `raw` fields by template.
 *
 * @throws {TareError} InvalidArgument: a template that does not parse, or names an unknown field
 */
export function formatList(
  listing: Listing,
  rows: readonly Row[],
  options: { format?: string; quiet?: boolean },
): string {
  const format = options.format ?? '';
  const isTable = format === '' || format === 'table' || format.startsWith('table ');
  if (options.quiet && isTable) return rows.map((row) => `${field(row, listing.quiet)}\n`).join('');
  if (format === '' || format === 'table') {
    const { columns, headings } = listing;
    return dockerTable([
      columns.map((name) => headings[name]!),
      ...rows.map((row) => columns.map((name) => field(row, name))),
    ]);
  }
  if (format === 'json') return rows.map((row) => `${rowJson(row)}\n`).join('');
  const text = format.startsWith('table ') ? format.slice('table '.length) : format;
  // What a shell leaves of \t and \n is meant as a tab and a line.
  const nodes = parseTemplate(text.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
  checkFields(nodes, listing);
  const lines = rows.map((row) => execute(nodes, bound(row)));
  if (!isTable) return lines.map((line) => `${line}\n`).join('');
  const heading = execute(nodes, headingRow(listing));
  return dockerTable([heading, ...lines].map((line) => line.split('\t')));
}

/** No column of docker's lists is narrower than ten. */
const dockerTable = (rows: readonly (readonly string[])[]) => table(rows, 3, 10);

function field(row: Row, name: string): string {
  const value = row[name]!;
  return typeof value === 'function' ? value() : value;
}

/** All plain fields, sorted by name, as docker's `--format json`. */
function rowJson(row: Row): string {
  return goJson(
    Object.fromEntries(
      Object.keys(row)
        .sort()
        .flatMap((name) => (typeof row[name] === 'function' ? [] : [[name, row[name]]])),
    ),
  );
}

/** The row as a template sees it; `{{json .}}` is that of the plain fields. */
function bound(row: Row): object {
  return Object.defineProperty({ ...row }, 'toJSON', { value: () => JSON.parse(rowJson(row)), enumerable: false });
}

/** In the heading every field is its title; `{{.Label "x"}}` is its last word. */
function headingRow(listing: Listing): object {
  return Object.fromEntries(
    Object.entries(listing.headings).map(([name, title]) => [
      name,
      name === 'Label' ? (key: string) => key.split(/[.-]/).at(-1)!.toUpperCase() : title,
    ]),
  );
}

/** An unknown field is refused also when there is no row to fail on. */
function checkFields(nodes: readonly Node[], listing: Listing): void {
  const operand = (value: Operand, scoped: boolean): void => {
    if (value.kind === 'nested') pipeline(value.pipeline, scoped);
    if (value.kind !== 'field' || scoped) return;
    const [name] = value.path;
    if (name !== undefined && !Object.hasOwn(listing.headings, name))
      throw new TareError(
        'InvalidArgument',
        `template: no field ${name}: one of ${Object.keys(listing.headings).sort().join(', ')}`,
      );
  };
  const pipeline = (value: Pipeline, scoped: boolean): void => {
    for (const call of value.calls) for (const each of call.operands) operand(each, scoped);
  };
  const walk = (list: readonly Node[], scoped: boolean): void => {
    for (const node of list) {
      if (node.kind === 'action') pipeline(node.pipeline, scoped);
      else if (node.kind === 'if' || node.kind === 'with' || node.kind === 'range') {
        pipeline(node.pipeline, scoped);
        walk(node.body, scoped || node.kind !== 'if');
        walk(node.otherwise, scoped);
      }
    }
  };
  walk(nodes, false);
}
