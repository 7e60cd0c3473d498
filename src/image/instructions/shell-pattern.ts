import { TareError } from '../../errors/index.ts';

/** A character that must be there, or `any`. */
type Piece = string | typeof any;
const any = Symbol('any character');

/**
 * What stands between the stars of a pattern. `*` takes any run of characters and `?` any one, but for line ends; a backslash takes what
 * follows literally. A match is found by looking for one segment after the other, so its time grows with text times segment and never
 * faster.
 */
type Segments = readonly (readonly Piece[])[];

/** Text times pattern, in characters. */
const MAX_WORK = 1 << 26;

const broken = (message: string) => new TareError('InvalidArgument', message);

/**
 * Removes what a pattern matches at the beginning.
 * @throws {TareError} InvalidArgument: a backslash before another character than `*`, `?`, `\`, `}` and `/`
 */
export function trimPrefix(text: string, pattern: string, extent: 'shortest' | 'longest'): string {
  const value = [...text];
  const segments = parse(pattern);
  limit(value, pattern);
  const end = matchAt(value, segments, 0, extent);
  return end === undefined ? text : value.slice(end).join('');
}

/** As `trimPrefix`, at the end. */
export function trimSuffix(text: string, pattern: string, extent: 'shortest' | 'longest'): string {
  const value = [...text].reverse();
  const segments = parse(pattern)
    .map((segment) => [...segment].reverse())
    .reverse();
  limit(value, pattern);
  const end = matchAt(value, segments, 0, extent);
  return end === undefined ? text : value.slice(end).reverse().join('');
}

/** Puts another text for the first match, or for all of them; of those that begin at one place the longest. */
export function replacePattern(text: string, pattern: string, replacement: string, which: 'first' | 'all'): string {
  const value = [...text];
  const segments = parse(pattern);
  limit(value, pattern);
  const result: string[] = [];
  let at = 0;
  let isAfterMatch = false;
  while (at <= value.length) {
    const match = search(value, segments, at);
    if (match === undefined) break;
    result.push(value.slice(at, match.start).join(''));
    // An empty match just behind another is none.
    const isRepeated = match.end === match.start && isAfterMatch && match.start === at;
    if (!isRepeated) result.push(replacement);
    at = match.end;
    isAfterMatch = match.end > match.start;
    if (which === 'first') break;
    if (match.end === match.start) {
      if (at < value.length) result.push(value[at]!);
      at += 1;
    }
  }
  result.push(value.slice(at).join(''));
  return result.join('');
}

function limit(value: readonly string[], pattern: string): void {
  if (value.length * pattern.length > MAX_WORK) {
    throw broken(`pattern of ${pattern.length} characters in substitution: too long for a value of ${value.length}`);
  }
}

function parse(pattern: string): Segments {
  const segments: Piece[][] = [[]];
  const characters = [...pattern];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at]!;
    if (character === '*') segments.push([]);
    else if (character === '?') segments.at(-1)!.push(any);
    else if (character !== '\\') segments.at(-1)!.push(character);
    else {
      at += 1;
      const next = characters[at];
      if (next === undefined || !'*?\\}/'.includes(next)) {
        throw broken(`invalid pattern (${pattern}) in substitution: invalid escape '\\${next ?? ''}'`);
      }
      segments.at(-1)!.push(next);
    }
  }
  return segments;
}

function fits(value: readonly string[], segment: readonly Piece[], at: number): boolean {
  if (at + segment.length > value.length) return false;
  return segment.every((piece, index) => {
    const character = value[at + index]!;
    return piece === any ? character !== '\n' : piece === character;
  });
}

/** Where a segment begins first, with nothing but one line's characters skipped. */
function firstFrom(value: readonly string[], segment: readonly Piece[], from: number): number | undefined {
  for (let at = from; at <= value.length; at += 1) {
    if (fits(value, segment, at)) return at;
    if (value[at] === '\n') return undefined;
  }
  return undefined;
}

function lastFrom(value: readonly string[], segment: readonly Piece[], from: number): number | undefined {
  const lineEnd = value.indexOf('\n', from);
  for (let at = lineEnd < 0 ? value.length : lineEnd; at >= from; at -= 1) {
    if (fits(value, segment, at)) return at;
  }
  return undefined;
}

/** @returns where a match that begins here ends */
function matchAt(value: readonly string[], segments: Segments, start: number, extent: 'shortest' | 'longest') {
  const [head, ...rest] = segments;
  if (!fits(value, head!, start)) return undefined;
  let end = start + head!.length;
  for (const [index, segment] of rest.entries()) {
    const isLast = index === rest.length - 1;
    const at = isLast && extent === 'longest' ? lastFrom(value, segment, end) : firstFrom(value, segment, end);
    if (at === undefined) return undefined;
    end = at + segment.length;
  }
  return end;
}

/** The first match from here on. Where what follows the head is missing, it is for all beginnings in the same line. */
function search(value: readonly string[], segments: Segments, from: number) {
  for (let start = from; start <= value.length; start += 1) {
    if (!fits(value, segments[0]!, start)) continue;
    const end = matchAt(value, segments, start, 'longest');
    if (end !== undefined) return { start, end };
    const lineEnd = value.indexOf('\n', start);
    if (lineEnd < 0) return undefined;
    start = lineEnd - 1 < start ? start : lineEnd - 1;
  }
  return undefined;
}
