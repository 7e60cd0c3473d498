import * as T from 'typebox';

/** Go's `map[string]V`. */
export function map<S extends T.TSchema>(of: S) {
  return T.Unsafe<Record<string, T.Static<S>>>({ type: 'object', additionalProperties: of });
}

/** A list of strings, for which clients may send one string (docker's StrSlice). */
export function stringOrList() {
  return T.Unsafe<string[]>({ type: 'array', items: { type: 'string' }, orString: true });
}

/** Go's `[]string`. */
export function strings() {
  return T.Array(T.String());
}

/** `[height, width]`. */
export function consoleSize() {
  return T.Unsafe<[number, number]>({ type: 'array', items: [{ type: 'integer' }, { type: 'integer' }] });
}
