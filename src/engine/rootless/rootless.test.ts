import { expect, test } from 'vitest';
import { mapArguments, parseSubordinate } from './subordinate-ids.ts';

test.each([
  { what: 'by name', text: 'bob:1:2\nalice:200000:65536\n', want: [{ start: 200_000, count: 65_536 }] },
  { what: 'by number', text: '1000:200000:10', want: [{ start: 200_000, count: 10 }] },
  {
    what: 'several',
    text: 'alice:5:6\n1000:7:8\n',
    want: [
      { start: 5, count: 6 },
      { start: 7, count: 8 },
    ],
  },
  {
    what: 'other shapes',
    text: 'alice\nalice:x:1\nalice:1\nalice:1:0\n:1:2\n#alice:1:2\nalice:99999999999:1\n',
    want: [],
  },
  { what: 'a name that begins alike', text: 'alice2:1:2\n10000:1:2\n', want: [] },
])('subordinate ids: $what', ({ text, want }) => expect(parseSubordinate(text, 'alice', 1000)).toEqual(want));

test('a user without a name has no line without one', () => expect(parseSubordinate(':1:2\n', '', 1000)).toEqual([]));

test('the user is root, and his further ids follow without a gap', () => {
  const ranges = [
    { start: 200_000, count: 10 },
    { start: 500_000, count: 20 },
  ];
  expect(mapArguments(1000, ranges)).toEqual(['0', '1000', '1', '1', '200000', '10', '11', '500000', '20']);
});
