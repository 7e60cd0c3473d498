import { expect, test } from 'vitest';
import type { CacheUsage } from '../build-types.ts';
import { usageFilter } from './usage-filter.ts';

const usage: CacheUsage = {
  ...{ id: 'abc', parents: [], recordType: 'regular', description: 'RUN a,b /c "d"', sizeBytes: 1, usageCount: 1 },
  ...{ createdMs: 1000, lastUsedMs: 2000, isMutable: false, isInUse: false, isShared: true },
};
const passes = (...filters: string[]): boolean => usageFilter(filters, 5000)(usage);

test.each([
  ['shared', true],
  ['private', false],
  ['type==regular,id=abc', true],
  [' type == regular , id != abc ', false],
  ['description=="RUN a,b /c \\"d\\""', true],
  ['description~="a,b"', true],
  ['description~=/a,b \\/c/', true],
  ['description~=|a,b /c|,id~=/^b/', false],
  ['description==/c/', false],
  ['until=3s', true],
  ['until=1h30m', false],
])('%s: %j', (filter, want) => expect(passes(filter)).toBe(want));

test('of several filters one is enough', () => expect(passes('private', 'id~=^a')).toBe(true));

test.each([
  ['size=1', /want one of id, type/],
  ['id=="a', /invalid filter value "a: want " at its end/],
  ['id~=/a', /invalid filter value \/a: want \/ at its end/],
  ['id~=(', /invalid filter pattern/],
  ['until=soon', /want one such as 24h/],
])('%s is refused', (filter, says) => expect(() => passes(filter)).toThrow(says));

test.each([`id=="${'\\"'.repeat(500_000)}`, `id=a${' '.repeat(500_000)}x `])('a long one is read at once', (filter) => {
  const started = performance.now();
  expect(() => passes(filter, 'size')).toThrow();
  expect(performance.now() - started).toBeLessThan(10_000);
});
