import fc from 'fast-check';
import * as T from 'typebox';
import { expect, test } from 'vitest';
import { createBody } from './container.ts';
import { decodeJson } from './decode.ts';
import { consoleSize, map, stringOrList } from './go.ts';

const inner = T.Object({ Name: T.String(), Count: T.Integer() }, { title: 'Inner' });
const schema = T.Object(
  {
    Text: T.String(),
    Number: T.Integer(),
    Flag: T.Boolean(),
    Names: T.Array(T.String()),
    Labels: map(T.String()),
    Inner: inner,
    Maybe: T.Optional(T.Integer()),
    MaybeInner: T.Optional(inner),
    Cmd: T.Optional(stringOrList()),
    Size: consoleSize(),
  },
  { title: 'Outer' },
);

const zero = {
  Text: '',
  Number: 0,
  Flag: false,
  Names: [],
  Labels: {},
  Inner: { Name: '', Count: 0 },
  Size: [0, 0],
};

test.each([
  { name: 'nothing gives zero values', given: {}, want: zero },
  { name: 'null is nothing', given: { Text: null, Names: null, Inner: null, Maybe: null, Size: null }, want: zero },
  { name: 'unknown fields are ignored', given: { Unknown: [1] }, want: zero },
  { name: 'names match in any case', given: { tExT: 'x', maybe: 1 }, want: { ...zero, Text: 'x', Maybe: 1 } },
  { name: 'the exact name wins', given: { Text: 'exact', TEXT: 'other' }, want: { ...zero, Text: 'exact' } },
  { name: 'null in a list is a zero value', given: { Names: ['a', null] }, want: { ...zero, Names: ['a', ''] } },
  { name: 'an optional zero is kept', given: { Maybe: 0, Cmd: [] }, want: { ...zero, Maybe: 0, Cmd: [] } },
  { name: 'one string for a list', given: { Cmd: 'date' }, want: { ...zero, Cmd: ['date'] } },
  {
    name: 'a struct in part',
    given: { MaybeInner: { Count: 2 } },
    want: { ...zero, MaybeInner: { Name: '', Count: 2 } },
  },
  { name: 'a short pair', given: { Size: [24] }, want: { ...zero, Size: [24, 0] } },
])('$name', ({ given, want }) => expect(decodeJson(schema, given)).toEqual(want));

test.each([
  [{ Text: 1 }, 'invalid JSON: json: cannot unmarshal number into Go struct field Outer.Text of type string'],
  [{ Number: '1' }, 'invalid JSON: json: cannot unmarshal string into Go struct field Outer.Number of type int64'],
  [{ Number: 1.5 }, 'invalid JSON: json: cannot unmarshal number 1.5 into Go struct field Outer.Number of type int64'],
  [{ Flag: 'yes' }, 'cannot unmarshal string into Go struct field Outer.Flag of type bool'],
  [{ Names: 'x' }, 'cannot unmarshal string into Go struct field Outer.Names of type []string'],
  [{ Names: [true] }, 'cannot unmarshal bool into Go struct field Outer.Names of type string'],
  [{ Labels: [] }, 'cannot unmarshal array into Go struct field Outer.Labels of type map[string]string'],
  [{ Inner: 'x' }, 'cannot unmarshal string into Go struct field Outer.Inner of type Inner'],
  [{ Inner: { Count: {} } }, 'cannot unmarshal object into Go struct field Inner.Count of type int64'],
  [[], 'cannot unmarshal array into Go value of type Outer'],
])('%j is refused', (given, message) => expect(() => decodeJson(schema, given)).toThrow(message));

test('a key named __proto__ is a key', () => {
  const decoded = decodeJson(schema, JSON.parse('{"Labels":{"__proto__":"x"},"__proto__":{"Flag":true}}'));
  expect(Object.keys(decoded.Labels)).toEqual(['__proto__']);
  expect(decoded.Flag).toBe(false);
  expect(Object.getPrototypeOf(decoded.Labels)).toBe(Object.prototype);
});

test('any JSON either decodes or is refused as invalid', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      try {
        decodeJson(createBody, JSON.parse(text));
      } catch (error) {
        expect((error as Error).message).toMatch(/^invalid JSON: json: cannot unmarshal/);
      }
    }),
  );
});
