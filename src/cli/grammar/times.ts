import { TareError } from '../../errors/index.ts';
import { UsageError } from './usage-error.ts';

const units: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Go's time.ParseDuration in nanoseconds; undefined when it is none: `1h30m`, `1.5s`, `-10ms`, `0`. */
export function parseDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  const parts = /^([+-]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$/.exec(text);
  if (!parts) return undefined;
  let total = 0;
  for (const [, number, unit] of parts[2]!.matchAll(/([\d.]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g))
    total += Number(number) * units[unit!]!;
  return Math.round(parts[1] === '-' ? -total : total);
}

/** @returns nanoseconds. @throws {UsageError} not a duration, or negative */
export function durationFlag(text: string, flag: string): number {
  const value = parseDuration(text);
  if (value === undefined || value < 0)
    throw new UsageError(
      `invalid duration ${JSON.stringify(text)} for ${flag}: a number with ms, s, m or h, such as 30s`,
    );
  return value;
}

/**
 * A moment as docker reads `--since` and `--until`: seconds since the epoch (with a fraction), RFC 3339 and its shorter forms (in
 * the local zone unless it says one), or a duration before now.
 *
 * @returns `SECONDS[.NANOSECONDS]`, as the API wants it
 * @throws {TareError} InvalidArgument
 */
export function parseMoment(text: string, flag: string, nowMs = Date.now()): string {
  if (/^\d+(\.\d{1,9})?$/.test(text)) return text;
  const duration = parseDuration(text);
  if (duration !== undefined) return seconds(BigInt(Math.round(nowMs * 1000)) * 1000n - BigInt(duration));
  const parts = /^(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(
    text,
  );
  if (parts) {
    const [, day, hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = parts;
    // A date alone is UTC to JavaScript, so the hour is always written.
    const ms = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`);
    if (!Number.isNaN(ms)) return `${Math.floor(ms / 1000)}.${fraction.padEnd(9, '0')}`;
  }
  throw new TareError(
    'InvalidArgument',
    `invalid time ${JSON.stringify(text)} for ${flag}: seconds since 1970, 2006-01-02T15:04:05Z, or a duration such as 10m`,
  );
}

function seconds(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}`;
}
