import * as T from 'typebox';
import { expect, test } from 'vitest';
import { parseFilters } from './filters.ts';
import { decodeQuery } from './query.ts';

const schema = T.Object({
  all: T.Boolean(),
  stream: T.Boolean({ default: true }),
  limit: T.Integer(),
  t: T.Optional(T.Integer()),
  name: T.String(),
  names: T.Array(T.String()),
});
const zero = { all: false, stream: true, limit: 0, name: '', names: [] };

test.each([
  ['', zero],
  ['all=1&unknown=x', { ...zero, all: true }],
  ['all=False&stream=0', { ...zero, stream: false }],
  ['all=anything', { ...zero, all: true }],
  ['limit=5&t=-1', { ...zero, limit: 5, t: -1 }],
  ['limit=&t=', zero],
  ['t=0', { ...zero, t: 0 }],
  ['names=a&names=b', { ...zero, names: ['a', 'b'] }],
])('%s', (text, want) => expect(decodeQuery(schema, new URLSearchParams(text))).toEqual(want));

test.each(['limit=x', 'limit=1.5', 't=1e3', `limit=${'9'.repeat(30)}`])('%s is refused', (text) => {
  expect(() => decodeQuery(schema, new URLSearchParams(text))).toThrow(/invalid syntax/);
});

test.each([
  ['', {}],
  ['null', {}],
  ['{"label":["a","b=c"]}', { label: ['a', 'b=c'] }],
  ['{"label":{"a":true,"b=c":true}}', { label: ['a', 'b=c'] }],
  ['{"name":null}', { name: [] }],
])('filters %s', (text, want) => expect(parseFilters(text, ['label', 'name'])).toEqual(want));

test.each([
  ['{', /invalid filter/],
  ['[]', /invalid filter/],
  ['{"label":"a"}', /invalid filter/],
  ['{"label":[1]}', /invalid filter/],
  ['{"other":["a"]}', "invalid filter 'other'"],
  ['{"__proto__":["a"]}', "invalid filter '__proto__'"],
])('filters %s are refused', (text, message) => {
  expect(() => parseFilters(text, ['label', 'name'])).toThrow(message);
});
