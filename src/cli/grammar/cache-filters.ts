import { UsageError } from './usage-error.ts';

/**
 * `--filter` options about the build cache as the API's JSON: `type=regular`, `type==regular`, `description~=^RUN`, `type!=regular`, `inuse`.
 *
 * @returns undefined for none
 * @throws {UsageError}: nothing before the operator
 */
export function parseCacheFilters(given: readonly string[]): string | undefined {
  if (given.length === 0) return undefined;
  const filters: Record<string, string[]> = Object.create(null);
  for (const text of given) {
    const [, name, operator = '', value] = /^\s*([\w-]+)\s*(?:([~!])?==?\s*(.*))?$/s.exec(text) ?? [];
    if (name === undefined)
      throw new UsageError(
        `invalid filter ${JSON.stringify(text)}: expected KEY=VALUE, KEY~=PATTERN, KEY!=VALUE or KEY`,
      );
    const key = `${name.toLowerCase()}${operator}`;
    filters[key] ??= [];
    if (value !== undefined) filters[key].push(value.trim());
  }
  return JSON.stringify(filters);
}
