import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ConmonStream } from '../../src/runtime/attach-stream.ts';
import { ContainerBench } from '../support/container-bench.ts';

const lines = (count: number): string[] => ['sh', '-c', `yes 0123456789abcde | head -n ${count}; echo done >&2`];

test('a reader that takes nothing is dropped, and the container goes on', async () => {
  await using bench = new ContainerBench();
  const container = await bench.create(lines(1_000_000), { logPath: undefined });
  await using stream = await ConmonStream.connect(container.bundle, { bufferBytes: 1_000_000, stalledMs: 100 });
  await bench.start(container);
  expect(await container.exit()).toBe(0);
  const read = async () => {
    for await (const _ of stream.output);
  };
  await expect(read()).rejects.toMatchObject({ kind: 'Unavailable', message: expect.stringContaining('took nothing') });
});

test('a slow reader makes the container wait, and loses nothing', async () => {
  await using bench = new ContainerBench();
  const container = await bench.create(lines(500_000), { logPath: undefined });
  await using stream = await ConmonStream.connect(container.bundle, { bufferBytes: 500_000, stalledMs: 150 });
  await bench.start(container);
  let bytes = 0;
  let pauses = 0;
  for await (const { stream: name, chunk } of stream.output) {
    if (name === 'stdout') bytes += chunk.length;
    if (bytes > pauses * 1_000_000) {
      pauses += 1;
      await sleep(60);
    }
  }
  expect(bytes).toBe(8_000_000);
});

test('memory that a reader gives back is filled again, and nothing is lost', async () => {
  await using bench = new ContainerBench();
  const container = await bench.create(['seq', '200000'], { logPath: undefined });
  await using stream = await ConmonStream.connect(container.bundle, { bufferBytes: 200_000, stalledMs: 60_000 });
  await bench.start(container);
  const pieces: Buffer[] = [];
  const memory = new Set<ArrayBufferLike>();
  for await (const { chunk, release } of stream.output) {
    pieces.push(Buffer.from(chunk));
    memory.add(chunk.buffer);
    // Others come meanwhile.
    if (pieces.length % 3 === 0) await sleep(5);
    release?.();
  }
  const text = Buffer.concat(pieces).toString();
  expect(text).toBe(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(''));
  expect(text.length).toBeGreaterThan(1_000_000);
  expect(memory.size).toBeLessThan(10); // of 64 KiB each
});

test('a client that leaves does not disturb the others', async () => {
  await using bench = new ContainerBench();
  const container = await bench.create(['cat'], { stdin: true });
  await using stays = await bench.runtime.attach(container.bundle);
  const leaves = await bench.runtime.attach(container.bundle);
  await bench.start(container);
  await leaves.write(Buffer.from('one\n'));
  await leaves[Symbol.asyncDispose]();
  let text = '';
  for await (const { chunk } of stays.output) {
    text += Buffer.from(chunk).toString();
    if (text === 'one\n') await stays.write(Buffer.from('two\n'));
    if (text === 'one\ntwo\n') break;
  }
});

test('a bundle path longer than a socket address is attached to', async () => {
  await using bench = new ContainerBench();
  const container = await bench.run(['sleep', '60']);
  expect(container.bundle.length).toBeGreaterThan(100);
  await using stream = await bench.runtime.attach(container.bundle);
  expect(stream).toBeDefined();
});

test('disposing ends a waiting reader', async () => {
  await using bench = new ContainerBench();
  const container = await bench.run(['sleep', '60']);
  const stream = await bench.runtime.attach(container.bundle);
  setTimeout(() => void stream[Symbol.asyncDispose](), 20);
  for await (const _ of stream.output);
});

test('single bytes in turn to both streams are no way around the limit', async () => {
  await using bench = new ContainerBench();
  // A program between the bytes, so that the monitor has passed one on before the next one comes.
  const program = 'i=0; while [ $i -lt 2000 ]; do echo -n a; echo -n b >&2; /bin/true; i=$((i+1)); done';
  const container = await bench.create(['sh', '-c', program], { logPath: undefined });
  await using stream = await ConmonStream.connect(container.bundle, { bufferBytes: 50_000, stalledMs: 200 });
  await bench.start(container);
  expect(await container.exit()).toBe(0);
  let bytes = 0;
  const read = async () => {
    for await (const { chunk } of stream.output) bytes += chunk.length;
  };
  await expect(read()).rejects.toMatchObject({ kind: 'Unavailable' });
  expect(bytes).toBeLessThan(1_000);
});
