/** How Go prints values, for the texts of histories, which are compared with those that BuildKit writes. */

const named: Record<string, string> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};

/** Letters, marks, numbers, punctuation, symbols, and the space: Go's strconv.IsPrint. */
const isPrintable = (character: string): boolean =>
  character === ' ' || /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(character);

function escaped(character: string, quote: string): string {
  if (character === quote) return `\\${quote}`;
  const name = named[character];
  if (name !== undefined) return name;
  if (isPrintable(character)) return character;
  const code = character.codePointAt(0)!;
  if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
}

/** `%q` of a string. */
export const quoted = (text: string): string =>
  `"${Array.from(text.toWellFormed(), (character) => escaped(character, '"')).join('')}"`;

/** `%q` of a list of strings: `["a" "b"]`. */
export const quotedList = (texts: readonly string[]): string => `[${texts.map(quoted).join(' ')}]`;

/** `%q` of a number: the character that it numbers. */
export function quotedNumber(code: number): string {
  const isCharacter = code >= 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return `'${escaped(isCharacter ? String.fromCodePoint(code) : '\ufffd', "'")}'`;
}

/** A duration's String(): `1h30m0s`, `1.5s`, `100ms`, `0s`. @param nanoseconds at most 2^63 */
export function durationText(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  const sign = nanoseconds < 0 ? '-' : '';
  let rest = BigInt(Math.round(Math.abs(nanoseconds)));
  const fraction = (value: bigint, digits: number): string => {
    const unit = 10n ** BigInt(digits);
    const decimals = (value % unit).toString().padStart(digits, '0').replace(/0+$/, '');
    return `${value / unit}${decimals === '' ? '' : `.${decimals}`}`;
  };
  if (rest < 1000n) return `${sign}${rest}ns`;
  if (rest < 1_000_000n) return `${sign}${fraction(rest, 3)}µs`;
  if (rest < 1_000_000_000n) return `${sign}${fraction(rest, 6)}ms`;
  const minuteNs = 60_000_000_000n;
  const minutes = rest / minuteNs;
  rest %= minuteNs;
  const seconds = `${fraction(rest, 9)}s`;
  if (minutes === 0n) return `${sign}${seconds}`;
  return minutes < 60n ? `${sign}${minutes}m${seconds}` : `${sign}${minutes / 60n}h${minutes % 60n}m${seconds}`;
}
