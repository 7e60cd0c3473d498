import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenges } from './challenge.ts';

const plain = (headers: string[]) => parseChallenges(headers).map((c) => ({ ...c, parameters: { ...c.parameters } }));

test.each([
  {
    what: "docker hub's",
    header: 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    want: [
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
        },
      },
    ],
  },
  { what: 'basic', header: 'Basic realm="tests"', want: [{ scheme: 'basic', parameters: { realm: 'tests' } }] },
  { what: 'a scheme alone', header: 'Negotiate', want: [{ scheme: 'negotiate', parameters: {} }] },
  {
    what: 'two in one header',
    header: 'Negotiate, Basic realm="x" , BEARER Realm = "y", service=z',
    want: [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'x' } },
      { scheme: 'bearer', parameters: { realm: 'y', service: 'z' } },
    ],
  },
  {
    what: 'a token68',
    header: 'Negotiate YII/==, Basic realm="x"',
    want: [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'x' } },
    ],
  },
  {
    what: 'escapes and commas in quotes',
    header: String.raw`Bearer realm="a\"b, Basic realm=c\\"`,
    want: [{ scheme: 'bearer', parameters: { realm: String.raw`a"b, Basic realm=c\ `.trimEnd() } }],
  },
  {
    what: 'a value without quotes that is no token',
    header: 'Bearer realm=https://a.test/token,service=x',
    want: [{ scheme: 'bearer', parameters: { realm: 'https://a.test/token', service: 'x' } }],
  },
  {
    what: 'a parameter twice',
    header: 'Bearer realm="first",realm="second"',
    want: [{ scheme: 'bearer', parameters: { realm: 'first' } }],
  },
  {
    what: 'a quote that does not end',
    header: 'Bearer service="x",realm="y',
    want: [{ scheme: 'bearer', parameters: { service: 'x' } }],
  },
  { what: 'nothing', header: '', want: [] },
  { what: 'a parameter without a scheme', header: '="x"', want: [] },
  { what: 'one that is far too long', header: `Basic realm="${'x'.repeat(10_000)}"`, want: [] },
])('challenge: $what', ({ header, want }) => expect(plain([header])).toEqual(want));

test('challenges of several headers stand in order', () => {
  expect(plain(['Bearer realm="a"', 'Basic realm="b"']).map(({ scheme }) => scheme)).toEqual(['bearer', 'basic']);
});

test('no text stops the reader or touches a prototype', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const { scheme, parameters } of parseChallenges([`Bearer ${text}`, text])) {
        expect(scheme).toBe(scheme.toLowerCase());
        for (const value of Object.values(parameters)) expect(typeof value).toBe('string');
      }
    }),
    { numRuns: 2000 },
  );
  expect(Object.entries(parseChallenges(['Bearer __proto__="x"'])[0]!.parameters)).toEqual([['__proto__', 'x']]);
});
