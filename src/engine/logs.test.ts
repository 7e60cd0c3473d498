import { appendFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { entryTime, LogLineReader } from './log-lines.ts';
import { parseLogOptions } from './log-options.ts';
import { readLog, readRuns } from './log-reader.ts';
import { rotateLog } from './log-rotation.ts';
import { LogRunReader } from './log-runs.ts';
import type { LogOptions } from './types.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-logs-'));
  path = join(folder, 'container.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (second: number): string => `2026-01-02T03:04:${String(second).padStart(2, '0')}.123456789+00:00`;
const entry = (text: string, second = 0, stream = 'stdout', tag = 'F'): string =>
  `${at(second)} ${stream} ${tag} ${text}\n`;

async function read(options: Partial<LogOptions> = {}, ended?: AbortSignal): Promise<string[]> {
  const lines: string[] = [];
  for await (const { line } of readLog(path, { follow: false, stdout: true, stderr: true, ...options }, ended)) {
    lines.push(Buffer.from(line).toString());
  }
  return lines;
}

describe('reading', () => {
  test('lines keep their newline, parts are joined, times are UTC', async () => {
    writeFileSync(path, entry('one') + entry('two ', 1, 'stderr', 'P') + entry('halves', 1, 'stderr') + entry('', 2));
    expect(await read()).toEqual(['one\n', 'two halves\n', '\n']);
    for await (const { time, stream } of readLog(path, { follow: false, stdout: false, stderr: true })) {
      expect({ time, stream }).toEqual({ time: '2026-01-02T03:04:01.123456789Z', stream: 'stderr' });
    }
  });

  test('runs hold what stands next to each other from one stream', async () => {
    const long = 'x'.repeat(20_000);
    writeFileSync(`${path}.1`, entry('one'));
    writeFileSync(
      path,
      `garbage with words\n${entry('a ', 0, 'stdout', 'P')}${entry('b')}${entry('c', 1, 'stderr')}${entry(long)}${entry(long)}torn`,
    );
    const runs: string[] = [];
    for await (const { stream, line } of readRuns(path, { stdout: true, stderr: true })) {
      runs.push(`${stream} ${Buffer.from(line).toString()}`);
    }
    expect(runs).toEqual(['stdout one\n', 'stdout a b\n', 'stderr c\n', `stdout ${long}\n`, `stdout ${long}\n`]);
  });

  test('runs hold the same bytes as the entries, wherever blocks are cut', () => {
    const part = fc.record({
      text: fc.string({ maxLength: 300 }).map((text) => text.replaceAll('\n', ' ')),
      stream: fc.constantFrom('stdout', 'stderr'),
      tag: fc.constantFrom('F', 'F', 'P'),
    });
    const property = fc.property(fc.array(part, { maxLength: 40 }), fc.integer({ min: 1, max: 500 }), (parts, size) => {
      const file = Buffer.from(parts.map(({ text, stream, tag }) => entry(text, 0, stream, tag)).join(''));
      const got = { stdout: '', stderr: '' };
      const runs = new LogRunReader();
      for (let at = 0; at < file.length; at += size) {
        const bytes = file.copy(runs.room(), 0, at, at + size);
        for (const { stream, line } of runs.take(bytes)) {
          got[stream] += Buffer.from(line).toString('latin1');
        }
      }
      const want = { stdout: '', stderr: '' };
      for (const { stream, line } of new LogLineReader().push(file))
        want[stream] += Buffer.from(line).toString('latin1');
      expect(got).toEqual(want);
    });
    fc.assert(property);
  });

  test('a log that is not there yet is empty', async () => expect(await read()).toEqual([]));

  test('foreign and torn lines are passed over', async () => {
    writeFileSync(path, `garbage\n\n${entry('good')}2026-01-02T03:04:05Z stdout\n${at(1)} stdout F torn`);
    expect(await read()).toEqual(['good\n']);
  });

  test.each([
    { what: 'since', options: { sinceSeconds: Date.parse('2026-01-02T03:04:02Z') / 1000 }, want: ['c\n', 'd\n'] },
    {
      what: 'since, exactly',
      options: { sinceSeconds: Date.parse('2026-01-02T03:04:02Z') / 1000 + 0.123456789 },
      want: ['c\n', 'd\n'],
    },
    { what: 'until', options: { untilSeconds: Date.parse('2026-01-02T03:04:01.5Z') / 1000 }, want: ['a\n', 'b\n'] },
    { what: 'stdout alone', options: { stderr: false }, want: ['a\n', 'c\n', 'd\n'] },
    { what: 'tail 0', options: { tail: 0 }, want: [] },
    { what: 'tail 2', options: { tail: 2 }, want: ['c\n', 'd\n'] },
    { what: 'tail beyond', options: { tail: 99 }, want: ['a\n', 'b\n', 'c\n', 'd\n'] },
  ])('$what', async ({ options, want }) => {
    writeFileSync(path, entry('a', 0) + entry('b', 1, 'stderr') + entry('c', 2) + entry('d', 3));
    expect(await read(options)).toEqual(want);
  });

  test('tail counts a line in parts once', async () => {
    writeFileSync(path, entry('x') + entry('a', 1, 'stdout', 'P') + entry('b', 1) + entry('c', 2, 'stdout', 'P'));
    expect(await read({ tail: 1 })).toEqual(['c']);
    expect(await read({ tail: 2 })).toEqual(['ab\n', 'c']);
  });

  test('rotated files come first, and tail reaches into them', async () => {
    writeFileSync(`${path}.2`, entry('oldest', 0));
    writeFileSync(`${path}.1`, entry('older', 1) + entry('old', 2));
    writeFileSync(path, entry('new', 3));
    expect(await read()).toEqual(['oldest\n', 'older\n', 'old\n', 'new\n']);
    expect(await read({ tail: 3 })).toEqual(['older\n', 'old\n', 'new\n']);
  });

  test('tail finds its start wherever blocks are cut', async () => {
    const count = 9_000;
    const texts = Array.from({ length: count }, (_, index) => `${index}`.padEnd((index * 37) % 300, '.'));
    writeFileSync(path, texts.map((text) => entry(text)).join(''));
    for (const tail of [1, 1000, 4321, 8999, 9000]) {
      expect(await read({ tail })).toEqual(texts.slice(count - tail).map((text) => `${text}\n`));
    }
  });

  test('any bytes, cut anywhere, come out as they went in', () => {
    const content = fc
      .uint8Array({ maxLength: 60 })
      .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 10 ? 11 : byte))));
    fc.assert(
      fc.property(fc.array(content, { maxLength: 8 }), fc.nat(500), (contents, cut) => {
        const file = Buffer.concat(
          contents.flatMap((part) => [Buffer.from(`${at(1)} stdout F `), part, Buffer.from('\n')]),
        );
        const lines = new LogLineReader();
        const got = [file.subarray(0, cut), file.subarray(cut)].flatMap((block) => [...lines.push(block)]);
        expect(got.map(({ line }) => Buffer.from(line).toString('latin1'))).toEqual(
          contents.map((part) => `${part.toString('latin1')}\n`),
        );
      }),
    );
  });

  test('a time compares with those of entries', () => {
    expect(entryTime(1.5)).toBe('1970-01-01T00:00:01.500000000Z');
  });
});

