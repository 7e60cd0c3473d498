import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { comparatorOf } from './index.ts';

/** Each line is in order; `=` joins what is equal. */
const lines: Record<string, string[]> = {
  deb: [
    '1.0~~ < 1.0~~a < 1.0~ < 1.0 < 1.0a < 1.0+b1 < 1.0.1',
    '1.0~rc1-1 < 1.0-1~bpo12+1 < 1.0-1 < 1.0-1+b1 < 1.0-1+deb12u1 < 1.0-2',
    '9.9 < 1:0.1 < 2:0',
    '2.30-21 < 2.31-0 < 2.31-0ubuntu9 < 2.31-0ubuntu9.2 < 2.31-0ubuntu10',
    '1.0 = 0:1.0 = 1.0-0 = 01.0',
    '1.2-3-4 < 1.2-3-5',
  ],
  rpm: [
    '1.0~rc1 < 1.0 < 1.0^git1 < 1.0.1',
    '1.0~rc1 < 1.0~rc1^git1 < 1.0',
    '2.a < 2.0.1 < 2.1 < 2.50',
    '1.0 = 1_0 = 1..0 = 01.00',
    '5.5p1 < 5.5p2 < 5.5p10',
    '10xyz < 10.1xyz',
    'xyz10 < xyz10.1',
    '6.0 < 6.0.rc1',
    '4.999.9 < 5.0 < 1:0.1',
    '1.0-1.el9 < 1.0-2.el9 < 1.0-10.el9 < 1.1-1.el9',
    '3.0.7-24.el9 < 3.0.7-25.el9_3 < 1:1.1.1k-9',
  ],
  apk: [
    '1.0_alpha < 1.0_alpha1 < 1.0_beta < 1.0_pre1 < 1.0_rc1 < 1.0 < 1.0_cvs < 1.0_svn < 1.0_git20200101 < 1.0_hg1 < 1.0_p1',
    '2.34 < 2.34a < 2.34b < 2.34.1',
    '0.1.0-r0 < 0.1.0-r1 < 0.1.0-r10 < 0.1.1_alpha-r9',
    '1.1.1g-r0 < 1.1.1k-r0 < 3.0.0-r0',
    '1.01 < 1.1 < 1.2 < 1.10',
    '3.3.0-r2 < 3.3.1-r0',
  ],
  npm: [
    '1.0.0-alpha < 1.0.0-alpha.1 < 1.0.0-alpha.beta < 1.0.0-beta < 1.0.0-beta.2 < 1.0.0-beta.11 < 1.0.0-rc.1 < 1.0.0',
    '1.9.0 < 1.10.0 < 1.11.0 < 2.0.0 < 2.1.0 < 2.1.1',
    '1.2.3 = v1.2.3 = 1.2.3+build.5',
    '1.0.0-0 < 1.0.0-1 < 1.0.0-a < 1.0.0-a-b',
  ],
  golang: [
    'v0.0.0-20180101000000-abcdefabcdef < v0.0.0-20200101000000-abcdefabcdef < v0.1.0',
    '1.21rc2 < 1.21rc3 < 1.21.0 < 1.21.9 < 1.21.10 < 1.22.0',
    'v1.2.3-pre < v1.2.3 < v1.2.4-0.20200101000000-abcdefabcdef < v1.2.4',
    '1.9.1 = v1.9.1 = v1.9.1+incompatible',
  ],
  pypi: [
    '1.0.dev456 < 1.0a1 < 1.0a2.dev456 < 1.0a12.dev456 < 1.0a12 < 1.0b1.dev456 < 1.0b2 < 1.0b2.post345.dev456 < 1.0b2.post345 < 1.0rc1.dev456 < 1.0rc1 < 1.0 < 1.0+abc.5 < 1.0+abc.7 < 1.0+5 < 1.0.post456.dev34 < 1.0.post456 < 1.1.dev1',
    '2024.1 < 1!0.1',
    '1.0 = 1.0.0 = v1.0 = 01.0',
    '1.1rc1 = 1.1.RC1 = 1.1-c1 = 1.1pre1 = 1.1_preview_1',
    '1.0.post1 = 1.0-1 = 1.0r1 = 1.0-rev1',
    '1.0+ubuntu-1 = 1.0+ubuntu.1',
  ],
  maven: [
    '1.0-alpha-1 < 1.0-beta-1 < 1.0-milestone-1 < 1.0-rc-1 < 1.0-SNAPSHOT < 1.0 < 1.0-sp < 1.0-abc < 1.0-1 < 1.0.1',
    '1 < 1.1 < 1.2 < 1.10',
    '1 = 1.0 = 1.0.0 = 1-ga = 1.0-final = 1.0.RELEASE',
    '1.0a1 = 1.0-alpha-1',
    '1.0b2 = 1.0-beta-2',
    '1.0-CR1 = 1.0-rc1',
    '1-foo2 < 1-foo10',
    '1.foo = 1-foo',
    '1-foo < 1-1 < 1.1',
    '2.0.0.RC1 < 2.0.0.RELEASE < 2.0.1.RELEASE',
    '31.0-android < 31.1-android',
    '2.13.4.1 < 2.13.4.2 < 2.14.0-rc1 < 2.14.0',
  ],
};

