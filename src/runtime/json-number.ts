/**
 * Whole numbers that a double cannot hold, such as RLIM_INFINITY (2^64 - 1) in a spec or a mask in a seccomp profile. They
 * are kept as raw JSON text, so `JSON.stringify` writes every digit.
 */
export interface RawNumber {
  readonly rawJSON: string;
}

/** ECMAScript's JSON.rawJSON and its companions, which the type library lacks. */
const json = JSON as unknown as {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
};

export const isRawNumber = (value: unknown): value is RawNumber => json.isRawJSON(value);

export const rawNumber = (value: bigint): RawNumber => json.rawJSON(value.toString());

/** JSON.parse that keeps whole numbers beyond 2^53 exact. @throws {SyntaxError} */
export function parseExact(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
      ? json.rawJSON(source)
      : value,
  );
}