describe('following', () => {
  test('goes on to the end, over rotations', async () => {
    writeFileSync(path, entry('0'));
    const ended = new AbortController();
    const reading = read({ follow: true }, ended.signal);
    for (let round = 1; round <= 20; round++) {
      appendFileSync(path, entry(`${round}a`));
      await sleep(round % 3);
      // No more than two entries, so that each round rotates, and half of what is kept for each file: none is cut for its age.
      await rotateLog(path, { maxSizeBytes: 90, maxFiles: 80 }, async () => {
        // The monitor writes to the renamed file until it has opened the new one.
        appendFileSync(`${path}.1`, entry(`${round}b`));
        await sleep(round % 2);
        writeFileSync(path, entry(`${round}c`));
      });
    }
    appendFileSync(path, entry('last'));
    ended.abort();
    const want = Array.from({ length: 20 }, (_, index) => ['a', 'b', 'c'].map((letter) => `${index + 1}${letter}\n`));
    expect(await reading).toEqual(['0\n', ...want.flat(), 'last\n']);
  });

  test('waits for a log that is not there yet', async () => {
    const ended = new AbortController();
    const reading = read({ follow: true }, ended.signal);
    await sleep(20);
    writeFileSync(path, entry('first'));
    await sleep(20);
    ended.abort();
    expect(await reading).toEqual(['first\n']);
  });

  test('shows a prompt, and joins what follows at once', async () => {
    const ended = new AbortController();
    const reading = read({ follow: true }, ended.signal);
    appendFileSync(path, entry('name: ', 0, 'stdout', 'P'));
    await sleep(150);
    appendFileSync(path, entry('be', 0, 'stdout', 'P'));
    await sleep(5);
    appendFileSync(path, entry('gun', 0, 'stdout', 'F'));
    await sleep(20);
    ended.abort();
    expect(await reading).toEqual(['name: ', 'begun\n']);
  });

  test('a line that comes byte by byte takes no more memory than others', async () => {
    const byte = entry('x', 0, 'stdout', 'P');
    writeFileSync(path, byte.repeat(40_000));
    const pieces = await read();
    expect(pieces.length).toBeGreaterThan(8);
    expect(pieces.join('')).toBe('x'.repeat(40_000));
  });

  test('a line that never ends comes in pieces', async () => {
    const part = 'x'.repeat(8192);
    writeFileSync(path, entry(part, 0, 'stdout', 'P').repeat(400));
    const pieces = await read();
    expect(pieces.length).toBeGreaterThan(2);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(1024 * 1024);
    expect(pieces.join('')).toBe(part.repeat(400));
  });

  test('ends at `until`, and when the client leaves', async () => {
    writeFileSync(path, entry('old'));
    expect(await read({ follow: true, untilSeconds: Date.now() / 1000 + 0.05 })).toEqual(['old\n']);
    expect(await read({ follow: true, signal: AbortSignal.timeout(50) })).toEqual(['old\n']);
  });
});

