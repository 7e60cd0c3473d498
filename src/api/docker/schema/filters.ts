import type { Filters } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';

/**
 * Filters as clients send them: a JSON map of lists, or (older) of maps whose keys are the values.
 *
 * @param accepted names this endpoint knows
 * @throws {TareError} InvalidArgument: not such JSON, or a name that is not accepted
 */
export function parseFilters(text: string, accepted: readonly string[]): Filters {
  const filters = parseAnyFilters(text);
  const unknown = Object.keys(filters).find((name) => !accepted.includes(name));
  if (unknown !== undefined) throw new TareError('InvalidArgument', `invalid filter '${unknown}'`);
  return filters;
}

/** The same, with names that somebody else checks. */
export function parseAnyFilters(text: string): Filters {
  if (text === '') return {};
  const filters: [string, string[]][] = [];
  for (const [name, values] of Object.entries(parse(text))) {
    const list = Array.isArray(values) ? values : Object.keys(values ?? {});
    if (!list.every((value) => typeof value === 'string')) throw invalid(text);
    filters.push([name, list as string[]]);
  }
  return Object.fromEntries(filters);
}

function parse(text: string): Record<string, unknown[] | object | null> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(text);
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(text);
  for (const list of Object.values(value)) if (typeof list !== 'object') throw invalid(text);
  return value as Record<string, unknown[] | object | null>;
}

function invalid(text: string): TareError {
  return new TareError('InvalidArgument', `invalid filter: ${text.slice(0, 200)} is not a JSON map of lists`);
}
