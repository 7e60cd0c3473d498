import { TareError } from '../errors/index.ts';
import { BoundedPattern } from '../storage/index.ts';
import { parseTime } from './moments.ts';
import type { Filters } from './types.ts';

/** @throws {TareError} InvalidArgument with docker's text, naming the first key that is not among `known` */
export function refuseUnknownFilters(filters: Filters, known: readonly string[]): void {
  const unknown = Object.keys(filters).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new TareError('InvalidArgument', `invalid filter '${unknown}'`);
}

/** Whether labels satisfy `label` (all of them) and `label!` (none of them); each is `key` or `key=value`. */
export function filterLabels(filters: Filters, labels: Record<string, string>): boolean {
  return (
    (filters['label'] ?? []).every((wanted) => hasLabel(labels, wanted)) &&
    !(filters['label!'] ?? []).some((unwanted) => hasLabel(labels, unwanted))
  );
}

/** @param wanted `key` or `key=value` */
export function hasLabel(labels: Record<string, string>, wanted: string): boolean {
  const [key, value] = wanted.split(/=(.*)/s);
  if (key === undefined || !Object.hasOwn(labels, key)) return false;
  return value === undefined || labels[key] === value;
}

/**
 * Whether something made at `createdMs` is older than the filter `until` says.
 * @throws {TareError} InvalidArgument: no moment, or more than one
 */
export function filterTime(filters: Filters, createdMs: number): boolean {
  const [until, ...more] = filters['until'] ?? [];
  if (more.length > 0) throw new TareError('InvalidArgument', 'more than one until filter specified');
  return until === undefined || createdMs <= parseTime(until) * 1000;
}

/**
 * A filter's value as docker matches names: a regular expression, found anywhere, else the text itself.
 * @throws {TareError} InvalidArgument: an expression that may not end
 */
export function matchesName(name: string, patterns: readonly string[] | undefined): boolean {
  if (patterns === undefined || patterns.length === 0) return true;
  return patterns.some((pattern) => {
    const expression = expressionOf(pattern);
    return expression === undefined ? name === pattern : expression.test(name);
  });
}

/** @returns undefined: the text is none */
function expressionOf(text: string): BoundedPattern | undefined {
  try {
    return new BoundedPattern(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether a filter says true; docker takes `1` and `true`. */
export function flagFilter(filters: Filters, key: string): boolean | undefined {
  const value = filters[key]?.[0];
  if (value === undefined) return undefined;
  if (['1', 'true', 'True', 'TRUE', 't', 'T'].includes(value)) return true;
  if (['0', 'false', 'False', 'FALSE', 'f', 'F'].includes(value)) return false;
  throw new TareError('InvalidArgument', `invalid filter '${key}=${value}': want true or false`);
}
