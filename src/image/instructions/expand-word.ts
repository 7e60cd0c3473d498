import { TareError } from '../../errors/index.ts';
import { replacePattern, trimPrefix, trimSuffix } from './shell-pattern.ts';
import { isSpace } from './white-space.ts';

const MAX_DEPTH = 50;
const MAX_CHARACTERS = 1 << 20;
/** To look for a pattern takes so much longer than to put a character in, and a character of the pattern so much less. */
const PATTERN_COST = 8;
const CHARACTER_COST = 1 / 16;

export interface ExpandOptions {
  variables: { get(name: string): string | undefined };
  /** `\` unless a directive says otherwise. */
  escape?: '\\' | '`';
  /** Quotes are characters like others, as in here-documents. */
  ignoresQuotes?: boolean;
  /** Quotes stay. */
  keepsQuotes?: boolean;
  /** Escape characters stay, before what they escape. */
  keepsEscapes?: boolean;
  /** Variables that are not set stay as they are written. */
  keepsUnset?: boolean;
  /** Of the result, in characters; 1 Mi if it is not said. Bounds words that grow by what they name. */
  limit?: number;
  /** Told of each value before it is put in, or looked at for a pattern, with about how many characters that takes; may throw. */
  meter?(characters: number): void;
}

export interface Expansion {
  text: string;
  /** The same, split at white space that is neither quoted nor escaped; that of variables splits too. */
  words: readonly string[];
  /** Variables that were named, and had a value. */
  used: ReadonlySet<string>;
  /** Variables that were named, and had none. */
  unset: ReadonlySet<string>;
}

const broken = (message: string) => new TareError('InvalidArgument', message);

/**
 * Removes quotes and escapes from a word and puts variables in: `$A`, `${A}`, `${A:-default}`, `${A:+alternative}`, `${A:?message}`, the
 * three without a colon, `${A#pattern}`, `${A##pattern}`, `${A%pattern}`, `${A%%pattern}`, `${A/pattern/text}`, `${A//pattern/text}`.
 *
 * @throws {TareError} InvalidArgument, in BuildKit's words: an open quote or brace, another modifier, a variable that `?` demands, a result
 *   that is too long
 * @see Dockerfile reference, "Environment replacement"
 */
export function expandWord(word: string, options: ExpandOptions): Expansion {
  const walk = new Walk(word, options);
  const words = new WordList();
  try {
    const text = walk.until(undefined, options.keepsEscapes ?? false, words);
    return { text, words: words.end(), used: walk.used, unset: walk.unset };
  } catch (error) {
    if (!(error instanceof TareError)) throw error;
    throw broken(`failed to process ${quoted(word)}: ${error.message}`);
  }
}

function quoted(word: string): string {
  return JSON.stringify(word.length > 200 ? `${word.slice(0, 200)}…` : word);
}

class WordList {
  readonly #words: string[] = [];
  #word = '';

  /** Characters among which spaces split. */
  add(text: string): void {
    for (const character of text) {
      if (!isSpace(character)) this.#word += character;
      else this.#close();
    }
  }

  addWhole(text: string): void {
    this.#word += text;
  }

  end(): readonly string[] {
    this.#close();
    return this.#words;
  }

  #close(): void {
    if (this.#word !== '') this.#words.push(this.#word);
    this.#word = '';
  }
}

class Walk {
  readonly used = new Set<string>();
  readonly unset = new Set<string>();
  readonly #text: string;
  readonly #options: ExpandOptions;
  readonly #escape: string;
  readonly #limit: number;
  #at = 0;
  #depth = 0;
  #keepsEscapes = false;

  constructor(text: string, options: ExpandOptions) {
    this.#text = text;
    this.#options = options;
    this.#escape = options.escape ?? '\\';
    this.#limit = options.limit ?? MAX_CHARACTERS;
  }

  /** Reads up to a stop character and over it, or to the end. */
  until(stop: string | undefined, keepsEscapes: boolean, words?: WordList): string {
    const outer = this.#keepsEscapes;
    this.#keepsEscapes = keepsEscapes;
    const { ignoresQuotes } = this.#options;
    let result = '';
    for (;;) {
      if (result.length > this.#limit) throw broken(`the result is longer than ${this.#limit} characters`);
      const character = this.#text[this.#at];
      if (character === undefined) {
        if (stop === undefined) break;
        throw broken(`unexpected end of statement while looking for matching ${stop}`);
      }
      if (character === stop) {
        this.#at += 1;
        break;
      }
      if (character === '$') {
        const value = this.#variable();
        result += value;
        words?.add(value);
      } else if (!ignoresQuotes && (character === "'" || character === '"')) {
        const value = character === "'" ? this.#singleQuoted() : this.#doubleQuoted();
        result += value;
        words?.addWhole(value);
      } else if (character === this.#escape) {
        const value = this.#escaped();
        result += value;
        words?.addWhole(value);
      } else {
        const plain = this.#plain(stop);
        result += plain;
        words?.add(plain);
      }
    }
    this.#keepsEscapes = outer;
    return result;
  }

  /** A run of characters that mean nothing. */
  #plain(stop: string | undefined): string {
    const start = this.#at;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const character = this.#text[this.#at]!;
      if (character === '$' || character === this.#escape || character === stop) break;
      if (!this.#options.ignoresQuotes && (character === "'" || character === '"')) break;
    }
    return this.#text.slice(start, this.#at);
  }

  #escaped(): string {
    this.#at += 1;
    const kept = this.#keepsEscapes ? this.#escape : '';
    return kept + this.#next();
  }