describe('rotation', () => {
  const reopens: string[] = [];
  const reopen = async () => {
    reopens.push('');
    writeFileSync(path, '');
  };

  test('keeps so many files', async () => {
    for (const text of ['1', '2', '3', '4', '5']) {
      writeFileSync(path, text);
      expect(await rotateLog(path, { maxSizeBytes: 1, maxFiles: 3 }, reopen)).toBe(true);
    }
    expect(readdirSync(folder).sort()).toEqual(['container.log', 'container.log.1', 'container.log.2']);
    expect(readFileSync(`${path}.1`, 'utf8') + readFileSync(`${path}.2`, 'utf8')).toBe('54');
  });

  test('leaves a small log alone, and finishes what a crash left', async () => {
    writeFileSync(path, 'x');
    expect(await rotateLog(path, { maxSizeBytes: 2, maxFiles: 3 }, reopen)).toBe(false);
    renameSync(path, `${path}.1`);
    const before = reopens.length;
    expect(await rotateLog(path, { maxSizeBytes: 2, maxFiles: 3 }, reopen)).toBe(false);
    expect(reopens.length).toBe(before + 1);
  });

  test('with one file kept, starts over', async () => {
    writeFileSync(path, 'xx');
    expect(await rotateLog(path, { maxSizeBytes: 2, maxFiles: 1 }, reopen)).toBe(true);
    expect(readdirSync(folder)).toEqual(['container.log']);
  });

  test('old files are compressed, and read like the others: whole, from the end, and by a follower', async () => {
    const reopen = async () => writeFileSync(path, '');
    writeFileSync(path, entry('one'));
    const ended = new AbortController();
    const seen: string[] = [];
    const follow = async () => {
      const options = { follow: true, stdout: true, stderr: true };
      for await (const { line } of readLog(path, options, ended.signal)) seen.push(Buffer.from(line).toString());
    };
    const following = follow();
    let last = 'one\n';
    for (const text of ['two', 'three', 'four']) {
      await expect.poll(() => seen.at(-1)).toBe(last);
      expect(await rotateLog(path, { maxSizeBytes: 45, maxFiles: 3, compresses: true }, reopen)).toBe(true);
      appendFileSync(path, entry(text));
      last = `${text}\n`;
    }
    expect(readdirSync(folder).sort()).toEqual([
      'container.log',
      expect.stringMatching(/^container\.log\.1\.\d+-\d+\.gz$/),
      expect.stringMatching(/^container\.log\.2\.\d+-\d+\.gz$/),
    ]);
    expect(await read()).toEqual(['two\n', 'three\n', 'four\n']);
    expect(await read({ tail: 2 })).toEqual(['three\n', 'four\n']);
    await expect.poll(() => seen.at(-1)).toBe(last);
    ended.abort();
    await following;
    expect(seen).toEqual(['one\n', 'two\n', 'three\n', 'four\n']);
    expect(readdirSync(folder)).toHaveLength(3);
  });
});

