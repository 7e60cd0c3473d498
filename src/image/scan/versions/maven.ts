import { compareNumbers } from './dpkg.ts';

/** Qualifiers in their order (Maven, "POM reference: version order specification"); others come after, by their letters. */
const qualifiers = ['alpha', 'beta', 'milestone', 'rc', 'snapshot', '', 'sp'];
const aliases: Record<string, string> = { ga: '', final: '', release: '', cr: 'rc' };

interface Token {
  separator: '.' | '-';
  value: string;
  isNumber: boolean;
}

/** Order of two Maven versions. */
export function compareMaven(a: string, b: string): number {
  const [x, y] = [tokens(a), tokens(b)];
  for (let at = 0; at < Math.max(x.length, y.length); at += 1) {
    const difference = compareTokens(x[at] ?? padding(y[at]!), y[at] ?? padding(x[at]!));
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Split at dots, dashes and between letters and digits; nulls (0, '', final, ga) before a dash or the end are nothing. */
function tokens(version: string): Token[] {
  const found: Token[] = [];
  let separator: Token['separator'] = '.';
  let isAfterBreak = true;
  for (const [part] of version.toLowerCase().matchAll(/\d+|[^\d.\-_]+|[.\-_]/g)) {
    if (part === '.' || part === '-' || part === '_') {
      // An empty token is a zero.
      if (isAfterBreak) found.push({ separator, value: '0', isNumber: true });
      separator = part === '.' ? '.' : '-';
      isAfterBreak = true;
      continue;
    }
    const isNumber = /^\d/.test(part);
    // Between letters and digits a dash is understood.
    if (!isAfterBreak) separator = '-';
    found.push({ separator, value: part, isNumber });
    isAfterBreak = false;
  }
  return trimmed(expanded(found));
}

/** `a1`, `b1`, `m1` are alpha, beta and milestone when a digit follows at once. */
function expanded(found: Token[]): Token[] {
  const short: Record<string, string> = { a: 'alpha', b: 'beta', m: 'milestone' };
  return found.map((token, at) => {
    if (token.isNumber) return { ...token, value: token.value.replace(/^0+(?=\d)/, '') };
    const next = found[at + 1];
    const value = next?.isNumber && next.separator === '-' ? (short[token.value] ?? token.value) : token.value;
    return { ...token, value: aliases[value] ?? value };
  });
}

const isNull = ({ value }: Token): boolean => value === '0' || value === '';

function trimmed(found: Token[]): Token[] {
  const kept: Token[] = [];
  for (const [at, token] of found.entries()) {
    kept.push(token);
    const next = found[at + 1];
    if (next !== undefined && next.separator === '.') continue;
    while (kept.length > 0 && isNull(kept.at(-1)!) && (next === undefined || next.separator === '-')) kept.pop();
  }
  return kept;
}

const padding = ({ isNumber, separator }: Token): Token =>
  isNumber ? { separator, value: '0', isNumber: true } : { separator, value: '', isNumber: false };

function compareTokens(a: Token, b: Token): number {
  if (a.separator === b.separator && a.isNumber === b.isNumber) return compareValues(a, b);
  // .qualifier = -qualifier < -number < .number
  const rank = ({ isNumber, separator }: Token) => (isNumber ? (separator === '.' ? 2 : 1) : 0);
  return rank(a) - rank(b) || compareValues(a, b);
}

function compareValues(a: Token, b: Token): number {
  if (a.isNumber) return compareNumbers(a.value, b.value);
  const [x, y] = [qualifiers.indexOf(a.value), qualifiers.indexOf(b.value)];
  if (x !== -1 && y !== -1) return x - y;
  if (x === -1 && y === -1) return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
  return x === -1 ? qualifiers.length - y : x - qualifiers.length;
}
