import { expect, test } from 'vitest';
import { BoundedPattern } from './bounded-pattern.ts';

test('a pattern finds what its expression finds', () => {
  expect(new BoundedPattern('^(?<name>\\w+)-').exec('ab-c')?.groups).toEqual({ name: 'ab' });
  expect(new BoundedPattern('a.c', 's').test('a\nc')).toBe(true);
  expect(new BoundedPattern('x').exec('y')).toBeNull();
  expect(() => new BoundedPattern('(')).toThrow(SyntaxError);
});

test('a pattern that does not end is given up', () => {
  expect(() => new BoundedPattern('^(a+)+$').test(`${'a'.repeat(500)}!`)).toThrow(/takes too long/);
});
