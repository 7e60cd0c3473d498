import { createHash } from 'node:crypto';

/** JSON as Go's encoding/json writes it: keys of operations are digests of it, and must be those of BuildKit. */
export const goJson = (value: unknown): string =>
  JSON.stringify(value, bigintAsNumber).replace(
    /[<>&\u2028\u2029\b\f]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

const bigintAsNumber = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value);

/** Without what is zero or empty, as Go's `omitempty` leaves it out. */
export function filled(fields: Record<string, unknown>): Record<string, unknown> {
  const isEmpty = (value: unknown) =>
    value === undefined ||
    value === '' ||
    value === 0 ||
    value === 0n ||
    value === false ||
    (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

export const goDigest = (value: unknown): string => textDigest(goJson(value));

export const textDigest = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** The key of what a source resolved to. */
export const sourceDigest = (key: string): string => textDigest(`buildkit.source.v0:${key}`);
