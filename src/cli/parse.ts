import { UsageError } from './grammar/usage-error.ts';
import type { Option, Options, Values } from './option.ts';

export interface Parsed<O extends Options> {
  values: Values<O>;
  /** Long names that were given, whatever their value. */
  given: Set<string>;
  args: string[];
}

/**
 * Reads docker's (pflag's) command line grammar: `--name=value`, `--name value`, `-it`, `-p80:80`, `-n=5`, `--` ends options,
 * a bool takes its value only after `=`.
 *
 * @param interspersed false: the first argument ends the options
 * @throws {UsageError}
 */
export function parse<O extends Options>(options: O, argv: readonly string[], interspersed = true): Parsed<O> {
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) values[name] = initial(option);
  const given = new Set<string>();
  const shorts = new Map<string, string>();
  for (const [name, option] of Object.entries(options)) if (option.short) shorts.set(option.short, name);

  const set = (name: string, text: string, flag: string) => {
    given.add(name);
    const option = options[name] as Option;
    if (option.type === 'list') (values[name] as string[]).push(text);
    else values[name] = convert(option, text, flag);
  };

  const args: string[] = [];
  let i = 0;
  for (; i < argv.length; i++) {
    const word = argv[i] as string;
    if (word === '--') {
      args.push(...argv.slice(i + 1));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      if (!interspersed) {
        args.push(...argv.slice(i));
        break;
      }
      args.push(word);
      continue;
    }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const name = word.slice(2, equals < 0 ? undefined : equals);
      const option = Object.hasOwn(options, name) ? options[name] : undefined;
      if (!option) throw new UsageError(`unknown flag: --${name}`);
      if (equals >= 0) set(name, word.slice(equals + 1), `--${name}`);
      else if (option.type === 'bool') set(name, 'true', `--${name}`);
      else if (++i < argv.length) set(name, argv[i] as string, `--${name}`);
      else throw new UsageError(`flag needs an argument: --${name}`);
      continue;
    }
    // A bundle of short options; the first that takes a value takes the rest of the word.
    for (let j = 1; j < word.length; j++) {
      const letter = word[j] as string;
      const name = shorts.get(letter);
      if (!name) throw new UsageError(`unknown shorthand flag: '${letter}' in ${word}`);
      const flag = `-${letter}, --${name}`;
      if (word[j + 1] === '=') {
        set(name, word.slice(j + 2), flag);
        break;
      }
      if ((options[name] as Option).type === 'bool') {
        set(name, 'true', flag);
        continue;
      }
      if (j + 1 < word.length) set(name, word.slice(j + 1), flag);
      else if (++i < argv.length) set(name, argv[i] as string, flag);
      else throw new UsageError(`flag needs an argument: '${letter}' in ${word}`);
      break;
    }
  }
  return { values: values as Values<O>, given, args };
}

function initial(option: Option): unknown {
  if (option.type === 'list') return [];
  return option.default ?? (option.type === 'bool' ? false : undefined);
}

function convert(option: Option, text: string, flag: string): unknown {
  switch (option.type) {
    case 'bool':
      // Go's strconv.ParseBool
      if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
      if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
      throw new UsageError(`invalid argument "${text}" for "${flag}" flag: use true or false`);
    case 'int': {
      const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value))
        throw new UsageError(`invalid argument "${text}" for "${flag}" flag: must be a whole number`);
      return value;
    }
    default:
      return text;
  }
}
