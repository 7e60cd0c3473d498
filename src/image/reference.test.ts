import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { kindOf } from '../errors/index.ts';
import {
  canonical,
  familiar,
  familiarName,
  idPrefixOf,
  matchesFamiliar,
  parseAnyReference,
  parseReference,
  withDefaultTag,
  withTag,
} from './reference.ts';

const sha = 'a'.repeat(64);

test.each([
  { text: 'busybox', whole: 'docker.io/library/busybox', short: 'busybox' },
  { text: 'busybox:1.36', whole: 'docker.io/library/busybox:1.36', short: 'busybox:1.36' },
  { text: 'library/busybox', whole: 'docker.io/library/busybox', short: 'busybox' },
  { text: 'docker.io/busybox', whole: 'docker.io/library/busybox', short: 'busybox' },
  { text: 'index.docker.io/busybox', whole: 'docker.io/library/busybox', short: 'busybox' },
  { text: 'docker.io/library/a/b', whole: 'docker.io/library/a/b', short: 'library/a/b' },
  { text: 'a/b', whole: 'docker.io/a/b', short: 'a/b' },
  { text: 'localhost/a', whole: 'localhost/a', short: 'localhost/a' },
  { text: 'localhost:5000/a:b', whole: 'localhost:5000/a:b', short: 'localhost:5000/a:b' },
  { text: 'ghcr.io/a/b_c/d__e--f', whole: 'ghcr.io/a/b_c/d__e--f', short: 'ghcr.io/a/b_c/d__e--f' },
  { text: 'Host/a', whole: 'Host/a', short: 'Host/a' },
  { text: '[::1]:5000/a', whole: '[::1]:5000/a', short: '[::1]:5000/a' },
  { text: `busybox@sha256:${sha}`, whole: `docker.io/library/busybox@sha256:${sha}`, short: `busybox@sha256:${sha}` },
  { text: `a:b@sha256:${sha}`, whole: `docker.io/library/a:b@sha256:${sha}`, short: `a:b@sha256:${sha}` },
  { text: `a:${'t'.repeat(128)}`, whole: `docker.io/library/a:${'t'.repeat(128)}`, short: `a:${'t'.repeat(128)}` },
  { text: 'sha256:abc', whole: 'docker.io/library/sha256:abc', short: 'sha256:abc' },
])('parseReference: $text', ({ text, whole, short }) => {
  const ref = parseReference(text);
  expect(canonical(ref)).toBe(whole);
  expect(familiar(ref)).toBe(short);
});

test.each([
  { text: '', want: /invalid reference format/ },
  { text: 'FOO', want: /repository name \(library\/FOO\) must be lowercase/ },
  { text: 'foo/Bar:x', want: /repository name \(foo\/Bar\) must be lowercase/ },
  { text: 'foo bar', want: /^invalid reference format$/ },
  { text: 'foo:', want: /invalid reference format/ },
  { text: ':foo', want: /invalid reference format/ },
  { text: 'foo:.bar', want: /invalid reference format/ },
  { text: `foo:${'t'.repeat(129)}`, want: /invalid reference format/ },
  { text: 'foo//bar', want: /invalid reference format/ },
  { text: '-foo', want: /invalid reference format/ },
  { text: 'foo___bar', want: /invalid reference format/ },
  { text: 'foo..bar', want: /invalid reference format/ },
  { text: '../foo', want: /invalid reference format/ },
  { text: 'a\nb', want: /invalid reference format/ },
  { text: 'foo\n', want: /invalid reference format/ },
  { text: 'foo@sha256:abc', want: /invalid reference format/ },
  { text: `foo@sha256:${sha}a`, want: /invalid checksum digest/ },
  { text: `foo@sha512:${sha}${sha}`, want: /unsupported digest algorithm/ },
  { text: `${'a/'.repeat(128)}a`, want: /more than 255 characters/ },
  { text: 'a'.repeat(100_000), want: /at most 1024/ },
  { text: sha, want: /cannot specify 64-byte hexadecimal strings/ },
])('parseReference refuses $text', ({ text, want }) => {
  expect(() => parseReference(text)).toThrow(want);
  expect(kindOf(catching(() => parseReference(text)))).toBe('InvalidArgument');
});

function catching(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

test('parseAnyReference takes ids before names', () => {
  expect(parseAnyReference(sha)).toEqual({ id: `sha256:${sha}` });
  expect(parseAnyReference(`sha256:${sha}`)).toEqual({ id: `sha256:${sha}` });
  expect(parseAnyReference('abc')).toEqual({ name: { domain: 'docker.io', path: 'library/abc' } });
});

test.each([
  ['abc', 'abc'],
  ['sha256:abc', 'abc'],
  ['', undefined],
  ['ABC', undefined],
  ['busybox', undefined],
  [`${sha}a`, undefined],
])('idPrefixOf(%s)', (text, want) => expect(idPrefixOf(text)).toBe(want));

test('tags: the default, and another', () => {
  expect(familiar(withDefaultTag(parseReference('a')))).toBe('a:latest');
  expect(familiar(withDefaultTag(parseReference(`a@sha256:${sha}`)))).toBe(`a@sha256:${sha}`);
  expect(familiar(withTag(parseReference('a:b'), 'c'))).toBe('a:c');
  expect(() => withTag(parseReference('a'), '-c')).toThrow(/invalid tag format/);
});

test.each([
  { pattern: 'busybox', name: 'busybox:1', want: true },
  { pattern: 'busybox:*', name: 'busybox:1', want: true },
  { pattern: 'busy*', name: 'busybox:1', want: true },
  { pattern: 'b?sybox', name: 'busybox:1', want: true },
  { pattern: 'b[a-z]sybox', name: 'busybox:1', want: true },
  { pattern: 'b[^a-z]sybox', name: 'busybox:1', want: false },
  { pattern: '*', name: 'a/b:1', want: false },
  { pattern: '*/*', name: 'a/b:1', want: true },
  { pattern: 'a.b', name: 'axb:1', want: false },
  { pattern: 'docker.io/library/busybox', name: 'busybox:1', want: false },
  { pattern: '\\busybox', name: 'busybox:1', want: true },
])('matchesFamiliar: $pattern and $name', ({ pattern, name, want }) => {
  expect(matchesFamiliar(pattern, parseReference(name))).toBe(want);
});

test.each(['[a', '[z-a]', 'a\\'])('matchesFamiliar refuses the pattern %s', (pattern) => {
  expect(() => matchesFamiliar(pattern, parseReference('a'))).toThrow(/syntax error in pattern/);
});

test('a pattern of many stars is answered at once', () => {
  expect(matchesFamiliar(`${'*a'.repeat(12)}b`, parseReference('a'.repeat(60)))).toBe(false);
  expect(matchesFamiliar('*'.repeat(1000), parseReference('a'))).toBe(true);
});

describe('any text', () => {
  test('parses or is refused as InvalidArgument, and what parses survives its own writing', () => {
    const piece = fc.constantFrom(
      'a',
      'B',
      '0',
      '.',
      '-',
      '_',
      '/',
      ':',
      '@',
      'sha256:',
      sha,
      'localhost',
      '[',
      ']',
      '\n',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        let ref: ReturnType<typeof parseReference>;
        try {
          ref = parseReference(input);
        } catch (error) {
          expect(kindOf(error)).toBe('InvalidArgument');
          return;
        }
        expect(parseReference(canonical(ref))).toEqual(ref);
        expect(parseReference(familiar(ref))).toEqual(ref);
        expect(familiarName(ref).length).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});