  /** The next character, whole also where it is two units; '' at the end. */
  #next(): string {
    const point = this.#text.codePointAt(this.#at);
    if (point === undefined) return '';
    const character = String.fromCodePoint(point);
    this.#at += character.length;
    return character;
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) throw broken('unexpected end of statement while looking for matching single-quote');
    const text = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return this.#options.keepsQuotes ? `'${text}'` : text;
  }

  #doubleQuoted(): string {
    const quote = this.#options.keepsQuotes ? '"' : '';
    this.#at += 1;
    let result = quote;
    for (;;) {
      if (result.length > this.#limit) throw broken(`the result is longer than ${this.#limit} characters`);
      const character = this.#text[this.#at];
      if (character === undefined) throw broken('unexpected end of statement while looking for matching double-quote');
      if (character === '$') {
        result += this.#variable();
        continue;
      }
      this.#at += 1;
      if (character === '"') return result + quote;
      const next = this.#text[this.#at];
      if (character !== this.#escape) result += character;
      else if (next !== undefined) {
        if (this.#keepsEscapes) result += character;
        if (next === '"' || next === '$' || next === this.#escape) {
          result += next;
          this.#at += 1;
        } else result += character;
      }
    }
  }

  #variable(): string {
    this.#at += 1;
    if (this.#text[this.#at] !== '{') {
      const name = this.#name();
      if (name === '') return '$';
      const value = this.#value(name);
      return value ?? (this.#options.keepsUnset ? `$${name}` : '');
    }
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw broken(`substitutions nested more than ${MAX_DEPTH} deep`);
    const result = this.#braced();
    this.#depth -= 1;
    return result;
  }

  #braced(): string {
    this.#at += 1;
    const first = this.#text[this.#at];
    if (first === undefined) throw broken("syntax error: missing '}'");
    if (first === '{' || first === '}' || first === ':') throw broken('syntax error: bad substitution');
    const name = this.#name();
    let modifier = this.#next();
    if (modifier === '}') {
      const value = this.#value(name);
      return value ?? (this.#options.keepsUnset ? `\${${name}}` : '');
    }
    if (modifier === '/') return this.#replaced(name);
    const hasColon = modifier === ':';
    if (hasColon) modifier = this.#next();
    const operator = hasColon ? `:${modifier}` : modifier;
    if (modifier === '') throw broken("syntax error: missing '}'");
    if (!'+-?#%'.includes(modifier)) throw broken(`unsupported modifier (${operator}) in substitution`);
    const word = this.#operand('}', modifier === '#' || modifier === '%');
    const value = this.#value(name);
    if (value === undefined && this.#options.keepsUnset) return `\${${name}${operator}${word}}`;
    const isSet = value !== undefined && !(hasColon && value === '');
    switch (modifier) {
      case '-':
        return isSet ? value : word;
      case '+':
        return isSet ? word : '';
      case '?':
        if (isSet) return value;
        throw broken(`${name}: ${word || `is not allowed to be ${value === undefined ? 'unset' : 'empty'}`}`);
      default:
        this.#meterPattern(value, word);
        return trimmed(value ?? '', modifier, word);
    }
  }

  #replaced(name: string): string {
    const isAll = this.#text[this.#at] === '/';
    if (isAll) this.#at += 1;
    const pattern = this.#operand('/', true);
    const replacement = this.#operand('}', true);
    const value = this.#value(name);
    if (value === undefined && this.#options.keepsUnset) return `\${${name}/${pattern}/${replacement}}`;
    // What it would grow to at most is known before it is made.
    if (isAll && (value ?? '').length * (replacement.length + 1) > this.#limit * 16) {
      throw broken(`the result is longer than ${this.#limit} characters`);
    }
    this.#meterPattern(value, pattern);
    return replacePattern(value ?? '', pattern, replacement, isAll ? 'all' : 'first');
  }

  #operand(stop: '/' | '}', keepsEscapes: boolean): string {
    try {
      return this.until(stop, keepsEscapes);
    } catch (error) {
      if (this.#at < this.#text.length) throw error;
      throw broken(`syntax error: missing '${stop}'${stop === '/' ? ' in $' + '{}' : ''}`);
    }
  }

  #value(name: string): string | undefined {
    const value = this.#options.variables.get(name);
    (value === undefined ? this.unset : this.used).add(name);
    this.#options.meter?.(value?.length ?? 0);
    return value;
  }

  #meterPattern(value = '', pattern = ''): void {
    this.#options.meter?.(value.length * (PATTERN_COST + pattern.length * CHARACTER_COST));
  }

  #name(): string {
    namePattern.lastIndex = this.#at;
    const name = namePattern.exec(this.#text)?.[0] ?? '';
    this.#at += name.length;
    return name;
  }
}

/** Digits, one of the shell's special parameters, or a name. */
const namePattern = /\p{Nd}+|[@*#?\-$!]|[\p{L}_][\p{L}\p{Nd}_]*/uy;

function trimmed(value: string, modifier: string, word: string): string {
  const isDouble = word.startsWith(modifier);
  const pattern = isDouble ? word.slice(1) : word;
  const extent = isDouble ? 'longest' : 'shortest';
  return modifier === '#' ? trimPrefix(value, pattern, extent) : trimSuffix(value, pattern, extent);
}
