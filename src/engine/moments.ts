import { TareError } from '../errors/index.ts';

const units: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Seconds of a Go duration such as `1h30m`; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|\u00b5s|ms|s|m|h))+)$/.exec(text);
  if (match === null) return text === '0' ? 0 : undefined;
  let seconds = 0;
  for (const [, number, unit] of match[2]!.matchAll(/(\d+(?:\.\d*)?)(ns|us|\u00b5s|ms|s|m|h)/g)) {
    seconds += Number(number) * units[unit!]!;
  }
  return match[1] === '-' ? -seconds : seconds;
}

/** Records keep nanoseconds in 64 bits: what is further away is as good as their end, in the year 2262. */
const FARTHEST_NS = 2n ** 63n - 1n;
const bounded = (ns: bigint): bigint => (ns > FARTHEST_NS ? FARTHEST_NS : ns < -FARTHEST_NS ? -FARTHEST_NS : ns);

/**
 * A moment as docker's filters and flags give it: seconds since the epoch (with a fraction), RFC 3339, a date, or a
 * duration before now.
 *
 * @returns nanoseconds since the epoch, in 64 bits
 * @throws {TareError} InvalidArgument
 */
export function parseMoment(text: string, nowMs = Date.now()): bigint {
  const number = /^(-?)(\d{1,11})(?:\.(\d{1,9})\d*)?$/.exec(text);
  if (number !== null) {
    const ns = BigInt(number[2]!) * 1_000_000_000n + decimals(number[3]);
    return bounded(number[1] === '-' ? -ns : ns);
  }
  const duration = parseDuration(text);
  if (duration !== undefined && Number.isFinite(duration * 1e9))
    return bounded(BigInt(nowMs) * 1_000_000n - BigInt(Math.round(duration * 1e9)));
  const date = /^(\d{4}-\d\d-\d\d(?:[T ][\d:]+)?)(?:\.(\d{1,9})\d*)?(Z|[+-][\d:]+)?$/.exec(text);
  const ms = date === null ? Number.NaN : Date.parse(`${date[1]}${date[3] ?? ''}`);
  if (Number.isNaN(ms)) {
    throw new TareError(
      'InvalidArgument',
      `invalid time ${JSON.stringify(text)}: want seconds since the epoch, RFC 3339, or a duration such as 10m`,
    );
  }
  return bounded(BigInt(ms) * 1_000_000n + decimals(date?.[2]));
}

/** `parseMoment` in seconds, to the microsecond. */
export const parseTime = (text: string, nowMs?: number): number => Number(parseMoment(text, nowMs) / 1000n) / 1e6;

/** Nanoseconds that a fraction's digits mean. */
const decimals = (digits = ''): bigint => BigInt(digits.padEnd(9, '0'));
