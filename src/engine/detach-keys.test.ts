import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DetachScanner, parseDetachKeys } from './detach-keys.ts';

test.each([
  { text: '', keys: [16, 17] },
  { text: 'ctrl-p,ctrl-q', keys: [16, 17] },
  { text: 'ctrl-a', keys: [1] },
  { text: 'a,b,c', keys: [97, 98, 99] },
  { text: 'ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_', keys: [0, 27, 28, 29, 30, 31] },
  { text: 'CTRL-A', keys: [1] },
])('$text is $keys', ({ text, keys }) => expect([...parseDetachKeys(text)]).toEqual(keys));

test.each(['ctrl-', 'ctrl-1', 'ab', 'a,', 'é', 'ctrl-p ctrl-q'])('%s is refused', (text) => {
  expect(() => parseDetachKeys(text)).toThrow(/Invalid detach keys/);
});

function scanAll(keys: string, ...chunks: string[]): { passed: string; detached: boolean } {
  const scanner = new DetachScanner(Buffer.from(keys));
  let passed = '';
  for (const chunk of chunks) {
    const { pass, detached } = scanner.scan(Buffer.from(chunk));
    passed += Buffer.from(pass).toString();
    if (detached) return { passed, detached };
  }
  return { passed, detached: false };
}

describe('the scanner', () => {
  test.each([
    { what: 'passes what is no sequence', keys: 'pq', chunks: ['hello'], passed: 'hello', detached: false },
    { what: 'finds it', keys: 'pq', chunks: ['abpqcd'], passed: 'ab', detached: true },
    { what: 'finds it over chunks', keys: 'pq', chunks: ['abp', 'q'], passed: 'ab', detached: true },
    { what: 'holds a start back', keys: 'pq', chunks: ['abp'], passed: 'ab', detached: false },
    { what: 'passes a start that fails on', keys: 'pq', chunks: ['abp', 'x'], passed: 'abpx', detached: false },
    { what: 'begins again in a failed start', keys: 'ppq', chunks: ['pppq'], passed: 'p', detached: true },
    { what: 'takes a repeated first key', keys: 'pq', chunks: ['ppq'], passed: 'p', detached: true },
  ])('$what', ({ keys, chunks, passed, detached }) => expect(scanAll(keys, ...chunks)).toEqual({ passed, detached }));

  test('passes exactly what precedes the first occurrence, however it is cut', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 40 });
    const keys = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(keys, letters, fc.nat(40), (sequence, text, cut) => {
        const got = scanAll(sequence, text.slice(0, cut), text.slice(cut));
        const at = text.indexOf(sequence);
        if (at !== -1) expect(got).toEqual({ passed: text.slice(0, at), detached: true });
        else expect(text.startsWith(got.passed) && text.length - got.passed.length < sequence.length).toBe(true);
      }),
    );
  });
});
