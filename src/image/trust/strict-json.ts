import { TareError } from '../../errors/index.ts';
import { type Foreign, objectAt, parseJson } from '../json.ts';

/**
 * JSON of which every byte counts: two keys of the same name are refused, since two readers could take two different
 * values.
 *
 * @throws {TareError} InvalidArgument
 */
export function parseStrictJson(bytes: Uint8Array, what: string, limitBytes: number): unknown {
  const value = parseJson(bytes, what, limitBytes);
  const key = repeatedKey(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  if (key === undefined) return value;
  throw new TareError('InvalidArgument', `${what}: the key ${JSON.stringify(key)} stands twice in one object`);
}

/** The first key that an object has twice. @param text valid JSON */
function repeatedKey(text: string): string | undefined {
  // Keys of the objects that are open, the innermost last; undefined stands for a list.
  const open: (Set<string> | undefined)[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{}]/gs;
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** An object that has no keys but these. @throws {TareError} InvalidArgument: the key and those allowed */
export function exactObjectAt(value: unknown, where: string, keys: readonly string[]): Foreign {
  const object = objectAt(value, where);
  for (const key of Object.keys(object)) {
    if (!keys.includes(key)) {
      throw new TareError(
        'InvalidArgument',
        `${where}: unknown field ${JSON.stringify(key)}: want one of ${keys.join(', ')}`,
      );
    }
  }
  return object;
}
