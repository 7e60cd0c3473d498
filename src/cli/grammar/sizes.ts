import { UsageError } from './usage-error.ts';

/**
 * A size with an optional unit, as go-units' RAMInBytes: `512`, `1.5g`, `64MiB`, `1kb`; units count in 1024.
 *
 * @throws {UsageError}
 */
export function parseSize(text: string, flag: string): number {
  const parts = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  const power = ' kmgtp'.indexOf(parts?.[2]?.toLowerCase() || ' ');
  const size = parts ? Math.trunc(Number(parts[1]) * 1024 ** power) : Number.NaN;
  if (!Number.isSafeInteger(size))
    throw new UsageError(`invalid size ${JSON.stringify(text)} for ${flag}: a number with b, k, m or g, such as 512m`);
  return size;
}

/**
 * CPUs as a decimal to billionths.
 *
 * @throws {UsageError}: not a number, or finer than a billionth
 */
export function parseCpus(text: string): number {
  const [, whole, part = ''] = /^(\d{1,6})?(?:\.(\d*))?$/.exec(text) ?? [];
  if ((whole === undefined && part === '') || part.replace(/0+$/, '').length > 9)
    throw new UsageError(
      `invalid number of CPUs ${JSON.stringify(text)} for --cpus: a decimal such as 1.5, at most 9 places`,
    );
  return Number(whole ?? 0) * 1e9 + Number(part.padEnd(9, '0').slice(0, 9));
}
