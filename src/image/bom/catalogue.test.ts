import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { catalogueOf, scratchFolder, type TestLayer, zipOf } from './files.fixture.ts';
import type { CataloguedPackage } from './package.ts';

const brief = (packages: readonly CataloguedPackage[]) =>
  packages.map(({ name, version, layer }) => `${name} ${version} @${layer}`);

const debian = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
ID=debian
`;
const stanza = (name: string, version: string, more = '') =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n${more}Description: a package\n with two lines\n\n`;

describe('dpkg', () => {
  test('what is installed, once, as the topmost layer says', async () => {
    const { packages, distribution, problems } = await catalogueOf([
      {
        'usr/lib/os-release': debian,
        'etc/os-release': { link: '../usr/lib/os-release' },
        'var/lib/dpkg/status': stanza('openssl', '3.0.1-1') + stanza('gone', '1'),
      },
      {
        'var/lib/dpkg/status':
          stanza('libssl3', '3.0.2-1+b2', 'Source: openssl (3.0.2-1)\nMaintainer: Debian OpenSSL Team <x@y.org>\n') +
          stanza('openssl', '3.0.2-1') +
          'Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n\n' +
          'Package: half\nStatus: install ok half-configured\nVersion: 2\n',
      },
    ]);
    expect(distribution).toMatchObject({ id: 'debian', versionId: '12' });
    expect(brief(packages)).toEqual(['half 2 @1', 'libssl3 3.0.2-1+b2 @1', 'openssl 3.0.2-1 @1']);
    expect(packages[1]).toEqual({
      type: 'deb',
      name: 'libssl3',
      version: '3.0.2-1+b2',
      architecture: 'amd64',
      source: { name: 'openssl', version: '3.0.2-1' },
      licenses: [],
      supplier: 'Debian OpenSSL Team <x@y.org>',
      path: 'var/lib/dpkg/status',
      layer: 1,
      purl: 'pkg:deb/debian/libssl3@3.0.2-1%2Bb2?arch=amd64&distro=debian-12&upstream=openssl%403.0.2-1',
    });
    expect(problems).toEqual([]);
  });

  test('a status that a layer deletes is gone', async () => {
    const { packages } = await catalogueOf([
      { 'var/lib/dpkg/status': stanza('a', '1') },
      { 'var/lib/dpkg/.wh.status': '' },
    ]);
    expect(packages).toEqual([]);
  });

  test('distroless images have a file for each package', async () => {
    const { packages } = await catalogueOf([
      {
        'etc/os-release': debian,
        'var/lib/dpkg/status.d/base': 'Package: base-files\nVersion: 12.4\n',
        'var/lib/dpkg/status.d/base.md5sums': 'd41d8  etc/x\n',
      },
      { 'var/lib/dpkg/status.d/tzdata': 'Package: tzdata\nVersion: 2024a\n' },
    ]);
    expect(brief(packages)).toEqual(['base-files 12.4 @0', 'tzdata 2024a @1']);
  });

  test('licences of copyright files, also through links between the folders of documents', async () => {
    const copyright =
      'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+ and Expat\n\nFiles: debian/*\nLicense: Apache-2.0\n text\n';
    const { packages } = await catalogueOf([
      {
        'var/lib/dpkg/status': stanza('a', '1') + stanza('b', '1') + stanza('c', '1'),
        'usr/share/doc/a/copyright': copyright,
        'usr/share/doc/b': { link: 'a' },
        'usr/share/doc/c/copyright': 'It is free; see /usr/share/common-licenses/GPL-3.\n',
      },
    ]);
    expect(packages.map(({ licenses }) => licenses)).toEqual([
      ['Apache-2.0', 'Expat', 'GPL-2+'],
      ['Apache-2.0', 'Expat', 'GPL-2+'],
      ['GPL-3'],
    ]);
  });

  test('as dpkg itself installs it, with the Python package that it brings', async () => {
    using folder = scratchFolder();
    const source = join(folder.path, 'package');
    const root = join(folder.path, 'root');
    mkdirSync(join(source, 'DEBIAN'), { recursive: true });
    const module = join(source, 'usr/lib/python3/dist-packages/thing-1.2.dist-info');
    mkdirSync(module, { recursive: true });
    writeFileSync(join(module, 'METADATA'), 'Metadata-Version: 2.1\nName: thing\nVersion: 1.2\n\nText\n');
    writeFileSync(
      join(source, 'DEBIAN/control'),
      'Package: python3-thing\nVersion: 1.2-3\nArchitecture: all\nMaintainer: A B <a@b.org>\nSource: thing\nDescription: a thing\n',
    );
    chmodSync(join(source, 'DEBIAN'), 0o755);
    execFileSync('dpkg-deb', ['--build', '--root-owner-group', source, join(folder.path, 'thing.deb')], {
      stdio: 'ignore',
    });
    for (const path of ['var/lib/dpkg/info', 'var/lib/dpkg/updates', 'etc'])
      mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, 'var/lib/dpkg/status'), '');
    writeFileSync(join(root, 'etc/os-release'), debian);
    execFileSync('dpkg', ['--root', root, '--force-not-root', '--install', join(folder.path, 'thing.deb')], {
      stdio: 'ignore',
    });
    const bytes = execFileSync('tar', ['-c', '-C', root, '.'], { maxBuffer: 1e8 });
    const { packages } = await catalogueOf([bytes]);
    expect(packages).toMatchObject([
      { type: 'deb', name: 'python3-thing', version: '1.2-3', source: { name: 'thing', version: '1.2-3' } },
      { type: 'pypi', name: 'thing', version: '1.2', ownedBy: 'python3-thing' },
    ]);
  });
});

