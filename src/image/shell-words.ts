import { TareError } from '../errors/index.ts';

const broken = (message: string) => new TareError('InvalidArgument', message);

/** Splits an instruction's arguments at white space outside of quotes. Quotes and escapes stay. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i]!;
    if (character === '\\' && quote !== "'") {
      word += character + (text[i + 1] ?? '');
      i += 1;
    } else if (quote === '' && /\s/.test(character)) {
      if (word !== '') words.push(word);
      word = '';
    } else {
      if (quote === '' && (character === '"' || character === "'")) quote = character;
      else if (character === quote) quote = '';
      word += character;
    }
  }
  if (word !== '') words.push(word);
  return words;
}

/**
 * Removes quotes and escapes from a word and puts variables in: `$A`, `${A}`, `${A:-default}`, `${A:+alternative}`, and
 * both without the colon.
 *
 * @throws {TareError} InvalidArgument: an open quote or brace, another modifier
 * @see Dockerfile reference, "Environment replacement"
 */
export function expandWord(word: string, variables: ReadonlyMap<string, string>): string {
  const expansion = new Expansion(word, variables);
  return expansion.until('');
}

const MAX_DEPTH = 50;

class Expansion {
  readonly #text: string;
  readonly #variables: ReadonlyMap<string, string>;
  #at = 0;
  #depth = 0;

  constructor(text: string, variables: ReadonlyMap<string, string>) {
    this.#text = text;
    this.#variables = variables;
  }

  /** Reads up to a stop character, or to the end for ''. */
  until(stop: string): string {
    let result = '';
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined) {
        if (stop === '') return result;
        throw broken(`syntax error: missing '${stop}' in ${JSON.stringify(this.#text)}`);
      }
      this.#at += 1;
      if (character === stop) return result;
      if (character === "'") result += this.#singleQuoted();
      else if (character === '"') result += this.#doubleQuoted();
      else if (character === '$') result += this.#variable();
      else if (character === '\\') result += this.#text[this.#at++] ?? '\\';
      else result += character;
    }
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at);
    if (end < 0) throw broken('unexpected end of statement while looking for matching single-quote');
    const text = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    return text;
  }

  #doubleQuoted(): string {
    let result = '';
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined) throw broken('unexpected end of statement while looking for matching double-quote');
      this.#at += 1;
      if (character === '"') return result;
      const next = this.#text[this.#at];
      if (character === '$') result += this.#variable();
      else if (character === '\\' && (next === '"' || next === '$' || next === '\\')) {
        result += next;
        this.#at += 1;
      } else result += character;
    }
  }

  #variable(): string {
    if (this.#text[this.#at] !== '{') {
      const name = this.#name();
      return name === '' ? '$' : (this.#variables.get(name) ?? '');
    }
    this.#at += 1;
    const name = this.#name();
    if (name === '') throw broken(`syntax error: bad substitution in ${JSON.stringify(this.#text)}`);
    const next = this.#text[this.#at];
    if (next === '}') {
      this.#at += 1;
      return this.#variables.get(name) ?? '';
    }
    const hasColon = next === ':';
    if (hasColon) this.#at += 1;
    const modifier = this.#text[this.#at];
    if (modifier === undefined) throw broken(`syntax error: missing '}' in ${JSON.stringify(this.#text)}`);
    this.#at += 1;
    if (modifier !== '-' && modifier !== '+') {
      throw broken(`unsupported modifier (${modifier}) in substitution in ${JSON.stringify(this.#text)}`);
    }
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw broken(`substitutions nested more than ${MAX_DEPTH} deep`);
    const word = this.until('}');
    this.#depth -= 1;
    const value = this.#variables.get(name);
    const isSet = value !== undefined && !(hasColon && value === '');
    if (modifier === '-') return isSet ? value : word;
    return isSet ? word : '';
  }

  #name(): string {
    const match = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])/.exec(this.#text.slice(this.#at, this.#at + 4096));
    const name = match?.[0] ?? '';
    this.#at += name.length;
    return name;
  }
}
