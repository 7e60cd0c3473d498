import { expect, test } from 'vitest';
import type { BuildProgress } from '../../build/index.ts';
import { BuildLedger } from './build-ledger.ts';
import { failureReport, warningReport } from './failure-report.ts';
import { PlainDisplay } from './plain-display.ts';
import { RawDisplay } from './raw-display.ts';
import { buildFrame } from './terminal-display.ts';

const bytes = (text: string) => Buffer.from(text);
const first = { digest: 'sha256:a', inputs: [], name: '[1/2] FROM busybox', isCached: false };
const second = { digest: 'sha256:b', inputs: ['sha256:a'], name: '[2/2] RUN false', isCached: false };

/** Two steps side by side: one from the cache, one that fails after some output. */
const failing: BuildProgress[] = [
  { vertices: [first, second] },
  {
    vertices: [
      { ...first, startedMs: 1000 },
      { ...second, startedMs: 1000 },
    ],
  },
  { logs: [{ vertex: second.digest, timestampMs: 1100, stream: 1, bytes: bytes('one\ntw') }] },
  { vertices: [{ ...first, startedMs: 1000, completedMs: 1000, isCached: true }] },
  { logs: [{ vertex: second.digest, timestampMs: 1200, stream: 2, bytes: bytes('o\n10%\r20%\rdone') }] },
  { vertices: [{ ...second, startedMs: 1000, completedMs: 2500, error: 'exit code: 1' }] },
];

test('plain: numbers, a head when another vertex goes on, and every line once', () => {
  let text = '';
  const display = new PlainDisplay(
    (more) => {
      text += more;
    },
    () => 1250,
  );
  for (const progress of failing) display.show(progress);
  display.end();
  expect(text).toBe(
    [
      '#1 [1/2] FROM busybox',
      '#1 ...',
      '',
      '#2 [2/2] RUN false',
      '#2 0.250 one',
      '#2 ...',
      '',
      '#1 [1/2] FROM busybox',
      '#1 CACHED',
      '',
      '#2 [2/2] RUN false',
      '#2 0.250 two',
      '#2 0.250 done',
      '#2 ERROR: exit code: 1',
      '',
      '',
    ].join('\n'),
  );
});

test('plain: counted parts are told at their end, with what they came to', () => {
  let text = '';
  const display = new PlainDisplay((more) => {
    text += more;
  });
  const status = { id: 'transferring', vertex: first.digest, name: 'transferring context:', total: 0, timestampMs: 0 };
  display.show({ vertices: [{ ...first, startedMs: 0 }], statuses: [{ ...status, current: 10, startedMs: 0 }] });
  display.show({ statuses: [{ ...status, current: 2500, startedMs: 0, completedMs: 300 }] });
  expect(text).toBe('#1 [1/2] FROM busybox\n#1 transferring context: 2.5kB 0.3s done\n');
});

test('terminal: a frame is never wider or higher than asked, and what runs stays', () => {
  const ledger = new BuildLedger();
  ledger.take({
    vertices: Array.from({ length: 30 }, (_, n) => ({
      ...first,
      digest: `sha256:${n}`,
      name: `step ${n} ${'x'.repeat(200)}\x1b[31m`,
      startedMs: 0,
      ...(n === 3 ? {} : { completedMs: 10 }),
    })),
    logs: [{ vertex: 'sha256:3', timestampMs: 5, stream: 1, bytes: bytes('\x1b[2Jpart\nopen') }],
  });
  const frame = buildFrame(ledger, { nowMs: 1000, begunMs: 0, width: 60, rows: 10, isLast: false });
  expect(frame.length).toBeLessThanOrEqual(10);
  for (const { text } of frame) expect(text.length).toBeLessThanOrEqual(60);
  const texts = frame.map(({ text }) => text);
  expect(texts[0]).toBe('[+] Building 1.0s (29/30)');
  expect(texts.join('\n')).toContain('=> step 3');
  expect(texts.join('\n')).toContain(' => => # open');
  expect(texts.join('\n')).not.toContain('\x1b');
});

test('raw: BuildKit’s names, texts in base64', () => {
  const lines: string[] = [];
  const display = new RawDisplay((line) => lines.push(line));
  for (const progress of failing) display.show(progress);
  const documents = lines.map((line) => JSON.parse(line) as Record<string, Record<string, unknown>[]>);
  expect(documents[0]).toEqual({
    vertexes: [
      { digest: 'sha256:a', name: '[1/2] FROM busybox' },
      { digest: 'sha256:b', inputs: ['sha256:a'], name: '[2/2] RUN false' },
    ],
  });
  expect(documents[2]!['logs']![0]).toEqual({
    vertex: 'sha256:b',
    stream: 1,
    data: bytes('one\ntw').toString('base64'),
    timestamp: '1970-01-01T00:00:01.100Z',
  });
  expect(documents[3]!['vertexes']![0]).toMatchObject({ cached: true });
});

const file = { filename: 'Dockerfile', data: bytes('FROM busybox\nRUN \\\n  false\nCMD x\n') };
const ranges = [{ start: { line: 2, character: 0 }, end: { line: 3, character: 0 } }];

/** As errors of builds carry their place. */
const placed = (where: typeof ranges) => Object.assign(new Error('exit code: 1'), { ranges: where, source: file });

test('a failure shows the step with its last output, and the lines that are meant', () => {
  const display = new PlainDisplay(() => {});
  for (const progress of failing) display.show(progress);
  const error = new Error('failed to solve', {
    cause: placed(ranges),
  });
  expect(failureReport(display.ledger, error)).toBe(
    [
      '------',
      ' > [2/2] RUN false:',
      'one',
      'two',
      'done',
      '------',
      'Dockerfile:2',
      '--------------------',
      '   1 |     FROM busybox',
      '   2 | >>> RUN \\',
      '   3 | >>>   false',
      '   4 |     CMD x',
      '   5 |     ',
      '--------------------',
      '',
    ].join('\n'),
  );
});

test('a place outside the file is left out', () => {
  const beyond = [{ start: { line: 99, character: 0 }, end: { line: 99, character: 1 } }];
  const error = placed(beyond);
  expect(failureReport(new BuildLedger(), error)).toBe('');
});

test('the first of very many places are shown', () => {
  const report = failureReport(new BuildLedger(), placed(Array.from({ length: 200_000 }, () => ranges[0]!)));
  expect(report).toMatch(/^Dockerfile:2\n/);
});

test('warnings: one line each, or in full', () => {
  const ledger = new BuildLedger();
  const short = 'JSONArgsRecommended: JSON arguments recommended for CMD (line 4)';
  ledger.take({
    warnings: [{ vertex: 'v', level: 1, short, detail: ['why'], url: 'https://docs/x', source: file, ranges }],
  });
  expect(warningReport(ledger, false)).toBe(`\n 1 warning found (use --debug to expand):\n - ${short}\n`);
  expect(warningReport(ledger, true)).toContain('More info: https://docs/x\nDockerfile:2\n');
});
