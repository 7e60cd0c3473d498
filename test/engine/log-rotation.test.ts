import { readdirSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { parseLogOptions } from '../../src/engine/log-options.ts';
import { readLog } from '../../src/engine/log-reader.ts';
import { rotateLog } from '../../src/engine/log-rotation.ts';
import { signalProcess } from '../../src/linux/index.ts';
import { ContainerBench } from '../support/container-bench.ts';

test('a log rotated under a busy container loses nothing, for followers and afterwards', async () => {
  await using bench = new ContainerBench();
  const program =
    'trap stopped=1 TERM; i=0; until [ "$stopped" ]; do seq $((i*1000+1)) $((i*1000+1000)); i=$((i+1)); sleep 0.005; done; echo $i thousand';
  const container = await bench.run(['sh', '-c', program]);
  const ended = new AbortController();
  const lines = async (options: { follow: boolean }): Promise<string[]> => {
    const got: string[] = [];
    for await (const { line } of readLog(container.logPath, { stdout: true, stderr: true, ...options }, ended.signal)) {
      got.push(Buffer.from(line).toString());
    }
    return got;
  };
  const following = lines({ follow: true });
  const exit = container.exit();
  let rotations = 0;
  let running = true;
  void exit.then(() => {
    running = false;
  });
  while (running) {
    const limits = { maxSizeBytes: 100_000, maxFiles: 1000 };
    if (await rotateLog(container.logPath, limits, () => bench.runtime.reopenLog(container.bundle))) rotations += 1;
    if (rotations === 5) signalProcess(container.container.pid, container.container.startTicks, 15);
    await sleep(1);
  }
  expect(await exit).toBe(0);
  ended.abort();
  const followed = await following;
  const thousands = Number.parseInt(followed.at(-1) ?? '', 10);
  const want = Array.from({ length: thousands * 1000 }, (_, index) => `${index + 1}\n`);
  expect(followed).toEqual([...want, `${thousands} thousand\n`]);
  expect(await lines({ follow: false })).toEqual(followed);
  expect(rotations).toBeGreaterThan(4);
  expect(readdirSync(container.bundle).filter((name) => name.startsWith('container.log.')).length).toBe(rotations);
});

test('a log of one file stays below its size without anybody rotating it', async () => {
  await using bench = new ContainerBench();
  const { hardLimitBytes } = parseLogOptions({ type: 'json-file', config: { 'max-size': '100k' } });
  const container = await bench.run(['sh', '-c', 'seq 1 30000'], { logMaxBytes: hardLimitBytes });
  expect(await container.exit()).toBe(0);
  expect(statSync(container.logPath).size).toBeLessThanOrEqual(100_000);
  const lines: string[] = [];
  for await (const { line } of readLog(container.logPath, { follow: false, stdout: true, stderr: true })) {
    lines.push(Buffer.from(line).toString());
  }
  expect(lines.at(-1)).toBe('30000\n');
});

test('a burst between two looks keeps the newest lines within the limit', async () => {
  await using bench = new ContainerBench();
  const container = await bench.run(['sh', '-c', 'seq 1 30000; sleep 600']);
  await expect.poll(() => statSync(container.logPath).size).toBeGreaterThan(1_500_000);
  const limits = { maxSizeBytes: 100_000, maxFiles: 3 };
  expect(await rotateLog(container.logPath, limits, () => bench.runtime.reopenLog(container.bundle))).toBe(true);
  const sizes = readdirSync(container.bundle)
    .filter((name) => name.startsWith('container.log'))
    .map((name) => statSync(`${container.bundle}/${name}`).size);
  expect(sizes.reduce((a, b) => a + b)).toBeLessThanOrEqual(200_000);
  const numbers: number[] = [];
  for await (const { line } of readLog(container.logPath, { follow: false, stdout: true, stderr: true })) {
    numbers.push(Number(Buffer.from(line).toString()));
  }
  expect(numbers.at(-1)).toBe(30_000);
  expect(numbers).toEqual(Array.from(numbers, (_, index) => numbers[0]! + index));
});
