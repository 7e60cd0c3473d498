import { expect, test } from 'vitest';
import { outermost } from './outermost.ts';

test.each([
  { paths: ['/a/b', '/a', '/a-b', '/a.c', '/a'], want: ['/a', '/a-b', '/a.c'] },
  { paths: ['/a/', '/a/b', '/ab'], want: ['/a/', '/ab'] },
  { paths: ['/', '/x', '/x/y'], want: ['/'] },
  { paths: ['/b/c/d', '/b/c', '/a/b'], want: ['/a/b', '/b/c'] },
  { paths: [], want: [] },
])('outermost of $paths', ({ paths, want }) => expect(outermost(paths)).toEqual(want));
