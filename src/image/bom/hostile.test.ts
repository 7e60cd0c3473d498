import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { VisibleFile } from '../../storage/index.ts';
import { alpinePackages } from './alpine.ts';
import { copyrightLicenses, debianPackages, debianPaths } from './debian.ts';
import { fileOf, scratchFolder } from './files.fixture.ts';
import { linesOf } from './foreign-file.ts';
import { LicenseList } from './licenses.ts';
import { lockedPackages, npmPackage } from './npm.ts';
import { parseOsRelease } from './os-release.ts';
import { purlOf } from './purl.ts';
import { pythonPackage } from './python.ts';

const parsers: Record<string, { read(file: VisibleFile): unknown; words: string[] }> = {
  dpkg: {
    read: (file) => [...debianPackages(file)],
    words: ['Package: a\n', 'Version: 1\n', 'Status: install ok installed\n', 'Source: b (2)\n', ' more\n', '\n'],
  },
  'dpkg lists': { read: (file) => [...debianPaths(file)], words: ['/.\n', '/usr\n', '/usr/bin/x\n'] },
  copyright: {
    read: (file) => copyrightLicenses(file),
    words: ['License: GPL-2+ and ', 'MIT', ' or ', ' with ', '\n', '/usr/share/common-licenses/', 'GPL'],
  },
  apk: {
    read: (file) => [...alpinePackages(file, () => {})],
    words: ['P:a\n', 'V:1-r0\n', 'F:lib\n', 'R:x\n', 'o:\n', '\n'],
  },
  npm: {
    read: (file) => npmPackage(file),
    words: ['{"name":', '"a"', ',"version":', '"1"', ',"license":', '{', '}', '[', ']', 'null'],
  },
  'npm locks': {
    read: (file) => [...lockedPackages(file)],
    words: ['{"packages":', '{"dependencies":', '{"node_modules/a":', '{"version":"1"', '"a":', '}', ',', '[]', 'null'],
  },
  PyPI: {
    read: (file) => pythonPackage(file),
    words: ['Name: a\n', 'Version: 1\n', 'License: ', 'Classifier: License :: ', 'x', '\n', ' '],
  },
};

test.each(Object.entries(parsers))('%s: any text is read or refused, by its name', (_, { read, words }) => {
  using folder = scratchFolder();
  const text = fc
    .array(
      fc.oneof(
        { weight: 5, arbitrary: fc.constantFrom(...words) },
        fc.string(),
        fc.constantFrom('\0', '\r', '\u001b', '\ud800'),
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (content) => {
      try {
        read(fileOf(folder.path, 'some/file', Buffer.from(content)));
      } catch (error) {
        expect(error).toMatchObject({ kind: 'InvalidArgument', message: expect.stringContaining('some/file') });
      }
    }),
    { numRuns: 400 },
  );
});

test.each(Object.entries(parsers))('%s: a long text takes no longer than its length', (_, { read, words }) => {
  using folder = scratchFolder();
  const patterns = [...words, words.join(''), ' ', '\n', 'a', 'a ', '-', 'License: a and '];
  for (const word of patterns) {
    const file = fileOf(folder.path, 'some/file', Buffer.from(word.repeat(Math.ceil(900_000 / word.length))));
    const started = performance.now();
    try {
      read(file);
    } catch (error) {
      expect(error).toMatchObject({ kind: 'InvalidArgument' });
    }
    expect(performance.now() - started, JSON.stringify(word)).toBeLessThan(2500);
  }
});

test('a line without an end is refused before it fills memory', () => {
  using folder = scratchFolder();
  const file = fileOf(folder.path, 'some/file', Buffer.alloc(3 * 1024 * 1024, 'x'));
  expect(() => [...linesOf(file, 1e9)]).toThrow(/some\/file: a line of more than 1048576 bytes/);
  expect(() => [...linesOf(file, 1000)]).toThrow(/some\/file: 3145728 bytes, at most 1000 are read/);
});

test('lines are cut where they end, wherever pieces end', () => {
  using folder = scratchFolder();
  const lines = Array.from({ length: 5000 }, (_, at) => 'ä'.repeat(at % 97));
  expect([...linesOf(fileOf(folder.path, 'f', Buffer.from(lines.join('\n'))), 1e9)]).toEqual(lines);
  expect([...linesOf(fileOf(folder.path, 'f', Buffer.from('a\r\n\r\nb\n')), 1e9)]).toEqual(['a', '', 'b']);
});

test('os-release says no more than it says', () => {
  expect(
    parseOsRelease('ID="My\\"OS"\nVERSION_ID=\'1$x`y\'\nPRETTY_NAME="a \\$b\u001b[2J"\n# ID=no\nNAME=plain\n'),
  ).toMatchObject({ id: 'my"os', versionId: '1$x`y', prettyName: 'a $b[2J', name: 'plain' });
  fc.assert(fc.property(fc.string(), (text) => void parseOsRelease(text)));
});

test('licences and package URLs of any text are valid', async () => {
  const list = await LicenseList.load();
  const declared = fc.array(
    fc.oneof(fc.string(), fc.constantFrom('MIT', 'GPL-2+', '(MIT OR', 'Apache-2.0 AND', ')', 'Expat or BSD-3-clause')),
  );
  fc.assert(
    fc.property(declared, (texts) => {
      const { expression, extracted } = list.spdx(texts);
      if (texts.length > 0) expect(expression).toMatch(/^[A-Za-z0-9.+() -]+$/);
      for (const id of extracted.keys()) expect(id).toMatch(/^LicenseRef-[A-Za-z0-9.-]+$/);
    }),
    { examples: [[['__proto__']], [['toString']]] },
  );
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (name, version) => {
      for (const type of ['deb', 'apk', 'rpm', 'npm', 'pypi', 'golang', 'maven'] as const) {
        expect(purlOf({ type, name, version }, undefined)).toMatch(
          /^pkg:[a-z]+\/[\w.~%:/-]*@[\w.~%:-]+(\?[\w.~%:=&-]+)?$/,
        );
      }
    }),
    { examples: [['name', '0:']] },
  );
});

test.each([
  [['GPL-2+'], 'GPL-2.0-or-later'],
  [['GPL-3'], 'GPL-3.0-only'],
  [['Expat', 'Apache-2'], 'MIT AND Apache-2.0'],
  [['MIT OR Apache-2.0', 'ISC'], '(MIT OR Apache-2.0) AND ISC'],
  [['(mit and isc)'], '(MIT AND ISC)'],
  [['Apache License 2.0'], 'Apache-2.0'],
  [['public domain'], 'LicenseRef-public-domain'],
  [[], undefined],
])('licences %j', async (declared, want) => {
  expect((await LicenseList.load()).spdx(declared).expression).toBe(want);
});
