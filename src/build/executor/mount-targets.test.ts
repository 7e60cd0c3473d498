import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MountTargets } from './mount-targets.ts';

let folder: string;
let root: string;
let notes: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-targets-'));
  [root, notes] = [join(folder, 'root'), join(folder, 'notes')];
  mkdirSync(join(root, 'etc'), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const timesOf = () => [root, join(root, 'etc')].map((path) => statSync(path, { bigint: true }).mtimeNs);

test.each([
  { what: 'whole notes', end: '' },
  { what: 'notes that were cut off', end: '["/etc","mo' },
  { what: 'notes of which power took the end', end: '\0\0\0' },
])('another process takes back what one has made, by $what', ({ end }) => {
  const before = timesOf();
  const targets = new MountTargets(root, notes);
  for (const path of ['/etc/hosts', '/etc/resolv.conf', '/made/for/it']) targets.make({ path, isFile: true });
  expect(readdirSync(root, { recursive: true })).toHaveLength(6);
  appendFileSync(notes, end);
  new MountTargets(root, notes).takeBackNoted();
  expect(readdirSync(root, { recursive: true })).toEqual(['etc']);
  expect(timesOf()).toEqual(before);
  expect(existsSync(notes)).toBe(false);
});

test('what was changed stays, and who takes back himself leaves no notes', () => {
  const targets = new MountTargets(root, notes);
  for (const path of ['/etc/hosts', '/etc/own']) targets.make({ path, isFile: true });
  writeFileSync(join(root, 'etc/own'), 'written');
  expect(existsSync(notes)).toBe(true);
  targets.takeBack(true);
  expect(readdirSync(join(root, 'etc'))).toEqual(['own']);
  expect(existsSync(notes)).toBe(false);
});
