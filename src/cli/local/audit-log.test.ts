import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AuditLog, auditOptionsOf } from './audit-log.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-audit-'));
  path = join(folder, 'audit.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const entry = (target: string) => ({ time: '', method: 'GET', route: '/info', target, status: 200, ms: 1 });
const targets = (file: string) =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { target: string }).target);

test.each([1, 3])('a full file is put aside, and %i stay', (maxFiles) => {
  // Left by the daemon before, and open to others.
  writeFileSync(path, `${JSON.stringify(entry('before'))}\n`, { mode: 0o644 });
  const bytes = Buffer.byteLength(`${JSON.stringify(entry('0'))}\n`);
  const reported: unknown[] = [];
  using log = new AuditLog({ path, maxBytes: 2 * bytes + 6, maxFiles }, (error) => reported.push(error));
  for (let number = 0; number < 9; number += 1) log.write(entry(String(number)));
  expect(reported).toEqual([]);
  expect(targets(path)).toEqual(['7', '8']);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const older = [1, 2, 3].map((number) => `${path}.${number}`).filter((file) => existsSync(file));
  expect(older.map(targets)).toEqual(
    maxFiles === 1
      ? []
      : [
          ['5', '6'],
          ['3', '4'],
        ],
  );
});

test('what cannot be written is reported, and the next line is written where it can', () => {
  const reported: unknown[] = [];
  using log = new AuditLog({ path, maxBytes: 10, maxFiles: 2 }, (error) => reported.push(error));
  log.write(entry('first'));
  rmSync(folder, { recursive: true });
  log.write(entry('lost'));
  expect(reported).toHaveLength(1);
  folder = mkdtempSync(join(tmpdir(), 'tare-audit-'));
  expect(auditOptionsOf(undefined, { path, 'max-size': '64k', 'max-files': '2' })).toEqual({
    ...{ path, maxBytes: 65_536, maxFiles: 2 },
  });
  for (const bad of [{ 'max-size': '63k' }, { 'max-size': 'big' }, { 'max-files': '0' }, { 'max-files': '1.5' }])
    expect(() => auditOptionsOf(path, bad)).toThrow(/invalid audit max-/);
});
