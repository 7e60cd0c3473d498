import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ContainerRecord } from '../engine/index.ts';
import { LogRotation } from './log-rotation.ts';
import { LogShipping } from './log-shipping.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const record = { id: 'one' } as ContainerRecord;
const broken = new Error('database disk image is malformed');

/** An engine whose records cannot be read for a while. */
function engineOf() {
  const told: string[] = [];
  const done: string[] = [];
  const engine = {
    isBroken: false,
    keeperWork() {
      if (engine.isBroken) throw broken;
      return [record];
    },
    rotateLog: async ({ id }: ContainerRecord) => done.push(id) > 0,
    shipsLog: () => true,
    shipLog: async (id: string) => void done.push(id),
    report: (subject: string, error: unknown) => void told.push(`${subject}: ${(error as Error).message}`),
  };
  return { engine, told, done };
}

test.each([
  { duty: 'rotating logs', Duty: LogRotation },
  { duty: 'sending logs', Duty: LogShipping },
])('$duty goes on when records cannot be read for a while, which is told once', async ({ Duty }) => {
  const { engine, told, done } = engineOf();
  using duty = new Duty(engine);
  duty.look();
  await vi.advanceTimersByTimeAsync(250);
  expect(done).toEqual(['one']);
  engine.isBroken = true;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(done).toEqual(['one']);
  expect(told).toEqual(['logs of containers: database disk image is malformed']);
  engine.isBroken = false;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(done.length).toBeGreaterThan(1);
  expect(told.length).toBe(1);
  duty[Symbol.dispose]();
  expect(vi.getTimerCount()).toBe(0);
});

test('a look at logs that ends after the keeper has begins no other', async () => {
  const { engine } = engineOf();
  const rotated = Promise.withResolvers<boolean>();
  using rotation = new LogRotation({ ...engine, rotateLog: () => rotated.promise });
  rotation.look();
  await vi.advanceTimersByTimeAsync(250);
  rotation[Symbol.dispose]();
  rotated.resolve(true);
  await vi.advanceTimersByTimeAsync(0);
  expect(vi.getTimerCount()).toBe(0);
});
