import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scratchFolder, zipOf } from '../bom/files.fixture.ts';
import type { OsRelease } from '../bom/package.ts';
import { VulnerabilityDatabase } from './database.ts';
import { distributionPattern } from './ecosystems.ts';
import { parseOsv, type RangeEvent } from './osv.ts';
import { evaluate, isInRange, versionsBeyondRanges } from './ranges.ts';
import { loadScoring, severityOfScore } from './severity.ts';
import { comparatorOf } from './versions/index.ts';

const record = (id: string, ecosystem: string, name: string) =>
  JSON.stringify({
    id,
    affected: [{ package: { ecosystem, name }, ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }] }] }],
  });

test('zip files, by themselves and in a folder; a record that is in several counts once', async () => {
  using folder = scratchFolder();
  const cache = join(folder.path, 'cache');
  const zips = join(folder.path, 'zips');
  mkdirSync(join(zips, 'deep'), { recursive: true });
  const debian = zipOf({
    'A-1.json': record('A-1', 'Debian:12', 'x'),
    'sub/A-2.json': record('A-2', 'Debian:11', 'x'),
    'notes.txt': 'no record',
  });
  writeFileSync(join(zips, 'Debian.zip'), debian);
  writeFileSync(
    join(zips, 'deep/other.zip'),
    zipOf({ 'A-1.json': record('A-1', 'Debian:12', 'x'), 'B.json': record('B-1', 'PyPI', 'A_b') }),
  );
  using one = await VulnerabilityDatabase.open(join(zips, 'Debian.zip'), cache);
  expect(one.facts).toEqual({ records: 2, unreadable: 0, firstUnreadable: '', ecosystems: ['Debian:11', 'Debian:12'] });
  using all = await VulnerabilityDatabase.open(zips, cache);
  expect(all.advisories('Debian:12', 'x').map(({ vulnerability }) => vulnerability.id)).toEqual(['A-1']);
  expect(all.advisories('PyPI', 'a-b').map(({ vulnerability }) => vulnerability.id)).toEqual(['B-1']);
  expect(all.vulnerability('A-2')?.id).toBe('A-2');
  expect(all.vulnerability('absent')).toBeUndefined();
});

test('a record that inflates beyond reason stops the reading', async () => {
  using folder = scratchFolder();
  const path = join(folder.path, 'bomb.zip');
  writeFileSync(path, zipOf({ 'bomb.json': Buffer.alloc(40 * 1024 * 1024, ' ') }));
  await expect(VulnerabilityDatabase.open(path, join(folder.path, 'cache'))).rejects.toThrow(
    /bomb\.json": more than 33554432 bytes/,
  );
});

test('any JSON is a record or is refused with a reason', () => {
  const keys = [
    'id',
    'affected',
    'package',
    'name',
    'ecosystem',
    'ranges',
    'type',
    'events',
    'introduced',
    'fixed',
    'versions',
    'severity',
    'score',
    'aliases',
    'upstream',
    'withdrawn',
    'database_specific',
    'ecosystem_specific',
    'binaries',
    'references',
    'url',
    '__proto__',
  ];
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.constantFrom('npm', 'SEMVER', '1.0', 'HIGH', 'CVSS:3.1/AV:N', null, 5, true), fc.string()),
    tree: fc.oneof(
      { depthSize: 'small' },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('tree'), { maxKeys: 5 }),
    ),
  }));
  const withId = fc.record({
    id: fc.constant('X-1'),
    affected: fc.array(tree, { maxLength: 3 }),
    severity: tree,
    aliases: tree,
  });
  fc.assert(
    fc.property(fc.oneof(tree, withId), (value) => {
      try {
        parseOsv(value, () => undefined);
      } catch (error) {
        expect((error as Error).message).toMatch(/^(want a JSON object|it has no id|.*: affected is no list)$/);
      }
    }),
    { numRuns: 3000 },
  );
});

