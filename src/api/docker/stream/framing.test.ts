import { expect, test } from 'vitest';
import { type Frame, frames } from './framing.ts';

async function* from<T>(...items: T[]) {
  yield* items;
}

const same = (frame: Frame) => frame;
const iterate = (source: AsyncIterable<Frame>) => frames(source, same, false)[Symbol.asyncIterator]();
const text = (stream: Frame['stream'], payload: string): Frame => ({ stream, payload: Buffer.from(payload) });

async function all(source: AsyncIterable<Uint8Array>): Promise<Buffer[]> {
  const chunks = [];
  for await (const chunk of source) chunks.push(Buffer.from(chunk));
  return chunks;
}

test('multiplexed: stream, three zeros, size, payload', async () => {
  const chunks = await all(frames(from(text('stdout', 'ab'), text('stderr', 'c')), same, true));
  expect(Buffer.concat(chunks)).toEqual(Buffer.from('\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c'));
});

test('raw: payloads alone, prefixes inside', async () => {
  const chunks = await all(frames(from({ ...text('stdout', 'b'), prefix: Buffer.from('a') }), same, false));
  expect(Buffer.concat(chunks).toString()).toBe('ab');
});

test('a prefix counts in the size', async () => {
  const chunks = await all(frames(from({ ...text('stdout', 'bc'), prefix: Buffer.from('a') }), same, true));
  expect(Buffer.concat(chunks)).toEqual(Buffer.from('\x01\0\0\0\0\0\0\x03abc'));
});

test('what is ready leaves together, and never much more than a batch', async () => {
  const line = Buffer.alloc(4096, 'x');
  async function* lines() {
    for (let index = 0; index < 1000; index += 1) yield { stream: 'stdout' as const, payload: line };
  }
  const chunks = await all(frames(lines(), same, false));
  expect(chunks.length).toBeLessThan(40);
  expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(256 * 1024 + 4096);
  expect(Buffer.concat(chunks).length).toBe(4096 * 1000);
});

test('a source is not read ahead while nobody reads', async () => {
  let taken = 0;
  async function* endless() {
    for (;;) {
      taken += 1;
      yield { stream: 'stdout' as const, payload: Buffer.alloc(64 * 1024) };
    }
  }
  const batches = iterate(endless());
  await batches.next();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(taken).toBeLessThan(20);
  await batches.return?.();
});

test('memory that is given back is filled again; what is kept stays as it is', async () => {
  async function* numbers() {
    for (let number = 0; number < 12; number += 1) {
      yield { stream: 'stdout' as const, payload: Buffer.alloc(256 * 1024, number) };
    }
  }
  for (const givesBack of [true, false]) {
    const output = frames(numbers(), same, false);
    const chunks: Uint8Array[] = [];
    const memory = new Set<ArrayBufferLike>();
    for await (const chunk of output) {
      chunks.push(givesBack ? Buffer.from(chunk) : chunk);
      memory.add(chunk.buffer);
      if (givesBack) output.reuse(chunk);
    }
    expect(chunks.map((chunk) => Buffer.alloc(256 * 1024, chunk[0]).equals(chunk))).toEqual(chunks.map(() => true));
    expect(chunks.map(([first]) => first)).toEqual(Array.from({ length: 12 }, (_, number) => number));
    expect(memory.size).toBe(givesBack ? 2 : 12);
  }
});

test('an error comes after what went before it', async () => {
  async function* failing() {
    yield text('stdout', 'a');
    throw new Error('lost');
  }
  const batches = iterate(failing());
  expect(Buffer.from((await batches.next()).value!).toString()).toBe('a');
  await expect(batches.next()).rejects.toThrow('lost');
});

test('a reader that leaves ends the source', async () => {
  let ended = false;
  async function* source() {
    try {
      for (;;) yield text('stdout', 'a');
    } finally {
      ended = true;
    }
  }
  for await (const _ of frames(source(), same, false)) break;
  await expect.poll(() => ended).toBe(true);
});
