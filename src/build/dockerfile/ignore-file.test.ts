import { expect, test } from 'vitest';
import { parseIgnoreFile } from './ignore-file.ts';

test('an ignore file: comments, exceptions, clean paths', () => {
  const text =
    '\uFEFFtest1\r\n/test2\n/a/file/here/\n\nlast//file\n# a comment\n  # none\n! /inverted/./path\n./x/../y\n';
  expect(parseIgnoreFile(text)).toEqual([
    'test1',
    'test2',
    'a/file/here',
    'last/file',
    '# none',
    '!inverted/path',
    'y',
  ]);
});
