import { UsageError } from './usage-error.ts';

/**
 * `--filter KEY=VALUE` options as the API's JSON; several of one key are alternatives.
 *
 * @returns undefined for none
 * @throws {UsageError}: no `=`
 */
export function parseFilters(given: readonly string[]): string | undefined {
  if (given.length === 0) return undefined;
  const filters: Record<string, string[]> = Object.create(null);
  for (const text of given) {
    const equals = text.indexOf('=');
    if (equals < 1) throw new UsageError(`invalid filter ${JSON.stringify(text)}: expected KEY=VALUE`);
    const key = text.slice(0, equals).trim().toLowerCase();
    filters[key] ??= [];
    filters[key].push(text.slice(equals + 1).trim());
  }
  return JSON.stringify(filters);
}