describe('ranges (OSV schema, "Evaluation")', () => {
  const compare = comparatorOf('npm');
  const events: RangeEvent[] = [
    { fixed: '1.5.0' },
    { introduced: '1.0.0' },
    { introduced: '2.0.0' },
    { last_affected: '2.3.0' },
  ];
  test.each([
    ['0.9.9', false],
    ['1.0.0', true],
    ['1.4.9', true],
    ['1.5.0', false],
    ['1.9.0', false],
    ['2.0.0', true],
    ['2.3.0', true],
    ['2.3.1', false],
  ])('%s: %s', (version, want) => {
    expect(isInRange(version, events, compare)).toBe(want);
  });

  test.each<[string, RangeEvent[], boolean]>([
    ['1.0.0', [{ introduced: '0' }], true],
    ['0.0.0-alpha', [{ introduced: '0' }], true],
    ['1.0.0', [], false],
    ['1.0.0', [{ fixed: '2.0.0' }], false],
    ['1.0.0', [{ introduced: '1.0.0' }, { fixed: '1.0.0' }], false],
    ['3.0.0', [{ introduced: '0' }, { limit: '2.0.0' }], false],
    ['1.0.0', [{ introduced: '0' }, { limit: '2.0.0' }], true],
    ['9.0.0', [{ introduced: '0' }, { limit: '*' }], true],
  ])('%s in %j: %s', (version, given, want) => {
    expect(isInRange(version, given, compare)).toBe(want);
  });

  test('versions that are listed count too, and only those that no range covers are kept', () => {
    const affected = {
      ecosystem: 'npm',
      name: 'x',
      ranges: [events],
      versions: ['1.1.0', '0.5.0'],
      severity: 'unknown' as const,
    };
    expect(evaluate('0.5.0', affected, compare)).toEqual({ isAffected: true, fixed: '1.5.0' });
    expect(evaluate('0.6.0', affected, compare)).toEqual({ isAffected: false, fixed: undefined });
    expect(versionsBeyondRanges(affected, compare)).toEqual(['0.5.0']);
    expect(versionsBeyondRanges({ ...affected, ranges: [[{ introduced: '0' }]] }, compare)).toEqual([]);
  });
});

// Examples of FIRST's documents: CVSS 3.1 "Examples", CVSS 4.0 "Examples", CVSS 2.0 guide.
test.each([
  ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', 9.8, 'critical'],
  ['CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N', 6.4, 'medium'],
  ['CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N', 3.1, 'low'],
  ['CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:P', 7.8, 'high'],
  ['CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H', 10, 'critical'],
  ['CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N', 7.3, 'high'],
  ['AV:N/AC:L/Au:N/C:N/I:N/A:C', 7.8, 'high'],
  ['(AV:L/AC:H/Au:N/C:C/I:C/A:C)', 6.2, 'medium'],
  ['CVSS:3.1/AV:N', undefined, undefined],
  ['CVSS:9.9/AV:N/AC:L', undefined, undefined],
  ['high', undefined, undefined],
  ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:ZZ', undefined, undefined],
  ['__proto__', undefined, undefined],
])('CVSS %s', async (vector, score, severity) => {
  const rated = (await loadScoring())(vector);
  expect(rated).toBe(score);
  if (rated !== undefined) expect(severityOfScore(rated)).toBe(severity);
});

test.each([
  ['debian', '12', ['Debian:12'], ['Debian:11', 'Debian:1', 'Debian:12.1', 'Debian']],
  ['ubuntu', '22.04', ['Ubuntu:22.04:LTS', 'Ubuntu:22.04'], ['Ubuntu:Pro:22.04:LTS', 'Ubuntu:24.04:LTS']],
  ['alpine', '3.18.5', ['Alpine:v3.18'], ['Alpine:v3.1', 'Alpine:v3.19', 'Alpine']],
  ['alpine', '3.21_alpha20240923', ['Alpine:edge'], ['Alpine:v3.21']],
  ['rocky', '9.3', ['Rocky Linux:9'], ['Rocky Linux:8']],
  ['almalinux', '8.10', ['AlmaLinux:8'], ['AlmaLinux:9']],
  [
    'rhel',
    '9.4',
    ['Red Hat:enterprise_linux:9::baseos', 'Red Hat:rhel_eus:9.4::appstream'],
    ['Red Hat:enterprise_linux:8::baseos'],
  ],
  ['opensuse-leap', '15.5', ['openSUSE:Leap 15.5'], ['openSUSE:Leap 15.6', 'openSUSE:Tumbleweed']],
  [
    'sles',
    '15.5',
    ['SUSE:Linux Enterprise Server 15 SP5', 'SUSE:Linux Enterprise Module for Basesystem 15 SP5'],
    ['SUSE:Linux Enterprise Server 15 SP4'],
  ],
  ['wolfi', '20230201', ['Wolfi'], ['Chainguard']],
  ['azurelinux', '3.0', ['Azure Linux:3'], ['Azure Linux:2']],
])('advisories of %s %s', (id, versionId, theirs, others) => {
  const os: OsRelease = { id, versionId, idLike: [], name: '', prettyName: '', versionCodename: '' };
  const pattern = distributionPattern(os)!;
  for (const ecosystem of theirs) expect(pattern.test(ecosystem), ecosystem).toBe(true);
  for (const ecosystem of others) expect(pattern.test(ecosystem), ecosystem).toBe(false);
});

test('a distribution that OSV does not know, or a hostile version, has none', () => {
  const os: OsRelease = { id: 'nixos', versionId: '(', idLike: [], name: '', prettyName: '', versionCodename: '' };
  expect(distributionPattern(os)).toBeUndefined();
  expect(distributionPattern({ ...os, id: 'ubuntu', versionId: '(a+)+$' })?.test('Ubuntu:(a+)+$')).toBe(true);
  expect(distributionPattern({ ...os, id: 'debian', versionId: '' })).toBeUndefined();
});
