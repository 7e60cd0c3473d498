import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalogueOf, fileOf, scratchFolder, type TestLayer } from '../files.fixture.ts';
import { rpmPackages } from './rpm.ts';

const spec = (name: string, more = '') => `Name: ${name}
Version: 1.2.3
Release: 4.el9
Summary: a package of the tests
License: GPL-2.0-or-later
Vendor: Example Inc.
BuildArch: noarch
${more}
%description
Nothing.
%install
mkdir -p %{buildroot}/usr/lib/node_modules/${name}
echo '{"name": "${name}", "version": "1.2.3"}' > %{buildroot}/usr/lib/node_modules/${name}/package.json
%files
/usr/lib/node_modules/${name}/package.json
`;

/** Databases as rpm itself writes them, by backend. */
const databases: Record<string, Record<string, Buffer>> = {};
const folder = scratchFolder();

beforeAll(() => {
  const top = join(folder.path, 'build');
  const build = (name: string, more?: string) => {
    const path = join(folder.path, `${name}.spec`);
    writeFileSync(path, spec(name, more));
    execFileSync('rpmbuild', ['-bb', '--define', `_topdir ${top}`, '--quiet', path], { stdio: 'ignore' });
  };
  build('alpha');
  build('beta', 'Epoch: 7');
  for (const name of ['filler0', 'filler1', 'filler2']) build(name);
  const packages = readdirSync(join(top, 'RPMS/noarch')).map((name) => join(top, 'RPMS/noarch', name));
  const dbpath = join(folder.path, 'sqlite');
  mkdirSync(dbpath);
  const defines = ['--define', '_db_backend sqlite', '--dbpath', dbpath];
  execFileSync('rpm', [...defines, '--initdb']);
  execFileSync('rpm', [...defines, '--install', '--justdb', '--nodeps', '--noscripts', ...packages], {
    stdio: 'ignore',
  });
  databases.sqlite = Object.fromEntries(readdirSync(dbpath).map((name) => [name, readFileSync(join(dbpath, name))]));
  const headers = headersOf(join(dbpath, 'rpmdb.sqlite'));
  databases.bdb = { Packages: berkeley(headers) };
  databases.ndb = { 'Packages.db': ndb(headers) };
}, 60_000);
afterAll(() => folder[Symbol.dispose]());

interface Header {
  number: number;
  blob: Uint8Array;
}

function headersOf(sqlite: string): Header[] {
  using stack = new DisposableStack();
  const db = new DatabaseSync(sqlite, { readOnly: true });
  stack.defer(() => db.close());
  return db.prepare('SELECT hnum AS number, blob FROM Packages').all() as unknown as Header[];
}

/** rpm no longer writes Berkeley DB, so the same headers go into such a file by Berkeley DB's own program. */
function berkeley(headers: readonly Header[]): Buffer {
  const hex = (bytes: Uint8Array) => ` ${Buffer.from(bytes).toString('hex')}\n`;
  const key = (number: number) => Buffer.from(Uint32Array.of(number).buffer);
  const counter = { number: 0, blob: key(headers.length) };
  const pairs = [counter, ...headers].map(({ number, blob }) => hex(key(number)) + hex(blob)).join('');
  const dump = `VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n${pairs}DATA=END\n`;
  const path = join(folder.path, 'Packages');
  execFileSync('db5.3_load', [path], { input: dump });
  return readFileSync(path);
}

/** Debian's rpm is built without ndb: the same headers as rpm's lib/backend/ndb/rpmpkg.c lays them out, with a free slot between. */
function ndb(headers: readonly Header[]): Buffer {
  const page = Buffer.alloc(4096);
  for (let at = 32; at < page.length; at += 16) page.write('Slot', at);
  page.write('RpmP');
  page.writeUInt32LE(1, 8);
  page.writeUInt32LE(1, 12);
  page.writeUInt32LE(headers.length + 1, 16);
  const blobs: Buffer[] = [];
  let block = page.length / 16;
  for (const [at, { number, blob }] of headers.entries()) {
    const bytes = Buffer.alloc(Math.ceil((16 + blob.length + 12) / 16) * 16);
    bytes.write('BlbS');
    bytes.writeUInt32LE(number, 4);
    bytes.writeUInt32LE(1, 8);
    bytes.writeUInt32LE(blob.length, 12);
    bytes.set(blob, 16);
    bytes.writeUInt32LE(blob.length, bytes.length - 8);
    bytes.write('BlbE', bytes.length - 4);
    const slot = 32 + 32 * at;
    page.writeUInt32LE(number, slot + 4);
    page.writeUInt32LE(block, slot + 8);
    page.writeUInt32LE(bytes.length / 16, slot + 12);
    block += bytes.length / 16;
    blobs.push(bytes);
  }
  return Buffer.concat([page, ...blobs]);
}

