import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ProgressLine } from '../stream/progress.ts';
import { Transfer, transferFrame } from './transfer-frame.ts';

const id = (n: number) => n.toString(16).padStart(12, '0');

/** A layer after lines that came at times in milliseconds. */
function transfer(n: number, ...lines: [atMs: number, status: string, current?: number, total?: number][]): Transfer {
  const made = new Transfer(id(n));
  for (const [atMs, status, current, total] of lines) {
    const progressDetail = { ...(current === undefined ? {} : { current }), ...(total === undefined ? {} : { total }) };
    made.update({ status, progressDetail }, atMs);
  }
  return made;
}

const downloading = transfer(
  1,
  [0, 'Pulling fs layer'],
  [0, 'Downloading', 0, 40e6],
  [2000, 'Downloading', 10e6, 40e6],
);

test.each<{ what: string; made: Transfer; columns: number; want: string }>([
  { what: 'waits', made: transfer(1, [0, 'Waiting']), columns: 80, want: '000000000001: Waiting' },
  {
    what: 'comes',
    made: downloading,
    columns: 100,
    want: '000000000001: Downloading  [=======>                         ] 10MB/40MB       5MB/s    6s left',
  },
  {
    what: 'comes, on a narrow terminal',
    made: downloading,
    columns: 72,
    want: '000000000001: Downloading  10MB/40MB       5MB/s    6s left',
  },
  { what: 'comes, on a very narrow terminal', made: downloading, columns: 30, want: '000000000001: Downloading  10' },
  {
    what: 'has just begun',
    made: transfer(1, [1950, 'Downloading', 1000, 2000]),
    columns: 80,
    want: '000000000001: Downloading  [=====>       ] 1kB/2kB',
  },
  {
    what: 'has no known size',
    made: transfer(1, [0, 'Extracting', 0], [2000, 'Extracting', 5e6]),
    columns: 80,
    want: '000000000001: Extracting   5MB             2.5MB/s',
  },
  {
    what: 'stands still',
    made: transfer(1, [0, 'Downloading', 5, 10], [2000, 'Downloading', 5, 10]),
    columns: 72,
    want: '000000000001: Downloading  5B/10B          0B/s',
  },
  {
    what: 'takes hours',
    made: transfer(1, [0, 'Downloading', 0, 1e12], [2000, 'Downloading', 200e6, 1e12]),
    columns: 72,
    want: '000000000001: Downloading  200MB/1TB       100MB/s  2h46m left',
  },
  {
    what: 'takes minutes',
    made: transfer(1, [0, 'Pushing', 0, 1e9], [2000, 'Pushing', 10e6, 1e9]),
    columns: 72,
    want: '000000000001: Pushing      10MB/1GB        5MB/s    3m18s left',
  },
  {
    what: 'is done',
    made: transfer(1, [0, 'Downloading', 5, 10], [0, 'Pull complete']),
    columns: 80,
    want: '000000000001: Pull complete',
  },
  { what: 'was here', made: transfer(1, [0, 'Already exists']), columns: 80, want: '000000000001: Already exists' },
  {
    what: 'moves the cursor',
    made: transfer(1, [0, 'Pull\x1b[2J\ncomplete']),
    columns: 80,
    want: '000000000001: Pull [2J complete',
  },
])('a layer that $what', ({ made, columns, want }) => {
  expect(transferFrame([made], 2000, columns, 24)).toEqual([want]);
});

test('a speed is that of the last seconds, and begins anew with what is done', () => {
  const made = transfer(1, [0, 'Downloading', 0, 100e6], [10_000, 'Downloading', 50e6, 100e6]);
  for (let second = 11; second <= 20; second++)
    made.update({ status: 'Downloading', progressDetail: { current: 50e6 + (second - 10) * 1e6 } }, second * 1000);
  expect(made.speed(20_000)).toBe(1e6);
  made.update({ status: 'Extracting', progressDetail: { current: 1e6, total: 100e6 } }, 20_000);
  expect(made.speed(20_100)).toBeUndefined();
});

test('when there are too many, those that move stay, in their order', () => {
  const layers = [
    transfer(1, [0, 'Pull complete']),
    transfer(2, [0, 'Waiting']),
    transfer(3, [0, 'Downloading', 5, 10]),
    transfer(4, [0, 'Pull complete']),
    transfer(5, [0, 'Downloading', 5, 10]),
    transfer(6, [0, 'Waiting']),
  ];
  const lines = transferFrame(layers, 0, 80, 4);
  expect(lines.map((line) => line.slice(0, 25).trimEnd())).toEqual([
    '000000000002: Waiting',
    '000000000003: Downloading',
    '000000000005: Downloading',
    '3 more layers, 2 of them',
  ]);
  expect(transferFrame(layers, 0, 80, 6)).toHaveLength(6);
});

test('whatever comes, lines are narrower than the terminal and no more than its height', () => {
  const line = fc.record({
    status: fc.oneof(
      fc.constantFrom('Downloading', 'Extracting', 'Waiting', 'Pull complete'),
      fc.string({ unit: 'binary' }),
    ),
    progressDetail: fc.record(
      { current: fc.double({ min: 0, max: 1e18 }), total: fc.double({ min: -1, max: 1e18 }) },
      { requiredKeys: [] },
    ),
  });
  fc.assert(
    fc.property(
      fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 21, max: 250 }),
      fc.integer({ min: 1, max: 15 }),
      (layers, columns, height) => {
        const made = layers.map((lines, n) => {
          const layer = new Transfer(id(n));
          lines.forEach((each, at) => {
            layer.update(each as ProgressLine, at * 500);
          });
          return layer;
        });
        const shown = transferFrame(made, 2500, columns, height);
        expect(shown.length).toBeLessThanOrEqual(height);
        for (const text of shown) {
          expect(text.length).toBeLessThan(columns);
          expect(text).not.toMatch(/\p{Cc}|NaN|Infinity|undefined/u);
        }
      },
    ),
    { examples: [[[[{ status: 'Downloading', progressDetail: { current: 5e-324, total: 1e18 } }]], 80, 3]] },
  );
});
