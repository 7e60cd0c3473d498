import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

/** One figure, with who was measured and what was promised of it. */
export interface Row {
  what: string;
  unit: 'µs' | 'ms' | 's' | 'MB' | 'MB/s' | '/s' | 'x';
  values: Partial<Record<Column, number>>;
  promises: Bound[];
  note?: string;
}

export type Column = 'floor' | 'Tare' | 'Tare, no daemon' | 'Docker' | 'Podman';
export const columns: Column[] = ['floor', 'Tare', 'Tare, no daemon', 'Docker', 'Podman'];

/** `who` is at most (or at least) `times` the figure of `than`, or the number itself. */
export interface Bound {
  who: Column;
  bound: 'at most' | 'at least';
  times: number;
  /** Undefined: `times` is the bound itself. */
  than?: Column;
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

interface Verdict {
  text: string;
  kept: boolean | undefined;
}

/** Whether a promise is kept; undefined when one of the two was not measured. */
export function verdict(row: Row, promise: Bound): Verdict {
  const value = row.values[promise.who];
  const base = promise.than === undefined ? 1 : row.values[promise.than];
  const bound = `${promise.bound} ${promise.times}${promise.than === undefined ? ` ${row.unit}` : ` × ${promise.than}`}`;
  if (value === undefined || base === undefined) return { text: `${bound}: not measured`, kept: undefined };
  const ratio = value / base;
  const kept = promise.bound === 'at most' ? ratio <= promise.times : ratio >= promise.times;
  const shown = promise.than === undefined ? number(value) : ratio.toFixed(2);
  return { text: `${promise.who}: ${shown}, ${bound}: ${kept ? 'kept' : '**missed**'}`, kept };
}

/** A table in Markdown that reads well in a terminal too. */
export function table(rows: readonly Row[]): string {
  const head = ['what', 'unit', ...columns, 'promised'];
  const body = rows.map((row) => [
    row.note === undefined ? row.what : `${row.what} (${row.note})`,
    row.unit,
    ...columns.map((column) => (row.values[column] === undefined ? '' : number(row.values[column]))),
    row.promises.map((promise) => verdict(row, promise).text).join('; '),
  ]);
  const widths = head.map((title, at) => Math.max(title.length, ...body.map((cells) => cells[at]!.length)));
  const line = (cells: string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

/** What the figures depend on, without the machine's name. */
export function machine(versions: readonly string[]): string {
  const cpu = /^model name\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? process.arch;
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('-')[0]!.trim();
  const system = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  return [
    `${availableParallelism()} cores (${cpu}), ${Math.round(totalmem() / 2 ** 30)} GiB, ${system}, kernel ${kernel}`,
    `Node ${process.versions.node}, ${versions.join(', ')}`,
  ].join('; ');
}
