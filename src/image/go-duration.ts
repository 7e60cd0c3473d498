const nanosecondsOf: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/**
 * A duration as Go writes it: `1h30m`, `1.5s`, `-10ms`, `0`.
 *
 * @returns nanoseconds, or undefined when the text is none
 * @see Go, time.ParseDuration
 */
export function parseGoDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+|0)$/.exec(text);
  if (match === null) return undefined;
  let total = 0;
  for (const [, number, unit] of match[2]!.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g)) {
    total += Number(number) * nanosecondsOf[unit!]!;
  }
  if (total >= 2 ** 63) return undefined;
  return match[1] === '-' ? -Math.round(total) : Math.round(total);
}
