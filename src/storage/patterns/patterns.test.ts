import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { compileNamePattern, compilePathPattern, PatternMatcher } from './index.ts';

test('a lone exclamation mark is no pattern', () => {
  expect(() => new PatternMatcher(['!'])).toThrow('illegal exclusion pattern: "!"');
});

test.each([
  ['a', 'a', true],
  ['a', 'b', false],
  ['a', 'a/b', true],
  ['a', 'x/a', false],
  ['*.go', 'x.go', true],
  ['*.go', 'x/y.go', false],
  ['**/*.go', 'x/y/z.go', true],
  ['**/*.go', 'z.go', true],
  ['**', 'x/y', true],
  ['**/', 'x', true],
  ['**/a', 'a', true],
  ['**/a', 'x/y/a', true],
  ['**/a', 'x/ba', false],
  ['**a', 'x/ba', true],
  ['dir/**', 'dir/x/y', true],
  ['dir/**', 'dir', false],
  ['dir/**/x', 'dir/x', true],
  ['dir/**/x', 'dir/a/b/x', true],
  ['a**b', 'axx/b', true],
  ['a**b', 'axb', false],
  ['a?c', 'abc', true],
  ['a?c', 'a/c', false],
  ['[a-c]x', 'bx', true],
  ['[^a-c]x', 'bx', false],
  ['[^a-c]x', 'dx', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'axb', false],
  ['a.b', 'axb', false],
  ['(a)+$|{}', '(a)+$|{}', true],
  ['*/*/*/*.txt', 'a/b/c/d.txt', true],
  ['*/*/*/*.txt', 'a/b/d.txt', false],
  ['**/a/**/b/**/c', 'x/a/b/y/c', true],
  ['**/a/**/b/**/c', 'x/a/y/c', false],
  ['*ä*', 'bäh', true],
])('%s on %s: %s', (pattern, path, want) => {
  expect(new PatternMatcher([pattern]).matches(path)).toBe(want);
});

test.each([
  ['*-[0-9]', 'a-1', true],
  ['a**b', 'axb', true],
  ['\\**', '*x', true],
  ['\\**', 'x', false],
  ['a{}-?', 'a{}-z', true],
])('the name %s on %s: %s', (pattern, name, want) => {
  expect(compileNamePattern(pattern)(name)).toBe(want);
});

test.each(['[a', '[]a]', '[a-]', '[b-a]', 'a\\', '[\\'])('%s is refused', (pattern) => {
  expect(() => new PatternMatcher([pattern])).toThrow('syntax error in pattern');
});

test.each([
  { patterns: ['*.md', '!README.md'], kept: ['README.md'], gone: ['x.md'] },
  { patterns: ['*.md', '!README*.md', 'README-secret.md'], kept: ['README.md'], gone: ['README-secret.md'] },
  { patterns: ['dir', '!dir/keep'], kept: ['dir/keep', 'dir/keep/x'], gone: ['dir/x'] },
  { patterns: ['*', '!src', 'src/**/test'], kept: ['src', 'src/a'], gone: ['x', 'src/a/test', 'src/a/test/b'] },
])('the last pattern that fits decides: $patterns', ({ patterns, kept, gone }) => {
  const matcher = new PatternMatcher(patterns);
  expect(kept.filter((path) => matcher.matches(path))).toEqual([]);
  expect(gone.filter((path) => !matcher.matches(path))).toEqual([]);
});

const names = fc.constantFrom('a', 'b', 'ab', 'ba');
const paths = fc.array(names, { minLength: 1, maxLength: 4 });
const patternParts = fc.constantFrom('a', 'b', 'ab', '*', '**', 'a*', '*b', '?', '[ab]', 'a**', '**b');
const patternLists = fc.array(
  fc.array(patternParts, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
  { maxLength: 5 },
);

test('an exception for a folder that no pattern matched says nothing of what is in it', () => {
  const matcher = new PatternMatcher(['*/a', '!ab']);
  expect(matcher.matchesIn(matcher.enter(undefined, 'ab'), 'ab/a')).toBe(true);
  const other = new PatternMatcher(['ab', '!ab/a']);
  const folder = other.enter(undefined, 'ab');
  expect(folder.isMatched).toBe(true);
  expect(other.matchesIn(folder, 'ab/a')).toBe(false);
  expect(other.matchesIn(other.enter(folder, 'ab/a'), 'ab/a/b')).toBe(false);
  expect(other.matchesIn(folder, 'ab/b')).toBe(true);
});

test('who walks a tree hears the same', () => {
  fc.assert(
    fc.property(patternLists, paths, (patterns, path) => {
      const matcher = new PatternMatcher(patterns);
      let folder: ReturnType<PatternMatcher['enter']> | undefined;
      for (let depth = 1; depth < path.length; depth += 1) {
        folder = matcher.enter(folder, path.slice(0, depth).join('/'));
        expect(folder.isMatched).toBe(matcher.matches(path.slice(0, depth).join('/')));
      }
      expect(matcher.matchesIn(folder, path.join('/'))).toBe(matcher.matches(path.join('/')));
    }),
  );
});

test('with many wildcards it matches what an expression matches', () => {
  const pieces: Record<string, string> = { '**/': '(?:.*/)?', '**': '(?:.*/)?', '*': '[^/]*', '?': '[^/]' };
  fc.assert(
    fc.property(fc.array(patternParts, { minLength: 1, maxLength: 4 }), paths, (parts, path) => {
      const pattern = `[ab]*${parts.join('/')}`;
      const source = pattern.replace(/\*\*$/, '.+@').replaceAll(/\*\*\/|\*\*|\*|\?/g, (piece) => pieces[piece]!);
      const expression = new RegExp(`^${source.replace('.+@', '.*')}$`);
      expect(compilePathPattern(pattern)(path.join('/'))).toBe(expression.test(path.join('/')));
    }),
  );
});

test('any text is a pattern or refused', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), fc.string({ maxLength: 30 }), (pattern, path) => {
      try {
        new PatternMatcher([pattern]).matches(path);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
  );
});

test('a pattern made to go back and forth does not', () => {
  const matcher = new PatternMatcher([`${'*a'.repeat(60)}b`, `${'**/a/'.repeat(60)}b`]);
  expect(matcher.matchesIn(undefined, `${'a'.repeat(200)}/${'a/'.repeat(1500)}c`)).toBe(false);
  expect(matcher.matchesIn(undefined, `${'a'.repeat(4000)}b`)).toBe(true);
  expect(() => new PatternMatcher(['*a'.repeat(65)])).toThrow('at most 64');
});