test('apk: names, origins, licences and owned files', async () => {
  const database = `C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
S:380000
I:622592
T:the musl c library (libc) implementation
U:https://musl.libc.org/
L:MIT
o:musl
m:Timo Teräs <timo.teras@iki.fi>
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1zzz=

C:Q1def=
P:libssl3
V:3.1.4-r5
A:x86_64
L:Apache-2.0 AND MIT
o:openssl
F:usr/lib/node_modules/left-pad
R:package.json
`;
  const { packages, problems } = await catalogueOf([
    {
      'etc/os-release': 'ID=alpine\nVERSION_ID=3.18.5\nPRETTY_NAME="Alpine Linux v3.18"\n',
      'lib/apk/db/installed': database,
      'usr/lib/node_modules/left-pad/package.json': '{"name":"left-pad","version":"1.3.0","license":"WTFPL"}',
    },
  ]);
  expect(problems).toEqual([]);
  expect(packages).toMatchObject([
    {
      type: 'apk',
      name: 'libssl3',
      version: '3.1.4-r5',
      source: { name: 'openssl', version: '3.1.4-r5' },
      licenses: ['Apache-2.0 AND MIT'],
      purl: 'pkg:apk/alpine/libssl3@3.1.4-r5?arch=x86_64&distro=alpine-3.18.5&upstream=openssl',
    },
    { name: 'musl', supplier: 'Timo Teräs <timo.teras@iki.fi>' },
    { type: 'npm', name: 'left-pad', ownedBy: 'libssl3', licenses: ['WTFPL'] },
  ]);
});

test('npm: what lies in node_modules, else what a lock file says', async () => {
  const layer: TestLayer = {
    'app/package-lock.json': JSON.stringify({ packages: { 'node_modules/ignored': { version: '9.9.9' } } }),
    'app/package.json': JSON.stringify({ name: 'app', version: '0.0.1' }),
    'app/node_modules/@scope/name/package.json': JSON.stringify({
      name: '@scope/name',
      version: '2.0.0',
      licenses: [{ type: 'MIT' }],
    }),
    'app/node_modules/@scope/name/node_modules/deep/package.json': JSON.stringify({
      name: 'deep',
      version: '1.0.0',
      author: { name: 'Me' },
    }),
    'app/node_modules/@scope/name/lib/package.json': JSON.stringify({ type: 'module' }),
    'app/node_modules/.bin/package.json': '{}',
    'app/node_modules/part/package.json': JSON.stringify({ type: 'commonjs' }),
    'site/package-lock.json': JSON.stringify({
      lockfileVersion: 3,
      packages: {
        '': { name: 'site', version: '1.0.0' },
        'node_modules/a': { version: '1.0.0', license: 'ISC' },
        'node_modules/a/node_modules/@x/b': { version: '2.0.0' },
        'node_modules/d': { version: '3.0.0', dev: true },
        'packages/own': { version: '0.0.0' },
        'node_modules/own': { resolved: 'packages/own', link: true },
      },
    }),
    'old/npm-shrinkwrap.json': JSON.stringify({
      lockfileVersion: 1,
      dependencies: {
        c: { version: '1.0.0', dependencies: { e: { version: '5.0.0' } } },
        f: { version: '6.0.0', dev: true },
      },
    }),
  };
  const { packages, problems } = await catalogueOf([layer]);
  expect(problems).toEqual([]);
  expect(packages.map(({ purl, path }) => `${purl} ${path}`)).toEqual([
    'pkg:npm/%40scope/name@2.0.0 app/node_modules/@scope/name/package.json',
    'pkg:npm/%40x/b@2.0.0 site/package-lock.json',
    'pkg:npm/a@1.0.0 site/package-lock.json',
    'pkg:npm/c@1.0.0 old/npm-shrinkwrap.json',
    'pkg:npm/deep@1.0.0 app/node_modules/@scope/name/node_modules/deep/package.json',
    'pkg:npm/e@5.0.0 old/npm-shrinkwrap.json',
  ]);
  expect(packages[0]!.licenses).toEqual(['MIT']);
});

