import { TareError } from '../../errors/index.ts';
import { BoundedPattern } from '../../storage/index.ts';
import type { CacheUsage } from '../build-types.ts';

export type UsageFilter = (usage: CacheUsage) => boolean;

const fields: Record<string, (usage: CacheUsage) => string> = {
  id: ({ id }) => id,
  type: ({ recordType }) => recordType,
  description: ({ description }) => description,
  parents: ({ parents }) => parents.join(';'),
  parent: ({ parents }) => parents.join(';'),
  inuse: ({ isInUse }) => flag(isInUse),
  mutable: ({ isMutable }) => flag(isMutable),
  immutable: ({ isMutable }) => flag(!isMutable),
  shared: ({ isShared }) => flag(isShared),
  private: ({ isShared }) => flag(!isShared),
};

const flag = (is: boolean): string => (is ? 'true' : '');

/**
 * Filters as containerd spells them: a record passes if it passes any of them; one is conditions joined by commas, such as
 * `type==regular,id~=^ab`, `description~=/a,b/`, `inuse`, `until=24h`.
 *
 * @throws {TareError} InvalidArgument: an unknown field, a malformed pattern or duration
 */
export function usageFilter(filters: readonly string[], nowMs: number): UsageFilter {
  if (filters.length === 0) return () => true;
  const any = filters.map((text) => {
    const all = splitConditions(text).map((condition) => conditionOf(condition, nowMs));
    return (usage: CacheUsage) => all.every((isMet) => isMet(usage));
  });
  return (usage) => any.some((isMet) => isMet(usage));
}

/** What a value may stand in; a pattern, for which a backslash has a meaning of its own, in slashes or bars too. */
const quotesOf = (operator: string): string => (operator === '~=' ? '"/|' : '"');

/** Commas inside of quotes are part of a value. */
function splitConditions(text: string): string[] {
  const conditions: string[] = [];
  let from = 0;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]!;
    if (quote === '') {
      const quotes = quotesOf(text.slice(Math.max(from, at - 2), at));
      if (quotes.includes(character)) quote = character;
      else if (character === ',') {
        conditions.push(text.slice(from, at));
        from = at + 1;
      }
    } else if (character === '\\') at += 1;
    else if (character === quote) quote = '';
  }
  return [...conditions, text.slice(from)].filter((condition) => condition !== '');
}

function conditionOf(text: string, nowMs: number): UsageFilter {
  const [, name = '', operator = '', written = ''] = /^([\w.]+)\s*(?:(==|!=|~=|=)\s*(.*))?$/s.exec(text.trim()) ?? [];
  const isQuoted = written !== '' && quotesOf(operator).includes(written[0]!);
  const value = isQuoted ? unquote(written) : written;
  if (name === 'until' || name === 'unused-for') {
    const before = nowMs - durationMs(value);
    return ({ lastUsedMs, createdMs }) => (lastUsedMs ?? createdMs) <= before;
  }
  const read = fields[name];
  if (read === undefined) {
    throw new TareError(
      'InvalidArgument',
      `invalid filter ${JSON.stringify(text)}: want one of ${[...Object.keys(fields), 'until'].join(', ')}`,
    );
  }
  if (operator === '') return (usage) => read(usage) !== '';
  if (operator === '~=') {
    const pattern = patternOf(value);
    return (usage) => pattern.test(read(usage));
  }
  const isSame = (usage: CacheUsage) => (read(usage) || 'false') === (value || 'false') || read(usage) === value;
  return operator === '!=' ? (usage) => !isSame(usage) : isSame;
}

function unquote(text: string): string {
  const quote = text[0]!;
  try {
    if (quote === '"') return String(JSON.parse(text));
    if (text.length > 1 && text.endsWith(quote)) return text.slice(1, -1).replaceAll(`\\${quote}`, quote);
  } catch {
    // It says no more than that.
  }
  throw new TareError('InvalidArgument', `invalid filter value ${text}: want ${quote} at its end`);
}

const MAX_PATTERN = 256;

function patternOf(text: string): BoundedPattern {
  if (text.length > MAX_PATTERN)
    throw new TareError('InvalidArgument', `a filter pattern of ${text.length} characters: at most ${MAX_PATTERN}`);
  try {
    return new BoundedPattern(text);
  } catch (error) {
    throw new TareError('InvalidArgument', `invalid filter pattern ${JSON.stringify(text)}`, { cause: error });
  }
}

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Of a Go duration, or of seconds. @throws {TareError} InvalidArgument */
export function durationMs(text: string): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) {
    throw new TareError('InvalidArgument', `invalid duration ${JSON.stringify(text)}: want one such as 24h or 1h30m`);
  }
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * units[unit!]!,
    0,
  );
}
