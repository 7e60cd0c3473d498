import { TareError } from '../errors/index.ts';

/** What one place of a pattern takes: any run of characters, or one character. */
type Token = 'star' | ((character: string) => boolean);

/**
 * A matcher for shell patterns over paths: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes, `\\` takes what
 * follows literally. Its time grows with pattern times text and never faster, whatever a client sends.
 *
 * @throws {TareError} InvalidArgument: a malformed pattern
 * @see Go, path.Match
 */
export function compileGlob(pattern: string): (text: string) => boolean {
  const segments = tokenize(pattern);
  return (text) => {
    const parts = text.split('/');
    return parts.length === segments.length && parts.every((part, index) => matchSegment(segments[index]!, part));
  };
}

function tokenize(pattern: string): Token[][] {
  const malformed = () =>
    new TareError('InvalidArgument', `invalid reference pattern ${JSON.stringify(pattern)}: syntax error in pattern`);
  const segments: Token[][] = [[]];
  const add = (token: Token) => segments.at(-1)!.push(token);
  for (let i = 0; i < pattern.length; i += 1) {
    const character = pattern[i]!;
    if (character === '/') segments.push([]);
    else if (character === '*') add('star');
    else if (character === '?') add(() => true);
    else if (character === '[') {
      const end = pattern.indexOf(']', i + 2);
      if (end < 0) throw malformed();
      const test = parseClass(pattern.slice(i + 1, end));
      if (test === undefined) throw malformed();
      add(test);
      i = end;
    } else {
      if (character === '\\') i += 1;
      const literal = pattern[i];
      if (literal === undefined) throw malformed();
      add((other) => other === literal);
    }
  }
  return segments;
}

function parseClass(text: string): ((character: string) => boolean) | undefined {
  const isNegated = text.startsWith('^');
  const ranges: [string, string][] = [];
  const pieces = /\\?(.)(?:-\\?(.))?/gsu;
  for (const [, first, last = first] of (isNegated ? text.slice(1) : text).matchAll(pieces)) {
    if (first! > last!) return undefined;
    ranges.push([first!, last!]);
  }
  if (ranges.length === 0) return undefined;
  return (character) => ranges.some(([first, last]) => character >= first && character <= last) !== isNegated;
}

/** When a character does not fit, only the last star can help: it takes one character more. */
function matchSegment(tokens: readonly Token[], text: string): boolean {
  let at = 0;
  let token = 0;
  let star = -1;
  let starEnd = 0;
  while (at < text.length) {
    const current = tokens[token];
    if (current === 'star') {
      star = token;
      starEnd = at;
      token += 1;
    } else if (current?.(text[at]!)) {
      token += 1;
      at += 1;
    } else if (star >= 0) {
      starEnd += 1;
      at = starEnd;
      token = star + 1;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === 'star');
}
