import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { statusAt } from '../../linux/index.ts';
import { entryHeader } from './entry-digest.ts';
import { FileDigests } from './file-digests.ts';

const FILES = 3000;

test('digests of many files are remembered, and one that changed is found anew', () => {
  const root = mkdtempSync(join(tmpdir(), 'tare-digests-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const fd = openSync(root, 'r');
  onTestFinished(() => closeSync(fd));
  const index = `${root}.index`;
  onTestFinished(() => rmSync(index, { force: true }));
  const entryOf = (path: string) => ({ status: statusAt(fd, path), layerFd: fd, path });
  const right = (path: string): string =>
    createHash('sha256')
      .update(entryHeader(entryOf(path)))
      .update(readFileSync(join(root, path)))
      .digest('hex');
  const paths = Array.from({ length: FILES }, (_, n) => `f${n}`);
  const first = new FileDigests(index);
  for (const path of paths) {
    writeFileSync(join(root, path), path);
    expect(first.of(entryOf(path)).toString('hex')).toBe(right(path));
  }
  first.save();
  expect(statSync(index).size).toBe(FILES * 56);

  const again = new FileDigests(index);
  writeFileSync(join(root, 'f7'), 'another');
  for (const path of paths) expect(again.of(entryOf(path)).toString('hex')).toBe(right(path));
  // Too few are new to be worth a new file.
  const before = readFileSync(index);
  again.save();
  expect(readFileSync(index).equals(before)).toBe(true);

  // What is remembered is what is told: these records were changed.
  const changed = Buffer.from(before);
  for (let at = 0; at < changed.length; at += 56) changed.fill(0xee, at + 24, at + 56);
  writeFileSync(index, Buffer.concat([changed, Buffer.from('cut off')]));
  const told = new FileDigests(index);
  expect(told.of(entryOf('f8')).toString('hex')).toBe('ee'.repeat(32));
  expect(told.of(entryOf('f7')).toString('hex')).toBe(right('f7'));
});
