import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dockerFiles, ImageLab, imageOf, plainLayer, tarOf } from './image-archives.fixture.ts';
import type { ScanReport } from './types.ts';

const stanza = (name: string, version: string, source = name) =>
  `Package: ${name}\nStatus: install ok installed\nVersion: ${version}\nSource: ${source}\nArchitecture: amd64\n\n`;

const files = {
  'etc/os-release': 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
  'var/lib/dpkg/status': stanza('libssl3', '3.0.2-1', 'openssl') + stanza('fine', '2') + stanza('python3-owned', '1'),
  'var/lib/dpkg/info/python3-owned.list': '/usr/lib/python3/dist-packages/owned-1.0.dist-info/METADATA\n',
  'usr/lib/python3/dist-packages/owned-1.0.dist-info/METADATA': 'Name: owned\nVersion: 1.0\n',
  'site-packages/Some_Thing-1.5.dist-info/METADATA': 'Name: Some_Thing\nVersion: 1.5\n',
  'app/node_modules/left-pad/package.json': '{"name":"left-pad","version":"1.3.0"}',
  'other/node_modules/left-pad/package.json': '{"name":"left-pad","version":"1.3.0"}',
};

const critical = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';
const medium = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N';

const ranges = (...events: object[]) => [{ type: 'ECOSYSTEM', events }];
const about = (ecosystem: string, name: string, more: object) => ({ package: { ecosystem, name }, ...more });

const records: Record<string, object> = {
  'Debian/DEBIAN-CVE-2024-1.json': {
    id: 'DEBIAN-CVE-2024-1',
    upstream: ['CVE-2024-1'],
    details: 'OpenSSL reads too far.\nMore of it.',
    affected: [
      about('Debian:12', 'openssl', { ranges: ranges({ introduced: '0' }, { fixed: '3.0.3-1' }) }),
      about('Debian:11', 'openssl', { ranges: ranges({ introduced: '0' }) }),
    ],
  },
  // Gives the severity that Debian does not.
  'CVE-2024-1.json': { id: 'CVE-2024-1', summary: 'OpenSSL', severity: [{ type: 'CVSS_V3', score: critical }] },
  'Debian/DSA-1.json': {
    id: 'DSA-1',
    upstream: ['CVE-2024-1', 'CVE-2024-2'],
    affected: [about('Debian:12', 'openssl', { ranges: ranges({ introduced: '0' }, { fixed: '3.0.3-1' }) })],
  },
  'Debian/DEBIAN-CVE-2024-2.json': {
    id: 'DEBIAN-CVE-2024-2',
    upstream: ['CVE-2024-2'],
    affected: [
      about('Debian:12', 'openssl', { versions: ['3.0.2-1'], ecosystem_specific: { urgency: 'unimportant' } }),
    ],
  },
  'Debian/fixed.json': {
    id: 'DEBIAN-CVE-2020-1',
    affected: [about('Debian:12', 'openssl', { ranges: ranges({ introduced: '0' }, { fixed: '3.0.2-1' }) })],
  },
  'Debian/withdrawn.json': {
    id: 'DEBIAN-CVE-2020-2',
    withdrawn: '2024-01-01T00:00:00Z',
    affected: [about('Debian:12', 'openssl', { ranges: ranges({ introduced: '0' }) })],
  },
  'npm/GHSA-1.json': {
    id: 'GHSA-aaaa-bbbb-cccc',
    aliases: ['CVE-2024-3'],
    summary: 'left-pad pads\u001b[31m right',
    references: [
      { type: 'WEB', url: 'https://example.com/web' },
      { type: 'ADVISORY', url: 'https://example.com/3' },
    ],
    database_specific: { severity: 'MODERATE' },
    affected: [
      about('npm', 'left-pad', {
        ranges: [
          {
            type: 'SEMVER',
            events: [{ introduced: '2.0.0' }, { fixed: '2.0.5' }, { introduced: '1.0.0' }, { last_affected: '1.3.0' }],
          },
        ],
      }),
    ],
  },
  'PyPI/PYSEC-1.json': {
    id: 'PYSEC-2024-1',
    aliases: ['CVE-2024-4', 'GHSA-dddd-eeee-ffff'],
    affected: [
      about('PyPI', 'some-thing', {
        ranges: [
          { type: 'GIT', repo: 'x', events: [{ introduced: '0' }] },
          ...ranges({ introduced: '1.0' }, { fixed: '1.6' }),
        ],
      }),
    ],
  },
  'PyPI/GHSA-2.json': {
    id: 'GHSA-dddd-eeee-ffff',
    summary: 'thing',
    severity: [
      { type: 'CVSS_V3', score: medium },
      { type: 'CVSS_V4', score: 'nonsense' },
    ],
    affected: [
      about('PyPI', 'Some.Thing', { ranges: ranges({ introduced: '0' }, { fixed: '1.5.1' }) }),
      about('PyPI', 'owned', { ranges: ranges({ introduced: '0' }) }),
    ],
  },
};