describe.each(Object.entries(lines))('%s', (type, chains) => {
  const compare = comparatorOf(type);
  test.each(chains)('%s', (line) => {
    const groups = line.split(' < ').map((group) => group.split(' = '));
    for (const [at, group] of groups.entries()) {
      for (const a of group) {
        for (const b of group) expect(Math.sign(compare(a, b)), `${a} = ${b}`).toBe(0);
        for (const later of groups.slice(at + 1).flat()) {
          expect(Math.sign(compare(a, later)), `${a} < ${later}`).toBe(-1);
          expect(Math.sign(compare(later, a)), `${later} > ${a}`).toBe(1);
        }
      }
    }
  });

  test('any text has one place, and long ones take no time', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.stringMatching(/^[0-9.]{0,6}[a-z~^+_:-]{0,3}[0-9.]{0,4}$/),
      fc.constantFrom(...chains.flatMap((line) => line.split(/ [<=] /))),
    );
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(compare(a, a)).toBe(0);
        const sign = Math.sign(compare(a, b));
        expect(Number.isNaN(sign)).toBe(false);
        expect(Math.sign(compare(b, a)) + sign).toBe(0);
      }),
      { numRuns: 2000 },
    );
    const started = performance.now();
    for (const part of ['1.', 'a', '1a', '-1', '~', '^', '_p', '!', '0'])
      compare(part.repeat(100_000), part.repeat(99_999));
    expect(performance.now() - started).toBeLessThan(500);
  });
});

const piece = (extra: string) => fc.stringMatching(new RegExp(`^[0-9]{1,2}[0-9a-z.${extra}]{0,6}$`));

test('as dpkg --compare-versions says', () => {
  const version = fc
    .tuple(fc.option(fc.integer({ min: 0, max: 3 })), piece('+~'), fc.option(piece('+~')))
    .map(
      ([epoch, upstream, revision]) =>
        `${epoch === null ? '' : `${epoch}:`}${upstream}${revision === null ? '' : `-${revision}`}`,
    );
  const pairs = fc.sample(fc.tuple(version, version), { numRuns: 400 });
  // One shell for all: a process for each pair would take most of the time.
  const script = pairs
    .map(
      ([a, b]) =>
        `dpkg --compare-versions '${a}' lt '${b}' && echo -1 || { dpkg --compare-versions '${a}' eq '${b}' && echo 0 || echo 1; }`,
    )
    .join('\n');
  const judged = execFileSync('sh', { input: script, encoding: 'utf8' }).trim().split('\n').map(Number);
  const compare = comparatorOf('deb');
  expect(pairs.map(([a, b]) => [a, b, Math.sign(compare(a, b))])).toEqual(
    pairs.map(([a, b], at) => [a, b, judged[at]]),
  );
});

test('as rpm.vercmp says', () => {
  const pairs = fc.sample(fc.tuple(piece('~^_'), piece('~^_')), { numRuns: 2000 });
  const body = pairs.map(([a, b]) => `print(rpm.vercmp("${a}","${b}") .. " ")`).join(' ');
  const { stdout } = spawnSync('rpm', ['--eval', `%{lua: ${body}}`], { encoding: 'utf8', maxBuffer: 1e8 });
  const judged = stdout.trim().split(/\s+/).map(Number);
  const compare = comparatorOf('rpm');
  expect(pairs.map(([a, b]) => [a, b, Math.sign(compare(a, b))])).toEqual(
    pairs.map(([a, b], at) => [a, b, judged[at]]),
  );
});

test('as Python’s packaging says', () => {
  const part = fc.constantFrom('1', '1.0', '1.2', '2', '1!1', '1.0.0');
  const pre = fc.constantFrom('', '', 'a1', '.b2', 'rc1', '-c', '_pre1', 'alpha');
  const post = fc.constantFrom('', '', '.post', '.post2', '-3', 'r1');
  const dev = fc.constantFrom('', '', '.dev', '.dev4', '-dev');
  const local = fc.constantFrom('', '', '+l.1', '+2', '+ubuntu-1');
  const version = fc.tuple(part, pre, post, dev, local).map((parts) => parts.join(''));
  const pairs = fc.sample(fc.tuple(version, version), { numRuns: 3000 });
  const script = `
import json, sys
from packaging.version import Version, InvalidVersion
def sign(a, b):
    try: x, y = Version(a), Version(b)
    except InvalidVersion: return None
    return -1 if x < y else 1 if x > y else 0
print(json.dumps([sign(a, b) for a, b in json.load(sys.stdin)]))`;
  const judged = JSON.parse(
    execFileSync('/usr/bin/python3', ['-c', script], { input: JSON.stringify(pairs), encoding: 'utf8' }),
  ) as (number | null)[];
  const compare = comparatorOf('pypi');
  const valid = pairs.filter((_, at) => judged[at] !== null);
  expect(valid.length).toBeGreaterThan(500);
  expect(valid.map(([a, b]) => [a, b, Math.sign(compare(a, b))])).toEqual(
    pairs.flatMap(([a, b], at) => (judged[at] === null ? [] : [[a, b, judged[at]]])),
  );
});
