import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { duration, parsePs, processTable, startTime, terminalName } from './top.ts';

describe('processTable', () => {
  test('the default columns are what the host’s ps prints', async () => {
    const { titles, processes } = await processTable([1, process.pid]);
    expect(titles).toEqual(['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
    const theirs = parsePs(execFileSync('ps', ['-efww'], { encoding: 'utf8' }), new Set([1, process.pid])).processes;
    // CPU time and share move on between the two.
    const steady = (rows: string[][]) => rows.map((row) => row.filter((_, column) => column !== 3 && column !== 6));
    expect(steady(processes)).toEqual(steady(theirs));
  });

  test('other arguments go to ps', async () => {
    const { titles, processes } = await processTable([process.pid], '-o pid,comm');
    expect(titles).toEqual(['PID', 'COMMAND']);
    expect(processes.map(([pid]) => pid)).toEqual([String(process.pid)]);
  });

  test('formats that take no list of pids are filtered', async () => {
    const { processes } = await processTable([process.pid], 'faux');
    expect(processes.map((row) => row[1])).toEqual([String(process.pid)]);
  });

  test.each([
    ['-eo pid=X,ppid=PID', 'specifying "'],
    [' -o ppid=PID', 'specifying "ppid=PID" is not allowed'],
    ['-oppid=PID', 'specifying "ppid=PID" is not allowed'],
    ['--no-such-option', 'ps: error: unknown gnu long option'],
    ['-\0', 'no zero bytes'],
    ['-o comm', "Couldn't find PID field in ps output"],
  ])('%s is refused', async (args, message) => {
    await expect(processTable([process.pid], args)).rejects.toThrow(message);
  });

  test('a process that has ended is left out', async () => {
    expect((await processTable([2 ** 22 + 1])).processes).toEqual([]);
  });
});

describe('parsePs', () => {
  const pids = new Set([7]);
  test('what is left over belongs to the last column', () => {
    expect(parsePs('PID CMD\n 7 sh  -c  x\n 8 other\n', pids)).toEqual({
      titles: ['PID', 'CMD'],
      processes: [['7', 'sh -c x']],
    });
  });
  test('threads follow their process', () => {
    const output = 'PID LWP CMD\n7 - a\n- 7 -\n- 9 -\n8 - b\n- 8 -\n';
    expect(parsePs(output, pids).processes).toEqual([
      ['7', '-', 'a'],
      ['-', '7', '-'],
      ['-', '9', '-'],
    ]);
  });
  test('a pid that is none', () => expect(() => parsePs('PID\nx\n', pids)).toThrow("Unexpected pid 'x'"));
});

test.each([
  [0, '00:00:00'],
  [3661, '01:01:01'],
  [90061, '1-01:01:01'],
])('duration %d', (seconds, text) => expect(duration(seconds)).toBe(text));

test.each([
  [new Date(2026, 5, 7, 9, 3), '09:03'],
  [new Date(2026, 5, 6, 23, 59), 'Jun06'],
  [new Date(2025, 11, 31), '2025'],
])('startTime %s', (start, text) => {
  expect(startTime(start.getTime() / 1000, new Date(2026, 5, 7, 10))).toBe(text);
});

test.each([
  [0, '?'],
  [(136 << 8) | 3, 'pts/3'],
  [(137 << 8) | 1, 'pts/257'],
  [(136 << 8) | 5 | (1 << 20), 'pts/261'],
  [(4 << 8) | 1, 'tty1'],
  [(4 << 8) | 64, 'ttyS0'],
  [(5 << 8) | 1, 'console'],
  [9 << 8, '?'],
])('terminalName %d', (number, name) => expect(terminalName(number)).toBe(name));
