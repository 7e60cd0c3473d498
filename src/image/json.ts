import { TareError } from '../errors/index.ts';

/** An object from a foreign document, nothing of it checked yet. */
export type Foreign = { readonly [key: string]: unknown };

/** Reading foreign JSON: every reader names where it stands, so that an error can say which field is wrong. */
const wrong = (where: string, want: string, value: unknown) =>
  new TareError('InvalidArgument', `${where}: want ${want}, not ${excerpt(value)}`);

function excerpt(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** @throws {TareError} InvalidArgument: larger than `limitBytes`, not UTF-8, not JSON */
export function parseJson(bytes: Uint8Array, what: string, limitBytes: number): unknown {
  if (bytes.byteLength > limitBytes) {
    throw new TareError('InvalidArgument', `${what}: ${bytes.byteLength} bytes, at most ${limitBytes} are allowed`);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TareError('InvalidArgument', `${what} is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

export function objectAt(value: unknown, where: string): Foreign {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Foreign;
  throw wrong(where, 'an object', value);
}

/** Go writes null for an empty list, map or pointer, so null means absent everywhere. */
export function optional<T>(value: unknown, where: string, read: (value: unknown, where: string) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value, where);
}

export function textAt(value: unknown, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'a string', value);
  // No string of an image may end early when it comes to a system call.
  if (value.includes('\0')) throw wrong(where, 'a string without NUL characters', value);
  return value;
}

export function flagAt(value: unknown, where: string): boolean {
  if (typeof value === 'boolean') return value;
  throw wrong(where, 'true or false', value);
}

/** A whole number that doubles hold exactly. */
export function integerAt(value: unknown, where: string): number {
  if (Number.isSafeInteger(value)) return value as number;
  throw wrong(where, 'a whole number', value);
}

export function sizeAt(value: unknown, where: string): number {
  const size = integerAt(value, where);
  if (size < 0) throw wrong(where, 'a size of 0 or more', value);
  return size;
}

export function listAt<T>(
  value: unknown,
  where: string,
  item: (value: unknown, where: string) => T,
  limit = 100_000,
): T[] {
  if (!Array.isArray(value)) throw wrong(where, 'a list', value);
  if (value.length > limit) {
    throw new TareError('InvalidArgument', `${where}: ${value.length} entries, at most ${limit} are allowed`);
  }
  return value.map((entry, index) => item(entry, `${where}[${index}]`));
}

export function mapAt<T>(value: unknown, where: string, item: (value: unknown, where: string) => T): Record<string, T> {
  const entries = Object.entries(objectAt(value, where)).map(
    ([key, entry]) => [textAt(key, `${where}: key`), item(entry, `${where}.${key}`)] as const,
  );
  // fromEntries defines own properties, so a key `__proto__` stays a plain key.
  return Object.fromEntries(entries);
}

export const textsAt = (value: unknown, where: string): string[] => listAt(value, where, textAt);
export const textMapAt = (value: unknown, where: string): Record<string, string> => mapAt(value, where, textAt);
/** Go's set: a map to empty objects. */
export const setAt = (value: unknown, where: string): Record<string, object> => mapAt(value, where, () => ({}));

/** Drops the keys whose value is undefined, so that documents stay as small as what they say. */
export function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}
