import { TareError } from '../../errors/index.ts';

/**
 * `--filter KEY=VALUE` options as the API's JSON; several of one key are alternatives.
 *
 * @returns undefined for none
 * @throws {TareError} InvalidArgument: no `=`
 */
export function parseFilters(given: readonly string[]): string | undefined {
  if (given.length === 0) return undefined;
  const filters: Record<string, string[]> = Object.create(null);
  for (const text of given) {
    const equals = text.indexOf('=');
    if (equals < 1)
      throw new TareError('InvalidArgument', `invalid filter ${JSON.stringify(text)}: expected KEY=VALUE`);
    const key = text.slice(0, equals).trim().toLowerCase();
    filters[key] ??= [];
    filters[key].push(text.slice(equals + 1).trim());
  }
  return JSON.stringify(filters);
}
