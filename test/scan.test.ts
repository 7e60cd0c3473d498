import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { built } from './support/built.ts';
import { execute } from './support/execute.ts';
import { withEngine } from './support/faces.ts';
import { dockerArchive } from './support/image.ts';
import { tar } from './support/tar.ts';

const status = ['openssl', 'zlib1g', 'tzdata']
  .map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: 1.0-1\nArchitecture: amd64\n\n`)
  .join('');

const base = tar([
  { path: 'etc/os-release', content: 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n' },
  { path: 'var/lib/dpkg/status', content: status },
  { path: 'app/node_modules/bad/package.json', content: '{"name": "bad\\u001b[2J", "version": "1"}' },
]);
const top = tar([
  { path: 'app/node_modules/left-pad/package.json', content: '{"name": "left-pad", "version": "1.3.0"}' },
]);

const advisory = (id: string, name: string, fixed: string | undefined, score: string, title: string) => ({
  id,
  summary: title,
  severity: [{ type: 'CVSS_V3', score: `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/${score}` }],
  affected: [
    {
      package: { ecosystem: 'Debian:12', name },
      ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }, ...(fixed === undefined ? [] : [{ fixed }])] }],
    },
  ],
});
const database = [
  advisory('CVE-2024-1', 'openssl', '1.0-2', 'C:H/I:H/A:H', 'Reads\u001b[31m too far'),
  advisory('CVE-2024-2', 'zlib1g', undefined, 'C:L/I:N/A:N', 'Tells a little'),
  advisory('CVE-2024-3', 'tzdata', '0.9-1', 'C:H/I:H/A:H', 'Fixed long ago'),
].map((record) => `${JSON.stringify(record)}\n`);

describe.each(['tare', 'in-process'] as const)('bill of materials and scan, through %s', (face) => {
  const engine = withEngine({ face, image: false });
  const tare = (...args: string[]) => engine().tare(args);
  const place = (name: string) => join(engine().root, name);
  const ready = async (): Promise<string> => {
    const archive = place('app.tar');
    const db = place('db.jsonl');
    writeFileSync(db, database.join(''));
    writeFileSync(archive, dockerArchive({ name: 'app:1', layers: [base, top] }));
    await tare('load', '--quiet', '--input', archive);
    return db;
  };
  let db: Promise<string> | undefined;
  const loaded = () => {
    db ??= ready();
    return db;
  };

  test('sbom: SPDX, CycloneDX and a table, the same bytes every time', async () => {
    await loaded();
    const { stdout, stderr } = await tare('image', 'sbom', 'app:1');
    const spdx = JSON.parse(stdout) as { spdxVersion: string; packages: { name: string }[] };
    expect(spdx.spdxVersion).toBe('SPDX-2.3');
    expect(spdx.packages.map(({ name }) => name)).toEqual([
      'app:1',
      'debian',
      'openssl',
      'tzdata',
      'zlib1g',
      'left-pad',
    ]);
    expect(stderr).toMatch(
      /^WARNING: app\/node_modules\/bad\/package\.json: a npm package whose name or version .*\n$/,
    );
    const again = place('again.json');
    expect((await tare('image', 'sbom', '--format', 'spdx-json', '--output', again, 'app:1')).stdout).toBe('');
    expect(readFileSync(again, 'utf8')).toBe(stdout);
    const cyclonedx = JSON.parse((await tare('image', 'sbom', '--format', 'cyclonedx-json', 'app:1')).stdout) as {
      specVersion: string;
    };
    expect(cyclonedx.specVersion).toBe('1.6');
    expect(
      (await tare('image', 'sbom', '--format', 'table', 'app:1')).stdout.split('\n').map((line) => line.split(/ {2,}/)),
    ).toEqual([
      ['NAME', 'VERSION', 'TYPE', 'FOUND IN'],
      ['openssl', '1.0-1', 'deb', '/var/lib/dpkg/status'],
      ['tzdata', '1.0-1', 'deb', '/var/lib/dpkg/status'],
      ['zlib1g', '1.0-1', 'deb', '/var/lib/dpkg/status'],
      ['left-pad', '1.3.0', 'npm', '/app/node_modules/left-pad/package.json'],
      [''],
    ]);
  });

  test('scan: a table, and what was not looked up', async () => {
    const { stdout, stderr } = await tare('image', 'scan', '--db', await loaded(), 'app:1');
    expect(stdout).toBe(
      [
        'SEVERITY   PACKAGE   INSTALLED   FIXED IN   ID           TITLE',
        'CRITICAL   openssl   1.0-1       1.0-2      CVE-2024-1   Reads\\u001b[31m too far',
        'MEDIUM     zlib1g    1.0-1       -          CVE-2024-2   Tells a little',
        '',
        'Total: 2 (1 critical, 0 high, 1 medium, 0 low, 0 unknown)',
        '',
      ].join('\n'),
    );
    expect(stderr).toContain('WARNING: not checked: 1 npm packages: the database has no advisories of npm\n');
  });

  test.each([
    [['--fail-on', 'critical'], 2, 2],
    [['--fail-on', 'medium', '--ignore', 'CVE-2024-1'], 2, 1],
    [['--fail-on', 'high', '--ignore', 'CVE-2024-1'], 0, 1],
    [['--fail-on', 'medium', '--only-fixed', '--ignore', 'CVE-2024-1'], 0, 0],
    [['--severity', 'high'], 0, 1],
    // What is shown does not change what fails.
    [['--severity', 'critical', '--fail-on', 'medium', '--ignore', 'CVE-2024-1'], 2, 0],
    [[], 0, 2],
  ])('scan %j: exit code %i, %i findings', async (options, code, findings) => {
    const args = ['image', 'scan', '--db', await loaded(), '--format', 'json', ...options, 'app:1'];
    const { stdout } = await engine().tare(args, { expect: code });
    const report = JSON.parse(stdout) as { findings: { layer: string }[]; distribution: { id: string } };
    expect(report.findings).toHaveLength(findings);
    expect(report.distribution.id).toBe('debian');
    for (const { layer } of report.findings) expect(layer).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('scan: an ignore file, until a day', async () => {
    const list = place('ignored');
    writeFileSync(list, '# accepted\nCVE-2024-1 until:2001-01-01 # over\nCVE-2024-2 until:9999-12-31\n\n');
    const { stdout } = await tare('image', 'scan', '--db', await loaded(), '--ignore-file', list, 'app:1');
    expect(stdout).toContain('CVE-2024-1');
    expect(stdout).not.toContain('CVE-2024-2');
    writeFileSync(list, 'CVE-2024-1\nCVE-2024-2 soon\n');
    const { stderr } = await engine().tare(['image', 'scan', '--db', await loaded(), '--ignore-file', list, 'app:1'], {
      expect: 1,
    });
    expect(stderr).toContain(`${list}:2: want ID [until:YYYY-MM-DD] [# comment], not "CVE-2024-2 soon"`);
  });

  test('scan: SARIF', async () => {
    const { stdout } = await tare('image', 'scan', '--db', await loaded(), '--format', 'sarif', 'app:1');
    const { version, runs } = JSON.parse(stdout) as {
      version: string;
      runs: { tool: { driver: { rules: { id: string }[] } }; results: Record<string, unknown>[] }[];
    };
    expect(version).toBe('2.1.0');
    expect(runs[0]!.tool.driver.rules.map(({ id }) => id)).toEqual(['CVE-2024-1', 'CVE-2024-2']);
    expect(runs[0]!.results[0]).toMatchObject({
      ruleId: 'CVE-2024-1',
      ruleIndex: 0,
      level: 'error',
      message: { text: expect.stringContaining('fixed in 1.0-2') },
      locations: [{ physicalLocation: { artifactLocation: { uri: 'var/lib/dpkg/status' } } }],
    });
  });

  test.each([
    [['image', 'scan', 'app:1'], /no vulnerability database at .*scan-db: get one with "tare scan-db update"/],
    [['image', 'scan', '--fail-on', 'awful', 'app:1'], /--fail-on "awful": want low, medium, high, critical/],
    [['image', 'scan', '--format', 'xml', 'app:1'], /--format "xml": want table, json, sarif/],
    [['image', 'scan', '--ignore', '$(x)', 'app:1'], /--ignore "\$\(x\)": want an id such as/],
    [['image', 'sbom', '--format', 'xml', 'app:1'], /unknown format "xml": want spdx-json, cyclonedx-json, table/],
    [['-H', 'tcp://127.0.0.1:1', 'image', 'sbom', 'app:1'], /leave that out/],
    [['-H', 'tcp://127.0.0.1:1', 'image', 'scan', 'app:1'], /leave that out/],
    [['image', 'sbom', 'absent'], /No such image: absent:latest/],
  ])('refused: %j', async (args, message) => {
    await loaded();
    expect((await engine().tare(args, { expect: 1 })).stderr).toMatch(message);
  });
});

test('scan-db update fetches what a scan reads', async () => {
  const zip = Buffer.concat([Buffer.from('PK\x05\x06'), Buffer.alloc(18)]);
  const server = createServer((request, response) => {
    if (request.url === '/Go/all.zip') response.end(zip);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const from = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await using stack = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'tare-scan-'));
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    const update = ['scan-db', 'update', '--db', join(folder, 'db'), '--from', from];
    const run = (...more: string[]) =>
      execute([join(built(), 'bin/tare'), ...update, ...more], { expect: 'any', env: { NO_PROXY: '127.0.0.1' } });
    expect(await run('--ecosystem', 'Go')).toMatchObject({ code: 0, stdout: 'Go: received 22B\n' });
    expect(readFileSync(join(folder, 'db/Go.zip'))).toEqual(zip);
    expect(await run('--ecosystem', 'Gone')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no database of Gone'),
    });
  } finally {
    server.close();
  }
});