describe('log options', () => {
  test.each([
    {
      type: '',
      config: {},
      want: { type: 'json-file', maxSizeBytes: 5e8, maxFiles: 4, hardLimitBytes: 4e9, needsRotation: false },
    },
    { type: 'json-file', config: { 'max-size': '-1' }, want: { maxSizeBytes: 0, maxFiles: 1, hardLimitBytes: 0 } },
    {
      type: 'local',
      config: {},
      want: { type: 'local', maxSizeBytes: 2e7, maxFiles: 5, compresses: true, needsRotation: true },
    },
    {
      type: 'syslog',
      config: {
        tag: 'x',
        'cache-max-size': '1m',
        mode: 'non-blocking',
        'max-buffer-size': '4m',
        'cache-disabled': 'true',
      },
      want: { type: 'syslog', maxSizeBytes: 1e6, maxFiles: 5, isReadable: false },
    },
    { type: 'none', config: {}, want: { type: 'none', maxSizeBytes: 0 } },
    {
      type: 'json-file',
      config: { 'max-size': '10m', 'max-file': '3' },
      want: { maxSizeBytes: 1e7, maxFiles: 3, hardLimitBytes: 2 ** 30 },
    },
    {
      type: 'json-file',
      config: { 'max-size': '1.5kb' },
      want: { maxSizeBytes: 1500, maxFiles: 1, hardLimitBytes: 1500 },
    },
  ])('$type $config', ({ type, config, want }) => {
    expect(parseLogOptions({ type, config: config as Record<string, string> })).toMatchObject(want);
  });

  test.each([
    { type: 'splunk', config: {}, words: "no log driver named 'splunk' is registered" },
    { type: 'syslog', config: { 'max-size': '1m' }, words: "unknown log opt 'max-size' for syslog log driver" },
    { type: 'json-file', config: { mode: 'sometimes' }, words: 'logging mode not supported: sometimes' },
    { type: 'local', config: { 'max-buffer-size': '1m' }, words: "only supported with 'mode=non-blocking'" },
    { type: 'json-file', config: { colour: 'red' }, words: "unknown log opt 'colour' for json-file log driver" },
    { type: 'none', config: { 'max-size': '1m' }, words: "unknown log opt 'max-size' for none log driver" },
    { type: 'json-file', config: { 'max-size': 'big' }, words: "invalid size: 'big'" },
    { type: 'json-file', config: { 'max-size': '0' }, words: 'positive' },
    { type: 'json-file', config: { 'max-size': '-2' }, words: 'invalid size' },
    { type: 'json-file', config: { 'max-size': '1m', 'max-file': '0' }, words: 'max-file' },
    { type: 'json-file', config: { 'max-file': '2' }, words: 'needs max-size' },
  ])('$type $config is refused', ({ type, config, words }) => {
    expect(() => parseLogOptions({ type, config: config as Record<string, string> })).toThrow(words);
  });
});