let lab: ImageLab;
let report: (database: string) => Promise<ScanReport>;
let folder: string;
let cacheFolder: string;

beforeAll(async () => {
  lab = await ImageLab.open();
  await lab.load(tarOf(dockerFiles([{ image: imageOf([plainLayer(files)]), names: ['app:1'] }])));
  cacheFolder = join(lab.root, 'scan-cache');
  folder = join(lab.root, 'db');
  for (const [name, record] of Object.entries(records)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), JSON.stringify(record));
  }
  writeFileSync(join(folder, 'README.txt'), 'no record');
  report = (database) => lab.images.scan('app:1', { database, cacheFolder });
});
afterAll(() => lab[Symbol.asyncDispose]());

const brief = ({ findings }: ScanReport) =>
  findings.map(
    ({ severity, package: found, id, fixed }) => `${severity} ${found.name} ${found.version} ${id} ${fixed ?? '-'}`,
  );

const want = [
  'critical libssl3 3.0.2-1 CVE-2024-1 3.0.3-1',
  'medium Some_Thing 1.5 CVE-2024-4 1.6',
  'medium left-pad 1.3.0 CVE-2024-3 2.0.5',
  'low libssl3 3.0.2-1 CVE-2024-2 -',
];

test('what is vulnerable, once, the worst first', async () => {
  const found = await report(folder);
  expect(brief(found)).toEqual(want);
  expect(found.unchecked).toEqual([]);
  expect(found.database).toMatchObject({ records: 9, unreadable: 0 });
  expect(found.findings[0]).toMatchObject({
    score: 9.8,
    aliases: ['DEBIAN-CVE-2024-1'],
    paths: ['var/lib/dpkg/status'],
    layer: 0,
  });
  expect(found.findings[2]).toMatchObject({
    aliases: ['GHSA-aaaa-bbbb-cccc'],
    url: 'https://example.com/3',
    paths: ['app/node_modules/left-pad/package.json', 'other/node_modules/left-pad/package.json'],
  });
});

describe('a database may be', () => {
  const all = Object.values(records);
  test.each([
    ['a file of a record a line', 'all.jsonl', all.map((record) => JSON.stringify(record)).join('\n')],
    ['the same by another name', 'lines.json', all.map((record) => JSON.stringify(record)).join('\r\n')],
    ['a list in one file', 'list.json', JSON.stringify(all, null, 1)],
    ['an answer of OSV', 'answer.json', JSON.stringify({ vulns: all })],
  ])('%s', async (_, name, text) => {
    const path = join(lab.root, name);
    writeFileSync(path, text);
    expect(brief(await report(path))).toEqual(want);
  });
});

test('what the distribution brought is looked up by itself where the database knows nothing of the distribution', async () => {
  const path = join(lab.root, 'pypi.json');
  writeFileSync(path, JSON.stringify(records['PyPI/GHSA-2.json']));
  expect(brief(await report(path))).toEqual([
    'medium Some_Thing 1.5 GHSA-dddd-eeee-ffff 1.5.1',
    'medium owned 1.0 GHSA-dddd-eeee-ffff -',
  ]);
});

test('thousands of vulnerabilities of one package take no longer than they should', async () => {
  const path = join(lab.root, 'many.jsonl');
  const line = (at: number) =>
    JSON.stringify({
      ...records['Debian/DEBIAN-CVE-2024-2.json'],
      id: `D-${at}`,
      aliases: [`E-${at}`],
      upstream: [`CVE-2023-${at}`],
    });
  writeFileSync(path, Array.from({ length: 6000 }, (_, at) => line(at)).join('\n'));
  await report(path);
  const started = performance.now();
  expect((await report(path)).findings).toHaveLength(6000);
  expect(performance.now() - started).toBeLessThan(2500);
});

