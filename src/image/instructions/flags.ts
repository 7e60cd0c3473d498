import { TareError } from '../../errors/index.ts';
import { withSuggestion } from './suggest.ts';
import { isSpace, trimEnd } from './white-space.ts';

/** A flag of an instruction, quotes and escapes removed: `--name=value`. */
export interface WrittenFlag {
  readonly text: string;
  /** Where it begins, in characters of the text that it was taken from. */
  readonly offset: number;
}

/** An error in a flag, with where the flag begins in the instruction's arguments. */
export class FlagError extends TareError {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super('InvalidArgument', message);
    this.offset = offset;
  }
}

/** Takes the flags off the beginning of an instruction's arguments. `--` ends them. */
export function takeFlags(text: string): { flags: WrittenFlag[]; rest: string; restOffset: number } {
  const flags: WrittenFlag[] = [];
  const end = trimEnd(text).length;
  let at = 0;
  for (;;) {
    while (at < end && isSpace(text[at]!)) at += 1;
    if (!text.startsWith('--', at) || at >= end) break;
    const flag = readFlag(text, at, end);
    at = flag.end;
    if (flag.text === '--') {
      while (at < end && isSpace(text[at]!)) at += 1;
      break;
    }
    flags.push({ text: flag.text, offset: flag.start });
  }
  return { flags, rest: text.slice(at, end), restOffset: at };
}

function readFlag(text: string, start: number, end: number): { text: string; start: number; end: number } {
  let word = '';
  let quote = '';
  let at = start;
  for (; at < end; at += 1) {
    const character = text[at]!;
    if (quote === '' && isSpace(character)) break;
    if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
    else if (character !== '\\') word += character;
    else if (at + 1 < end) {
      at += 1;
      word += text[at]!;
    }
  }
  return { text: word, start, end: at };
}

export type FlagKind = 'boolean' | 'text' | 'list';

/** Values of flags by name: what a boolean says, a text, the texts of a list in order. */
export interface FlagValues {
  isTrue(name: string): boolean | undefined;
  text(name: string): string | undefined;
  list(name: string): readonly WrittenFlag[];
  /** Where a flag that was given begins. */
  offsetOf(name: string): number | undefined;
}

/** @throws {FlagError} an unknown flag, one given twice, a missing or impossible value, in BuildKit's words */
export function readFlags(flags: readonly WrittenFlag[], kinds: Readonly<Record<string, FlagKind>>): FlagValues {
  const values = new Map<string, WrittenFlag[]>();
  for (const flag of flags) {
    const equals = flag.text.indexOf('=');
    const written = equals < 0 ? flag.text : flag.text.slice(0, equals);
    const name = written.slice(2);
    const value = equals < 0 ? undefined : flag.text.slice(equals + 1);
    const fail = (message: string) => new FlagError(message, flag.offset);
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) throw fail(withSuggestion(`unknown flag: ${written}`, name, Object.keys(kinds)));
    const earlier = values.get(name);
    if (earlier !== undefined && kind !== 'list') throw fail(`duplicate flag specified: ${written}`);
    if (kind !== 'boolean' && value === undefined) throw fail(`missing a value on flag: ${written}`);
    if (kind === 'boolean' && value === '') throw fail(`missing a value on flag: ${written}`);
    if (kind === 'boolean' && !/^(true|false)?$/i.test(value ?? '')) {
      throw fail(`expecting boolean value for flag ${written}, not: ${value}`);
    }
    const entry = { text: value ?? 'true', offset: flag.offset };
    if (earlier === undefined) values.set(name, [entry]);
    else earlier.push(entry);
  }
  return {
    isTrue: (name) => {
      const entry = values.get(name)?.[0];
      return entry === undefined ? undefined : entry.text.toLowerCase() === 'true';
    },
    text: (name) => values.get(name)?.[0]?.text,
    list: (name) => values.get(name) ?? [],
    offsetOf: (name) => values.get(name)?.[0]?.offset,
  };
}
