import type { CachePrune } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import type { Filters } from '../filter-types.ts';
import { refuseUnknownFilters } from '../filters.ts';
import { parseTime } from '../moments.ts';

const fields = ['id', 'parent', 'type', 'description', 'inuse', 'shared', 'private', 'mutable', 'immutable'];
/** `description~=^RUN`, `type!=regular`. */
const operators = fields.flatMap((field) => [field, `${field}~`, `${field}!`]);

/**
 * What docker's filters ask of the build cache. Objects of it have no labels: `label` finds none of them, and `label!` all.
 *
 * @returns `nothing`: no object can pass
 * @throws {TareError} InvalidArgument: an unknown filter, one with two values, a time that is none
 */
export function cacheQuestion(
  filters: Filters,
  nowMs: number,
): Pick<CachePrune, 'filters' | 'keepDurationMs'> | 'nothing' {
  refuseUnknownFilters(filters, [...operators, 'until', 'unused-for', 'label', 'label!']);
  const keepDurationMs = restOf(filters, nowMs);
  const conditions = operators.flatMap((name) => {
    const values = filters[name];
    if (values === undefined) return [];
    const [value, ...more] = values;
    if (more.length > 0) throw new TareError('InvalidArgument', `filters expect only one value: ${name}`);
    if (value === undefined || value === '') return [name];
    const operator = /[~!]$/.test(name) ? '=' : name === 'id' ? '~=' : '==';
    return [`${name}${operator}${JSON.stringify(value)}`];
  });
  if (filters['label'] !== undefined) return 'nothing';
  return {
    filters: conditions.length === 0 ? [] : [conditions.join(',')],
    ...(keepDurationMs === undefined ? {} : { keepDurationMs }),
  };
}

function restOf(filters: Filters, nowMs: number): number | undefined {
  const { until = [], 'unused-for': unusedFor = [] } = filters;
  if (until.length > 0 && unusedFor.length > 0)
    throw new TareError('InvalidArgument', 'conflicting filters: "until" and "unused-for"');
  const [text, ...more] = [...until, ...unusedFor];
  if (more.length > 0) throw new TareError('InvalidArgument', 'filters expect only one value: until');
  return text === undefined ? undefined : Math.max(0, nowMs - parseTime(text, nowMs) * 1000);
}
