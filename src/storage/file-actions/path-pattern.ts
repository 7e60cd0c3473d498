import { TareError } from '../../errors/index.ts';

const invalidPattern = (pattern: string, why: string): TareError =>
  new TareError('InvalidArgument', `invalid pattern ${JSON.stringify(pattern)}: ${why}`);

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
/** Only in a set is a `-` something to escape, and only there it may be. */
const escapedInSet = (text: string): string => escaped(text).replace('-', '\\-');

function compile(pattern: string, source: string): RegExp {
  try {
    return new RegExp(`^${source}$`, 'su');
  } catch {
    throw invalidPattern(pattern, 'its brackets form no set of characters');
  }
}

/** A set of characters `[a-z]`, `[^…]`, from its bracket on. @returns its expression, and where it ends */
function setAt(pattern: string, start: number): { source: string; end: number } {
  let at = start + 1;
  let body = '';
  const isNegated = pattern[at] === '^';
  if (isNegated) at += 1;
  for (let isFirst = true; ; isFirst = false) {
    const character = pattern[at];
    if (character === undefined) throw invalidPattern(pattern, 'a bracket is not closed');
    if (character === ']' && !isFirst) break;
    if (character === '\\') {
      at += 1;
      if (pattern[at] === undefined) throw invalidPattern(pattern, 'it ends in a backslash');
      body += escapedInSet(pattern[at]!);
    } else body += character === '-' ? '-' : escaped(character);
    at += 1;
  }
  return { source: `(?!/)[${isNegated ? '^' : ''}${body}]`, end: at };
}

/** One name against a pattern of Go's path/filepath.Match: `*`, `?`, `[…]`, `\`. @throws {TareError} InvalidArgument */
export function namePattern(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const character = String.fromCodePoint(pattern.codePointAt(at)!);
    if (character === '*') source += '[^/]*';
    else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const set = setAt(pattern, at);
      source += set.source;
      at = set.end;
    } else if (character === '\\') {
      at += 1;
      if (pattern[at] === undefined) throw invalidPattern(pattern, 'it ends in a backslash');
      source += escaped(pattern[at]!);
    } else {
      source += escaped(character);
      at += character.length - 1;
    }
  }
  return compile(pattern, source);
}

/** Whether a path is a pattern: has `*`, `?` or `[` that no backslash precedes. */
export const hasWildcard = (path: string): boolean => /^(?:[^\\*?[]|\\.)*[*?[]/su.test(path);

interface Rule {
  isException: boolean;
  pattern: RegExp;
}

/** For each pattern, whether it took a path or a folder around it. */
export type PatternState = readonly boolean[];

/** Patterns as in `.dockerignore`: `**` for any folders, `!` for exceptions; the last one that takes a path decides. */
export class PathPatterns {
  readonly #rules: Rule[];
  /** Without exceptions nothing below a taken folder can be left. */
  readonly hasExceptions: boolean;

  /** @throws {TareError} InvalidArgument */
  constructor(patterns: readonly string[]) {
    this.#rules = patterns.flatMap((text) => ruleOf(text) ?? []);
    this.hasExceptions = this.#rules.some(({ isException }) => isException);
  }

  /**
   * @param path relative, slash-separated
   * @param around what was found for the folder around it
   */
  take(path: string, around: PatternState | undefined): { isTaken: boolean; state: PatternState } {
    let isTaken = false;
    const state = this.#rules.map(({ pattern, isException }, index) => {
      const isMatch = around?.[index] === true || pattern.test(path);
      if (isMatch) isTaken = !isException;
      return isMatch;
    });
    return { isTaken, state };
  }
}

function ruleOf(text: string): Rule | undefined {
  let pattern = text.trim();
  if (pattern === '') return undefined;
  const isException = pattern.startsWith('!');
  if (isException) {
    pattern = pattern.slice(1).trim();
    if (pattern === '') throw invalidPattern(text, 'an exception without a pattern');
  }
  const clean = cleaned(pattern);
  return { isException, pattern: compile(clean, sourceOf(clean)) };
}

/** Go's filepath.Clean, of a path relative to the root. */
function cleaned(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else parts.push(part);
  }
  return parts.join('/');
}

function sourceOf(pattern: string): string {
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern[at]!;
    if (character === '*' && pattern[at + 1] === '*') {
      at += 1;
      // `**/` stands for any number of folders, none as well.
      if (pattern[at + 1] === '/') at += 1;
      source += at + 1 >= pattern.length ? '.*' : '(?:.*/)?';
    } else if (character === '*') source += '[^/]*';
    else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const set = setAt(pattern, at);
      source += set.source;
      at = set.end;
    } else if (character === '\\' && at + 1 < pattern.length) {
      at += 1;
      source += escaped(pattern[at]!);
    } else source += /[\ud800-\udfff]/.test(character) ? character : escaped(character);
  }
  return source;
}