const places: Record<string, string> = { sqlite: 'usr/lib/sysimage/rpm', ndb: 'var/lib/rpm', bdb: 'var/lib/rpm' };
const layerOf = (backend: string): TestLayer => ({
  'etc/os-release': 'ID="rocky"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3"\n',
  ...Object.fromEntries(
    Object.entries(databases[backend]!).map(([name, bytes]) => [`${places[backend]}/${name}`, bytes]),
  ),
  'usr/lib/node_modules/alpha/package.json': '{"name": "alpha", "version": "1.2.3"}',
});

describe.each(['sqlite', 'ndb', 'bdb'])('an rpm database of the kind %s', (backend) => {
  test('its packages, and the files that they own', async () => {
    const { packages, problems } = await catalogueOf([layerOf(backend)]);
    expect(problems).toEqual([]);
    expect(packages.map(({ type, name, version }) => `${type} ${name} ${version}`)).toEqual([
      'npm alpha 1.2.3',
      'rpm alpha 1.2.3-4.el9',
      'rpm beta 7:1.2.3-4.el9',
      'rpm filler0 1.2.3-4.el9',
      'rpm filler1 1.2.3-4.el9',
      'rpm filler2 1.2.3-4.el9',
    ]);
    expect(packages[0]).toMatchObject({ ownedBy: 'alpha' });
    expect(packages[2]).toMatchObject({
      architecture: 'noarch',
      source: { name: 'beta', version: '7:1.2.3-4.el9' },
      licenses: ['GPL-2.0-or-later'],
      supplier: 'Example Inc.',
      purl: 'pkg:rpm/rocky/beta@1.2.3-4.el9?arch=noarch&distro=rocky-9.3&epoch=7',
    });
  });

  test('damaged anywhere, it fails cleanly or gives what is left', () => {
    using scratch = scratchFolder();
    const name = { sqlite: 'rpmdb.sqlite', ndb: 'Packages.db', bdb: 'Packages' }[backend]!;
    const whole = databases[backend]![name]!;
    let refused = 0;
    // Every part of the file is hit, with values that make counts and offsets large.
    for (let round = 0; round < 400; round += 1) {
      const bytes = Buffer.from(whole);
      const at = Math.floor((bytes.length - 8) * (round / 400));
      if (round % 4 === 0) bytes.fill(0xff, at, at + 4);
      else if (round % 4 === 1) bytes.writeUInt32LE(at, at);
      else if (round % 4 === 2) bytes.copy(bytes, at, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 512);
      const damaged = round % 4 === 3 ? bytes.subarray(0, at) : bytes;
      const started = performance.now();
      try {
        [...rpmPackages({ file: fileOf(scratch.path, `var/lib/rpm/${name}`, damaged) }, () => {})];
      } catch (error) {
        refused += 1;
        expect(error).toMatchObject({ kind: 'InvalidArgument', message: expect.stringContaining(name) });
      }
      expect(performance.now() - started).toBeLessThan(3000);
    }
    expect(refused).toBeGreaterThan(10);
  });
});

describe('an SQLite file that is not as rpm makes it', () => {
  test.each([
    [
      'a view that never ends',
      "CREATE VIEW Packages AS WITH RECURSIVE n(hnum, blob) AS (SELECT 1, x'00' UNION ALL SELECT hnum + 1, blob FROM n) SELECT * FROM n",
    ],
    [
      'a computed column',
      'CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB AS (zeroblob(1000000000)))',
    ],
    [
      'an index that computes',
      'CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL); CREATE INDEX i ON Packages (length(zeroblob(1000000000)))',
    ],
    ['no table', 'CREATE TABLE Other (x)'],
  ])('%s', async (_, sql) => {
    using scratch = scratchFolder();
    const path = join(scratch.path, 'db');
    const db = new DatabaseSync(path);
    db.exec(sql);
    db.close();
    await expect(catalogueOf([{ 'var/lib/rpm/rpmdb.sqlite': readFileSync(path) }])).rejects.toMatchObject({
      kind: 'InvalidArgument',
      message: expect.stringContaining('no table Packages as rpm makes it'),
    });
  });

  test('packages that are still in the write-ahead log count', async () => {
    using scratch = scratchFolder();
    const path = join(scratch.path, 'rpmdb.sqlite');
    writeFileSync(path, databases.sqlite!['rpmdb.sqlite']!);
    using stack = new DisposableStack();
    const db = new DatabaseSync(path);
    stack.defer(() => db.close());
    db.exec(
      'PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; DELETE FROM Packages WHERE hnum > 1;',
    );
    const { packages } = await catalogueOf([
      { 'var/lib/rpm/rpmdb.sqlite': readFileSync(path), 'var/lib/rpm/rpmdb.sqlite-wal': readFileSync(`${path}-wal`) },
    ]);
    expect(packages).toHaveLength(1);
  });
});
