import { timestampMs } from '@bufbuild/protobuf/wkt';
import { TareError } from '../../errors/index.ts';
import type { control } from '../../protocol/index.ts';
import { BoundedPattern } from '../../storage/index.ts';
import { durationMs } from '../cache/usage-filter.ts';
import { commaFields } from '../dockerfile/comma-fields.ts';

export type RecordFilter = (record: control.BuildHistoryRecord) => boolean;

const CANCELED = 1;

const texts: Record<string, (record: control.BuildHistoryRecord) => string> = {
  ref: ({ Ref }) => Ref,
  status: ({ CompletedAt, error }) => {
    if (CompletedAt === undefined) return 'running';
    if (error === undefined) return 'completed';
    return error.code === CANCELED || error.message.includes('context canceled') ? 'canceled' : 'error';
  },
  repository: ({ FrontendAttrs }) => FrontendAttrs['vcs:source'] ?? repositoryOf(FrontendAttrs['context'] ?? ''),
};

/** Without the branch or folder that a context's address may end with. */
const repositoryOf = (context: string): string => context.replace(/[#?].*$/, '');

/** Milliseconds, for comparing. */
const numbers: Record<string, (record: control.BuildHistoryRecord) => number | undefined> = {
  startedAt: ({ CreatedAt }) => CreatedAt && timestampMs(CreatedAt),
  completedAt: ({ CompletedAt }) => CompletedAt && timestampMs(CompletedAt),
  duration: ({ CreatedAt, CompletedAt }) =>
    CreatedAt && CompletedAt && timestampMs(CompletedAt) - timestampMs(CreatedAt),
};

const comparisons: Record<string, (one: number, other: number) => boolean> = {
  '<': (one, other) => one < other,
  '<=': (one, other) => one <= other,
  '>': (one, other) => one > other,
  '>=': (one, other) => one >= other,
};

/**
 * As BuildKit's clients send them: `status==error`, `ref~=^ab`, `startedAt>24h` (a time, or how long ago), `duration>=1m30s`.
 * @throws {TareError} InvalidArgument: an unknown field, operator or value
 */
export function recordFilter(filters: readonly string[], nowMs: number): RecordFilter {
  if (filters.length === 0) return () => true;
  const any = filters.map((text) => {
    const all = commaFields(text, 'filter').map((condition) => conditionOf(condition.trim(), nowMs));
    return (record: control.BuildHistoryRecord) => all.every((isMet) => isMet(record));
  });
  return (record) => any.some((isMet) => isMet(record));
}

function conditionOf(text: string, nowMs: number): RecordFilter {
  const [, name = '', operator = '', value = ''] = /^(\w+)(==|!=|~=|<=|>=|=|<|>)(.*)$/s.exec(text) ?? [];
  const read = texts[name];
  if (read !== undefined) {
    if (operator === '~=') {
      const pattern = patternOf(value);
      return (record) => pattern.test(read(record));
    }
    if (operator === '!=') return (record) => read(record) !== value;
    if (operator === '=' || operator === '==') return (record) => read(record) === value;
  }
  const measure = numbers[name];
  const compare = comparisons[operator];
  if (measure === undefined || compare === undefined) {
    throw new TareError(
      'InvalidArgument',
      `invalid filter ${JSON.stringify(text)}: want ${Object.keys(texts).join(', ')} with ==, != or ~=, or ${Object.keys(numbers).join(', ')} with <, <=, > or >=`,
    );
  }
  const wanted = name === 'duration' ? durationMs(value) : momentMs(value, nowMs);
  return (record) => {
    const measured = measure(record);
    return measured !== undefined && compare(measured, wanted);
  };
}

/** A time, or how long ago it was. */
function momentMs(text: string, nowMs: number): number {
  const time = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? nowMs - durationMs(text) : time;
}

function patternOf(text: string): BoundedPattern {
  try {
    return new BoundedPattern(text);
  } catch (error) {
    throw new TareError('InvalidArgument', `invalid filter pattern ${JSON.stringify(text)}`, { cause: error });
  }
}
