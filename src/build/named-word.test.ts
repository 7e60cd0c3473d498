import { expect, test } from 'vitest';
import { rangesOfWord } from './named-word.ts';

const whole = (...lines: number[]) =>
  lines.map((line) => ({ start: { line, character: 0 }, end: { line, character: 0 } }));
const file = Buffer.from('FROM base\nCOPY --from=b \\\n  some/file /x\nRUN a a\nFROM host:1/b:c "q\n');

test.each([
  { say: 'a path, told from its root', lines: [2, 3], message: '"/some/file": not found', want: [3, 2, 11] },
  { say: 'a part of a path', lines: [2, 3], message: '"file": not found', want: undefined },
  { say: 'a flag’s value', lines: [2], message: "unexpected 'b'", want: [2, 12, 13] },
  { say: 'a name before the message', lines: [1], message: 'base: not found', want: [1, 5, 9] },
  { say: 'a name with a port', lines: [5], message: 'host:1/b:c: no answer', want: [5, 5, 15] },
  { say: 'a word with a quotation mark', lines: [5], message: 'failed to process "\\"q": open', want: [5, 16, 18] },
  { say: 'in doubt', lines: [4], message: '"a" is wrong', want: undefined },
  { say: 'nothing named', lines: [4], message: 'it is wrong', want: undefined },
  { say: 'a line that is not there', lines: [9], message: '"a" is wrong', want: undefined },
])('rangesOfWord: $say', ({ lines, message, want }) => {
  const ranges = whole(...lines);
  const [line, from, to] = want ?? [];
  const named = want && [{ start: { line, character: from }, end: { line, character: to } }];
  expect(rangesOfWord(ranges, file, message)).toEqual(named ?? ranges);
});

test('a part that is known already stays', () => {
  const ranges = [{ start: { line: 2, character: 5 }, end: { line: 2, character: 9 } }];
  expect(rangesOfWord(ranges, file, '"b" is wrong')).toBe(ranges);
});

test('lines without number, which nobody has, are not looked through', () => {
  const ranges = [{ start: { line: 1, character: 0 }, end: { line: 2 ** 31 - 1, character: 0 } }];
  expect(rangesOfWord(ranges, file, '"base" is wrong')).toBe(ranges);
  const many = Array.from({ length: 100_000 }, () => whole(1)[0]!);
  expect(rangesOfWord(many, file, '"base" is wrong')).toBe(many);
});
