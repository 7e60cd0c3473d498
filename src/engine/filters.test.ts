import { expect, test } from 'vitest';
import { filterLabels, flagFilter, matchesName, refuseUnknownFilters } from './filters.ts';
import { parseDuration, parseMoment, parseTime } from './moments.ts';

test.each([
  ['10s', 10],
  ['1h30m', 5400],
  ['1.5s', 1.5],
  ['250ms', 0.25],
  ['-2m', -120],
  ['0', 0],
  ['', undefined],
  ['10', undefined],
  ['ten minutes', undefined],
])('parseDuration %j', (text, want) => expect(parseDuration(text)).toBe(want));

test.each([
  ['1700000000', 1_700_000_000],
  ['1700000000.5', 1_700_000_000.5],
  ['2023-11-14T22:13:20Z', 1_700_000_000],
  ['10m', 1_000_000 - 600],
])('parseTime %j', (text, want) => expect(parseTime(text, 1_000_000_000)).toBe(want));

test.each(['99999999999', '-99999999999', '99999999999h', '-99999999999h', '9999-12-31T00:00:00Z'])(
  'the moment %s fits into the records',
  (text) => expect(BigInt.asIntN(64, parseMoment(text))).toBe(parseMoment(text)),
);

test('a duration without an end is no moment', () => {
  expect(() => parseMoment(`${'9'.repeat(400)}h`)).toThrow(/invalid time/);
});

test('parseTime names what it cannot read', () => {
  expect(() => parseTime('yesterday')).toThrow(/invalid time "yesterday"/);
});

test('a name filter ends', () => {
  const name = 'a'.repeat(200);
  expect(matchesName(name, ['^a+$'])).toBe(true);
  expect(matchesName(name, ['b', `${'a?'.repeat(150)}${'a'.repeat(150)}`])).toBe(true);
  expect(matchesName(name, ['(a+)+b$'])).toBe(false);
  expect(matchesName(name, ['('])).toBe(false);
  expect(() => matchesName(name, ['(a+)\\1+'])).toThrow(/may not end/);
});

const labels = { app: 'web', tier: 'front' };
test.each([
  [{ label: ['app'] }, true],
  [{ label: ['app=web', 'tier'] }, true],
  [{ label: ['app=db'] }, false],
  [{ label: ['absent'] }, false],
  [{ 'label!': ['absent'] }, true],
  [{ 'label!': ['app'] }, false],
])('filterLabels %j', (filters, want) => expect(filterLabels(filters, labels)).toBe(want));

test.each([
  [undefined, true],
  [[], true],
  [['eb'], true],
  [['^web$'], true],
  [['^eb'], false],
  [['('], false],
])('matchesName web %j', (patterns, want) => expect(matchesName('web', patterns)).toBe(want));

test('an unknown filter is named', () => {
  expect(() => refuseUnknownFilters({ colour: ['red'] }, ['label'])).toThrow("invalid filter 'colour'");
});

test('a flag takes true and false alone', () => {
  expect(flagFilter({ dangling: ['true'] }, 'dangling')).toBe(true);
  expect(flagFilter({ dangling: ['0'] }, 'dangling')).toBe(false);
  expect(flagFilter({}, 'dangling')).toBeUndefined();
  expect(() => flagFilter({ dangling: ['maybe'] }, 'dangling')).toThrow(/want true or false/);
});
