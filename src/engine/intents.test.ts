import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tryFlock } from '../linux/index.ts';
import { Intents } from './intents.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-intents-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** What a process leaves that dies. */
const leave = (mark: string) => writeFileSync(join(directory, mark), '');
/** A second one on the same folder is as good as another process: locks are those of open files. */
const open = () => new Intents(directory);

test('a mark counts once its process died, and is gone when its operation is over', () => {
  const [mine, theirs] = [open(), open()];
  {
    using _operation = mine.begin();
    expect([theirs.abandoned(), theirs.isReconcileDue]).toEqual([[], false]);
  }
  expect(readdirSync(directory)).toEqual([]);
  leave('1-1');
  expect([mine.abandoned(), mine.isReconcileDue]).toEqual([['1-1'], true]);
});

test('a mark that somebody looks at just as it is made is another one', () => {
  const seen = `${process.pid}-1`;
  using looking = tryFlock(join(directory, seen))!;
  using _operation = open().begin();
  looking[Symbol.dispose]();
  expect(readdirSync(directory).sort()).toEqual([seen, `${process.pid}-2`]);
  expect(open().abandoned()).toEqual([seen]);
});

test('marks stay until a reconcile has ended, and what it failed at until one does not', () => {
  leave('1-1');
  {
    // It died.
    using _reconciling = open().beginReconcile();
  }
  expect(open().abandoned()).toEqual(['1-1']);
  {
    using beside = open().beginReconcile();
    using failing = open().beginReconcile();
    failing.end(['container x: it is busy']);
    // It left to the other one what that had locked.
    beside.end([]);
  }
  expect(open().abandoned()).toEqual([]);
  {
    using next = open().beginReconcile();
    expect([...next.known]).toEqual(['container x: it is busy']);
    next.end([]);
  }
  expect(readdirSync(directory)).toEqual([]);
});

test('what could not be settled is due even if its note was cut off', () => {
  writeFileSync(join(directory, 'unsettled'), '');
  expect(open().isReconcileDue).toBe(true);
});
