import { TareError } from '../../errors/index.ts';
import { printf } from './printf.ts';
import { goJson, goText, NO_VALUE } from './text.ts';

function refuse(why: string): TareError {
  return new TareError('InvalidArgument', `template: ${why}`);
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw refuse(`${name} wants a string, not ${goText(value)}`);
  return value;
}

function whole(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw refuse(`${name} wants a whole number, not ${goText(value)}`);
  return value;
}

/** Go's truth: not empty, not zero. */
export function isTruthy(value: unknown): boolean {
  if (value === undefined || value === null || value === NO_VALUE) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

function order(a: unknown, b: unknown, name: string): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  throw refuse(`${name}: incompatible types for comparison: ${goText(a)} and ${goText(b)}`);
}

function equal(a: unknown, b: unknown): boolean {
  if (typeof a === 'object' && a !== null && b !== null) throw refuse('eq: non-comparable type');
  if (a !== null && b !== null && typeof a !== typeof b)
    throw refuse(`eq: incompatible types for comparison: ${goText(a)} and ${goText(b)}`);
  return a === b;
}

function pick(value: unknown, ...keys: unknown[]): unknown {
  let current = value;
  for (const key of keys) {
    if (Array.isArray(current) || typeof current === 'string') {
      const i = whole(key, 'index');
      if (i < 0 || i >= current.length) throw refuse(`index out of range: ${i}`);
      current = typeof current === 'string' ? current.charCodeAt(i) : current[i];
    } else if (typeof current === 'object' && current !== null)
      current = Object.hasOwn(current, text(key, 'index'))
        ? (current as Record<string, unknown>)[key as string]
        : NO_VALUE;
    else if (current === null || current === undefined || current === NO_VALUE) throw refuse('index of untyped nil');
    else throw refuse(`can't index item of type ${typeof current}`);
  }
  // A missing key of a map of strings is the empty string, which is what scripts test labels for.
  return current === NO_VALUE ? '' : current;
}

/** Go's built-in functions and those docker adds. Strings count in bytes where Go does: they are ASCII here. */
export const functions: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
  json: (value) => goJson(value),
  split: (value, separator) => text(value, 'split').split(text(separator, 'split')),
  join: (list, separator) => {
    if (!Array.isArray(list)) throw refuse(`join wants a list, not ${goText(list)}`);
    return list.map(goText).join(text(separator, 'join'));
  },
  title: (value) =>
    text(value, 'title').replace(/(^|\s)(\S)/g, (_, before: string, first: string) => before + first.toUpperCase()),
  lower: (value) => text(value, 'lower').toLowerCase(),
  upper: (value) => text(value, 'upper').toUpperCase(),
  pad: (value, before, after) =>
    value === '' ? value : ' '.repeat(amount(before, 'pad')) + text(value, 'pad') + ' '.repeat(amount(after, 'pad')),
  truncate: (value, length) => [...text(value, 'truncate')].slice(0, amount(length, 'truncate')).join(''),
  println: (...values) => `${values.map(goText).join(' ')}\n`,
  print: (...values) =>
    values.reduce<string>((line, value, i) => {
      // Go puts a space between operands when neither is a string.
      const space = i > 0 && typeof value !== 'string' && typeof values[i - 1] !== 'string' ? ' ' : '';
      return line + space + goText(value);
    }, ''),
  printf: (format, ...values) => printf(text(format, 'printf'), values),
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    if (typeof value === 'object' && value !== null) return Object.keys(value).length;
    throw refuse(`len of ${goText(value)}`);
  },
  index: pick,
  slice: (value, from, to) => {
    if (typeof value !== 'string' && !Array.isArray(value)) throw refuse(`can't slice ${goText(value)}`);
    const start = from === undefined ? 0 : whole(from, 'slice');
    const end = to === undefined ? value.length : whole(to, 'slice');
    if (start < 0 || end > value.length || start > end) throw refuse(`slice [${start}:${end}] is out of range`);
    return value.slice(start, end);
  },
  eq: (first, ...others) => {
    if (others.length === 0) throw refuse('missing argument for comparison');
    return others.some((other) => equal(first, other));
  },
  ne: (a, b) => !equal(a, b),
  lt: (a, b) => order(a, b, 'lt') < 0,
  le: (a, b) => order(a, b, 'le') <= 0,
  gt: (a, b) => order(a, b, 'gt') > 0,
  ge: (a, b) => order(a, b, 'ge') >= 0,
  not: (value) => !isTruthy(value),
  html: (value) => goText(value).replace(/[<>&'"]/g, (sign) => `&#${sign.charCodeAt(0)};`),
  urlquery: (value) => encodeURIComponent(goText(value)).replaceAll('%20', '+'),
};

/** A count of characters, at most a million: a template is not to fill the memory. */
function amount(value: unknown, name: string): number {
  const count = whole(value, name);
  if (count < 0 || count > 1_000_000) throw refuse(`${name}: ${count} is out of range`);
  return count;
}