test('PyPI: wheels, eggs and what distutils leaves', async () => {
  const site = 'usr/local/lib/python3.12/site-packages';
  const { packages } = await catalogueOf([
    {
      [`${site}/Flask_Login-0.6.3.dist-info/METADATA`]:
        'Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6.3\nClassifier: License :: OSI Approved :: MIT License\nLicense: a\n  long text\n\nVersion: 9\n',
      [`${site}/requests-2.31.0.egg-info/PKG-INFO`]:
        'Name: requests\nVersion: 2.31.0\nLicense: Apache 2.0\nAuthor: Kenneth\n',
      [`${site}/old-1.0.egg-info`]: 'Name: old\r\nVersion: 1.0\r\nLicense-Expression: MIT OR Apache-2.0\r\n',
      [`${site}/nothing-1.dist-info/METADATA`]: 'nothing\n',
    },
  ]);
  expect(packages.map(({ purl, licenses }) => [purl, licenses])).toEqual([
    ['pkg:pypi/flask-login@0.6.3', ['MIT License']],
    ['pkg:pypi/old@1.0', ['MIT OR Apache-2.0']],
    ['pkg:pypi/requests@2.31.0', ['Apache 2.0']],
  ]);
});

test('Java: Maven properties, manifests, file names, and archives in archives', async () => {
  const properties = (group: string, artifact: string, version: string) =>
    `#Created\ngroupId=${group}\nartifactId=${artifact}\nversion=${version}\n`;
  const inner = zipOf({
    'META-INF/maven/org.slf4j/slf4j-api/pom.properties': properties('org.slf4j', 'slf4j-api', '2.0.9'),
  });
  const bundle = zipOf({
    'META-INF/MANIFEST.MF':
      'Manifest-Version: 1.0\r\nBundle-SymbolicName: org.example.thing;singleton:=tr\r\n ue\r\nBundle-Version: 1.4.2\r\n\r\nName: x\r\nBundle-Version: 9\r\n',
  });
  const { packages, problems } = await catalogueOf([
    {
      'app/app.war': zipOf({
        'META-INF/maven/com.example/app/pom.properties': properties('com.example', 'app', '1.0'),
        'WEB-INF/lib/slf4j-api-2.0.9.jar': inner,
        'WEB-INF/lib/fat.jar': zipOf({ 'lib/thing.jar': bundle }),
      }),
      'opt/commons-lang-2.6.jar': zipOf({ 'a.class': 'x' }),
      'opt/nameless.jar': zipOf({ 'a.class': 'x' }),
    },
  ]);
  expect(problems).toEqual([]);
  expect(packages.map(({ purl, path }) => `${purl} ${path}`)).toEqual(
    [
      'pkg:maven/com.example/app@1.0 app/app.war',
      'pkg:maven/commons-lang@2.6 opt/commons-lang-2.6.jar',
      'pkg:maven/org.slf4j/slf4j-api@2.0.9 app/app.war:WEB-INF/lib/slf4j-api-2.0.9.jar',
      'pkg:maven/org.example.thing@1.4.2 app/app.war:WEB-INF/lib/fat.jar:lib/thing.jar',
    ].sort(),
  );
});

test('a name that is no name is a problem, not a package', async () => {
  const { packages, problems } = await catalogueOf([
    {
      'a/node_modules/x/package.json': JSON.stringify({ name: 'x\u001b[31m', version: '1' }),
      'a/node_modules/y/package.json': JSON.stringify({ name: 'y'.repeat(5000), version: '1' }),
      'a/node_modules/z/package.json': '{"name": "z", ',
      'a/b.jar': 'no zip',
    },
  ]);
  expect(packages).toEqual([]);
  expect(problems.map(({ path, message }) => `${path}: ${message}`)).toEqual([
    expect.stringMatching(/b\.jar: .*no valid zip file/),
    expect.stringMatching(/x\/package\.json: a npm package whose name/),
    expect.stringMatching(/y\/package\.json: a npm package whose name/),
    expect.stringMatching(/z\/package\.json: .*not valid JSON/),
  ]);
});

test.each([
  ['var/lib/dpkg/status', 'this: is no\nstatus: file\n'],
  ['lib/apk/db/installed', 'nor is this\none\n'],
  ['var/lib/rpm/rpmdb.sqlite', 'SQLite format 3\0 and then nothing'.padEnd(5000)],
  ['var/lib/rpm/Packages.db', 'no database'],
  ['var/lib/rpm/Packages', 'no database'],
])('a damaged %s fails, and is named', async (path, content) => {
  await expect(catalogueOf([{ [path]: content }])).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringContaining(path),
  });
});

test('giving up is possible', async () => {
  const files = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`d${at}/f`, '']));
  await expect(catalogueOf([files], { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
});
