import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { watchLogSizes } from './log-keeping.ts';
import type { EngineParts } from './parts.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('logs are looked after again when records could not be read for a while, which is told once', async () => {
  const told: string[] = [];
  let looks = 0;
  const store = {
    withStatus() {
      looks += 1;
      if (looks < 4) throw new Error('database disk image is malformed');
      return [];
    },
  };
  using watch = watchLogSizes({ store } as unknown as EngineParts, (subject, error) => {
    told.push(`${subject}: ${(error as Error).message}`);
  });
  await vi.advanceTimersByTimeAsync(30_000);
  expect(looks).toBe(6);
  expect(told).toEqual(['logs of containers: database disk image is malformed']);
  watch[Symbol.dispose]();
  expect(vi.getTimerCount()).toBe(0);
});
