import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';

interface CharacterClass {
  readonly kind: 'class';
  readonly isNegated: boolean;
  readonly ranges: readonly (readonly [string, string])[];
}

/** `star`: characters of a name; `folders`: whole names with their slashes, or nothing; `rest`: anything. */
type Token =
  | { readonly kind: 'literal'; readonly character: string }
  | CharacterClass
  | { readonly kind: 'any' | 'star' | 'folders' | 'rest' };

const MAX_PATTERN_CHARACTERS = 4096;
const MAX_WILDCARDS = 64;
/** With so few a regular expression cannot go back and forth for long. */
const MAX_EXPRESSION_WILDCARDS = 2;

/**
 * A test for paths: `*` and `?` stop at slashes, `**` does not, `[a-z]` and `[^a-z]` are classes, a backslash takes what follows
 * literally. Its time grows with pattern times path and never faster.
 *
 * @param pattern cleaned, without a leading `!`
 * @throws {TareError} InvalidArgument: a malformed pattern
 * @see moby/patternmatcher, Pattern.match, with what is special in it: `**` before and after mere text
 */
export function compilePathPattern(pattern: string): (path: string) => boolean {
  const tokens = parse(pattern);
  const isPlain = (list: readonly Token[]) => list.every((token) => token.kind === 'literal');
  if (isPlain(tokens)) {
    const text = textOf(tokens);
    return (path) => path === text;
  }
  if (tokens.length === 1 && tokens[0]!.kind === 'rest') return () => true;
  if (tokens.at(-1)?.kind === 'rest' && isPlain(tokens.slice(0, -1))) {
    const prefix = textOf(tokens.slice(0, -1));
    return (path) => path.startsWith(prefix);
  }
  if (tokens[0]!.kind === 'folders' && isPlain(tokens.slice(1))) {
    const name = textOf(tokens.slice(1));
    // Of `**/name` whole names, of `**name` also ends of names.
    if (!pattern.startsWith('**/')) return (path) => path.endsWith(name);
    return (path) => path.endsWith(`/${name}`) || path === name;
  }
  const wildcards = tokens.filter(({ kind }) => kind === 'star' || kind === 'folders' || kind === 'rest').length;
  if (wildcards > MAX_WILDCARDS) {
    throw new TareError('InvalidArgument', `pattern of ${wildcards} wildcards: at most ${MAX_WILDCARDS} are allowed`);
  }
  if (wildcards <= MAX_EXPRESSION_WILDCARDS) {
    const expression = new RegExp(`^${tokens.map(expressionOf).join('')}$`, 'su');
    return (path) => expression.test(path);
  }
  return (path) => walk(tokens, path);
}

/**
 * A test for one name, as Go's path/filepath.Match: two stars are one.
 * @throws {TareError} InvalidArgument: a malformed pattern
 */
export const compileNamePattern = (pattern: string): ((name: string) => boolean) =>
  compilePathPattern(pattern.replace(/(\\.)|\*+/gsu, (_, escaped: string | undefined) => escaped ?? '*'));

/** Whether a path is a pattern: has `*`, `?` or `[` that no backslash precedes. */
export const hasWildcard = (path: string): boolean => /^(?:[^\\*?[]|\\.)*[*?[]/su.test(path);

/** The shortest path that means the same, without a slash at its end. */
export function cleanPattern(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function malformed(pattern: string): TareError {
  return new TareError('InvalidArgument', `syntax error in pattern ${JSON.stringify(pattern)}`);
}

function textOf(tokens: readonly Token[]): string {
  return tokens.map((token) => (token.kind === 'literal' ? token.character : '')).join('');
}

function parse(pattern: string): Token[] {
  if (pattern.length > MAX_PATTERN_CHARACTERS) {
    throw new TareError(
      'InvalidArgument',
      `pattern of ${pattern.length} characters: at most ${MAX_PATTERN_CHARACTERS}`,
    );
  }
  const characters = [...pattern];
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at]!;
    if (character === '*' && characters[at + 1] === '*') {
      at += characters[at + 2] === '/' ? 2 : 1;
      tokens.push({ kind: at === characters.length - 1 ? 'rest' : 'folders' });
    } else if (character === '*') tokens.push({ kind: 'star' });
    else if (character === '?') tokens.push({ kind: 'any' });
    else if (character === '[') {
      const { token, end } = parseClass(characters, at, pattern);
      tokens.push(token);
      at = end;
    } else {
      if (character === '\\') at += 1;
      const literal = characters[at];
      if (literal === undefined) throw malformed(pattern);
      tokens.push({ kind: 'literal', character: literal });
    }
  }
  return tokens;
}

function parseClass(
  characters: readonly string[],
  start: number,
  pattern: string,
): { token: CharacterClass; end: number } {
  let at = start + 1;
  const isNegated = characters[at] === '^';
  if (isNegated) at += 1;
  const ranges: [string, string][] = [];
  const read = () => {
    let character = characters[at];
    if (character === undefined || character === '-' || character === ']') throw malformed(pattern);
    if (character === '\\') {
      at += 1;
      character = characters[at];
      if (character === undefined) throw malformed(pattern);
    }
    at += 1;
    return character;
  };
  while (characters[at] !== ']' || ranges.length === 0) {
    const first = read();
    if (characters[at] !== '-') ranges.push([first, first]);
    else {
      at += 1;
      const last = read();
      if (first.codePointAt(0)! > last.codePointAt(0)!) throw malformed(pattern);
      ranges.push([first, last]);
    }
  }
  return { token: { kind: 'class', isNegated, ranges }, end: at };
}

function expressionOf(token: Token): string {
  switch (token.kind) {
    case 'literal':
      return escaped(token.character);
    case 'any':
      return '[^/]';
    case 'star':
      return '[^/]*';
    case 'folders':
      return '(?:.*/)?';
    case 'rest':
      return '.*';
    case 'class':
      return `[${token.isNegated ? '^' : ''}${token.ranges.map(([first, last]) => `${escaped(first)}-${escaped(last)}`).join('')}]`;
  }
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}

function takes(token: Token, character: string): boolean {
  if (token.kind === 'literal') return token.character === character;
  if (token.kind === 'any') return character !== '/';
  if (token.kind !== 'class') return false;
  const point = character.codePointAt(0)!;
  const isIn = token.ranges.some(([first, last]) => point >= first.codePointAt(0)! && point <= last.codePointAt(0)!);
  return isIn !== token.isNegated;
}

/** Goes through the path once with all places of the pattern where a match may stand; odd ones are inside of `folders`. */
function walk(tokens: readonly Token[], path: string): boolean {
  let places = new Uint8Array(tokens.length * 2 + 2);
  const enter = (set: Uint8Array, place: number) => {
    for (let at = place; set[at] === 0; at += 2) {
      set[at] = 1;
      const kind = at % 2 === 0 ? tokens[at / 2]?.kind : undefined;
      if (kind === 'folders') set[at + 1] = 1;
      if (kind !== 'star' && kind !== 'folders' && kind !== 'rest') return;
    }
  };
  enter(places, 0);
  for (const character of path) {
    const next = new Uint8Array(places.length);
    for (const [index, token] of tokens.entries()) {
      const place = index * 2;
      if (places[place] === 1) {
        const stays = token.kind === 'rest' || (token.kind === 'star' && character !== '/');
        if (stays) enter(next, place);
        else if (takes(token, character)) enter(next, place + 2);
      }
      if (places[place + 1] === 1) {
        next[place + 1] = 1;
        if (character === '/') enter(next, place + 2);
      }
    }
    places = next;
  }
  return places[tokens.length * 2] === 1;
}
