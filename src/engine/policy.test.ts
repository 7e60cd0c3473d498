import { describe, expect, test } from 'vitest';
import { healthAfter, nextProbeMs } from './health.ts';
import { checkRestartPolicy, restartDelayMs } from './restart-policy.ts';
import { parseSignal } from './signals.ts';
import type { Health } from './types.ts';

describe('restartDelayMs', () => {
  const record = (name: string, restartCount = 0, maximumRetryCount = 0, stoppedByUser = false) =>
    ({ host: { restartPolicy: { name, maximumRetryCount } }, restartCount, state: { stoppedByUser } }) as never;
  test.each([
    ['no', record('no'), 1, 0, undefined],
    ['always, first time', record('always'), 0, 0, 100],
    ['the delay doubles', record('always', 3), 0, 0, 800],
    ['at most a minute', record('always', 40), 0, 0, 60_000],
    ['a steady run starts anew', record('always', 9), 0, 10_000, 100],
    ['stopped by the user', record('always', 0, 0, true), 0, 0, undefined],
    ['on-failure, success', record('on-failure'), 0, 0, undefined],
    ['on-failure, failure', record('on-failure'), 1, 0, 100],
    ['on-failure, one try left', record('on-failure', 2, 3), 1, 0, 400],
    ['on-failure, none left', record('on-failure', 3, 3), 1, 0, undefined],
    ['unless-stopped', record('unless-stopped'), 0, 0, 100],
  ])('%s', (_name, subject, exitCode, ranMs, want) => expect(restartDelayMs(subject, exitCode, ranMs)).toBe(want));

  test.each([
    [
      { restartPolicy: { name: 'sometimes' as never, maximumRetryCount: 0 }, autoRemove: false },
      /unknown policy 'sometimes'/,
    ],
    [
      { restartPolicy: { name: 'always' as const, maximumRetryCount: 2 }, autoRemove: false },
      /can only be used with 'on-failure'/,
    ],
    [
      { restartPolicy: { name: 'on-failure' as const, maximumRetryCount: -1 }, autoRemove: false },
      /cannot be negative/,
    ],
    [
      { restartPolicy: { name: 'always' as const, maximumRetryCount: 0 }, autoRemove: true },
      /can't create 'AutoRemove'/,
    ],
  ])('refuses %j', (host, message) => expect(() => checkRestartPolicy(host)).toThrow(message));
});

describe('health', () => {
  const times = { intervalMs: 1000, timeoutMs: 1000, startPeriodMs: 5000, startIntervalMs: 200, retries: 2 };
  const result = (exitCode: number) => ({ startMs: 0, endMs: 1, exitCode, output: '' });
  const after = (results: [exitCode: number, runningMs: number][]): Health =>
    results.reduce<Health>((health, [exitCode, runningMs]) => healthAfter(health, result(exitCode), times, runningMs), {
      status: 'starting',
      failingStreak: 0,
      log: [],
    });

  test.each<[string, [number, number][], Health['status'], number]>([
    ['one success is health', [[0, 100]], 'healthy', 0],
    [
      'failures while starting do not count',
      [
        [1, 100],
        [1, 200],
        [1, 300],
      ],
      'starting',
      0,
    ],
    ['after the start period they do', [[1, 6000]], 'starting', 1],
    [
      'retries make it unhealthy',
      [
        [1, 6000],
        [1, 7000],
      ],
      'unhealthy',
      2,
    ],
    [
      'once healthy, the start period is over',
      [
        [0, 100],
        [1, 200],
        [1, 300],
      ],
      'unhealthy',
      2,
    ],
    [
      'a success heals',
      [
        [1, 6000],
        [1, 7000],
        [0, 8000],
      ],
      'healthy',
      0,
    ],
  ])('%s', (_name, results, status, failingStreak) => expect(after(results)).toMatchObject({ status, failingStreak }));

  test('five results are kept', () => {
    expect(after(Array.from({ length: 9 }, () => [0, 6000]))).toHaveProperty('log.length', 5);
  });

  test.each<[Health['status'], number, number]>([
    ['starting', 0, 180],
    ['starting', 200, 200],
    ['starting', 4900, 101],
    ['starting', 6000, 1000],
    ['healthy', 200, 1000],
  ])('next probe when %s after %d ms', (status, runningMs, want) =>
    expect(nextProbeMs(times, status, runningMs)).toBe(want),
  );
});

test.each([
  ['KILL', 9],
  ['SIGTERM', 15],
  ['sigusr1', 10],
  ['9', 9],
  ['RTMIN+3', 37],
  ['SIGRTMAX', 64],
])('parseSignal %s', (text, want) => expect(parseSignal(text)).toBe(want));

test.each(['', '0', '65', 'NOPE', 'RTMIN+99', '-9'])('parseSignal refuses %j', (text) => {
  expect(() => parseSignal(text)).toThrow(`Invalid signal: ${text}`);
});