test('an index is built once, and again when the database changes', async () => {
  const path = join(lab.root, 'changing.jsonl');
  const line = (id: string) => `${JSON.stringify({ ...records['npm/GHSA-1.json'], id, aliases: [] })}\n`;
  writeFileSync(path, line('A-1'));
  expect((await report(path)).findings.map(({ id }) => id)).toEqual(['A-1']);
  const indexes = () => readdirSync(cacheFolder).sort();
  const before = indexes();
  await report(path);
  expect(indexes()).toEqual(before);
  writeFileSync(path, line('B-1'));
  utimesSync(path, new Date(), new Date(Date.now() + 5000));
  expect((await report(path)).findings.map(({ id }) => id)).toEqual(['B-1']);
  expect(indexes().length).toBeLessThanOrEqual(3);
  expect(indexes().every((name) => /^[0-9a-f]{64}\.db$/.test(name))).toBe(true);
  expect(statSync(cacheFolder).mode & 0o777).toBe(0o700);
});

test('an index that is damaged is built again', async () => {
  await report(folder);
  for (const name of readdirSync(cacheFolder)) writeFileSync(join(cacheFolder, name), 'damaged'.repeat(1000));
  expect(brief(await report(folder))).toEqual(want);
});

test('records that are none are counted, and the first is named', async () => {
  const path = join(lab.root, 'partly.jsonl');
  writeFileSync(
    path,
    `{"id": 5}\n${JSON.stringify(records['npm/GHSA-1.json'])}\n{"id": "X-1", "affected": {}}\nno json\n`,
  );
  const { database, findings, unchecked } = await report(path);
  expect(database).toMatchObject({ records: 1, unreadable: 3, firstUnreadable: `${path}:1: it has no id` });
  expect(findings).toHaveLength(1);
  // What the database knows nothing of is told, or an empty answer would look like a good one.
  expect(unchecked).toEqual([
    '3 deb packages: the database has no advisories of Debian GNU/Linux 12',
    '2 pypi packages: the database has no advisories of PyPI',
  ]);
});

test.each([
  [
    'nothing',
    'absent',
    undefined,
    'NotFound',
    /no vulnerability database at .*absent: get one with "tare scan-db update"/,
  ],
  [
    'no record',
    'none.json',
    '{"a": 1}',
    'InvalidArgument',
    /none\.json: no record of OSV's format in it \(.*it has no id\)/,
  ],
  ['no zip file', 'bad.zip', 'PK\x03\x04 and then nothing', 'InvalidArgument', /bad\.zip: no valid zip file/],
  ['a compressed file', 'db.json.gz', gzipSync('{}'), 'InvalidArgument', /no record of OSV's format/],
])('a database that is %s', async (_, name, content, kind, message) => {
  const path = join(lab.root, name);
  if (content !== undefined) writeFileSync(path, content);
  await expect(report(path)).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  expect(readdirSync(cacheFolder).filter((entry) => entry.endsWith('.part'))).toEqual([]);
});

test('an image that is not here', async () => {
  await expect(lab.images.scan('absent', { database: folder, cacheFolder })).rejects.toMatchObject({
    kind: 'NotFound',
    message: 'No such image: absent:latest',
  });
  await expect(lab.images.sbom('absent')).rejects.toMatchObject({ kind: 'NotFound' });
});

test('a bill of materials counts as made when the image was, or as SOURCE_DATE_EPOCH says', async () => {
  const created = async () => {
    const { document } = await lab.images.sbom('app:1', { format: 'spdx-json' });
    return (document as { creationInfo: { created: string } }).creationInfo.created;
  };
  expect(await created()).toBe('2026-01-02T03:04:05Z');
  process.env['SOURCE_DATE_EPOCH'] = '86400';
  try {
    expect(await created()).toBe('1970-01-02T00:00:00Z');
  } finally {
    delete process.env['SOURCE_DATE_EPOCH'];
  }
});
