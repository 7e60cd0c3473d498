import { UsageError } from './usage-error.ts';

/** The value of an option that takes a few words. @throws {UsageError} names them */
export function oneOf<const T extends string>(
  option: string,
  value: string | undefined,
  known: readonly T[],
): T | undefined {
  if (value === undefined) return undefined;
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  throw new UsageError(`invalid value ${JSON.stringify(value)} for --${option}: want ${known.join(', ')}`);
}
