import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lengthOf, nextLink, parseContentRange, retryAfterMs, uploadedBytes } from './response-headers.ts';

test.each([
  { header: '</v2/a/tags/list?n=2&last=b>; rel="next"', want: '/v2/a/tags/list?n=2&last=b' },
  { header: '<a>; rel=prev, <b,c>; title="x, <d>; rel=next"; rel="last next"', want: 'b,c' },
  { header: '<a>;REL=Next', want: 'a' },
  { header: '<https://other.test/x>; rel="next"', want: 'https://other.test/x' },
  { header: '<a>; rel="nextish"', want: undefined },
  { header: '<a>', want: undefined },
  { header: 'a; rel=next', want: undefined },
  { header: '', want: undefined },
  { header: undefined, want: undefined },
])('next of Link $header', ({ header, want }) => expect(nextLink(header)).toBe(want));

test('no Link text takes long', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 5000 }), (text) => {
      nextLink(text);
    }),
    { numRuns: 500 },
  );
  const started = performance.now();
  nextLink(`<a>${'; x'.repeat(5000)}!`);
  nextLink(`<a>${'; x="'.repeat(3000)}`);
  nextLink('<'.repeat(16_000));
  expect(performance.now() - started).toBeLessThan(1000);
});

const now = Date.parse('2026-01-01T00:00:00Z');
test.each([
  { header: '7', want: 7000 },
  { header: ' 0 ', want: 0 },
  { header: 'Thu, 01 Jan 2026 00:00:05 GMT', want: 5000 },
  { header: 'Wed, 31 Dec 2025 23:59:00 GMT', want: 0 },
  { header: '-1', want: undefined },
  { header: '1.5', want: undefined },
  { header: '99999999999999999999', want: undefined },
  { header: 'soon', want: undefined },
  { header: undefined, want: undefined },
])('Retry-After $header', ({ header, want }) => expect(retryAfterMs(header, now)).toBe(want));

test.each([
  { header: 'bytes 5-9/10', want: { start: 5, end: 9, sizeBytes: 10 } },
  { header: 'bytes 0-0/*', want: { start: 0, end: 0, sizeBytes: undefined } },
  { header: 'bytes 5-10/10', want: undefined },
  { header: 'bytes 6-5/10', want: undefined },
  { header: 'bytes */10', want: undefined },
  { header: 'items 0-1/2', want: undefined },
  { header: 'bytes 1-9999999999999999999/*', want: undefined },
  { header: undefined, want: undefined },
])('Content-Range $header', ({ header, want }) => expect(parseContentRange(header)).toEqual(want));

test.each([
  { header: '0-99', want: 100 },
  { header: 'bytes=0-99', want: 100 },
  { header: '0-0', want: 0 },
  { header: '5-9', want: undefined },
  { header: '0--1', want: undefined },
  { header: undefined, want: undefined },
])('an upload with Range $header', ({ header, want }) => expect(uploadedBytes(header)).toBe(want));

test.each([
  { header: '12', want: 12 },
  { header: '0', want: 0 },
  { header: '-1', want: undefined },
  { header: '1e3', want: undefined },
  { header: undefined, want: undefined },
])('Content-Length $header', ({ header, want }) => expect(lengthOf(header)).toBe(want));
