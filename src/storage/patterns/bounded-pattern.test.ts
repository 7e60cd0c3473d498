import { expect, test } from 'vitest';
import { BoundedPattern } from './bounded-pattern.ts';

test('a pattern finds what its expression finds', () => {
  expect(new BoundedPattern('^(?<name>\\w+)-').exec('ab-c')?.groups).toEqual({ name: 'ab' });
  expect(new BoundedPattern('^(?<name>\\w+)-(.*?)(x*)$').exec('ab-cx')?.slice(1)).toEqual(['ab', 'c', 'x']);
  expect(new BoundedPattern('a.c', 's').test('a\nc')).toBe(true);
  expect(new BoundedPattern('a.c+|d+', 's').test('a\nc')).toBe(true);
  expect(new BoundedPattern('x').exec('y')).toBeNull();
  expect(new BoundedPattern('^[a-z]{1,63}$').test('name')).toBe(true);
  expect(() => new BoundedPattern('(')).toThrow(SyntaxError);
});

test.each(['^(a+)+$', '(a|a)*b', `${'(a|a)'.repeat(100)}b`, `${'a?'.repeat(300)}${'a'.repeat(300)}b`])(
  '%s, which others would match forever, is done at once',
  (source) => expect(new BoundedPattern(source).test(`${'a'.repeat(500)}!`)).toBe(false),
);

test.each(['(a+)\\1+b', 'a+(?=b)c*', '((a{1,100}){1,100}){1,100}'])('%s may not end, and is refused', (source) => {
  expect(() => new BoundedPattern(source)).toThrow(/may not end/);
});
