import { UsageError } from './usage-error.ts';

/**
 * Splits text at white space as a shell does, with its quotation marks and backslashes, and nothing else of it.
 *
 * @throws {UsageError}: a quotation mark that is not closed
 */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== "'" && character === '\\' && at + 1 < text.length) {
      const next = text[++at]!;
      // In double quotes a backslash means something before these alone.
      word = `${word ?? ''}${quote === '"' && !/["\\$`\n]/.test(next) ? '\\' : ''}${next}`;
    } else if (character === quote) quote = '';
    else if (quote !== '') word += character;
    else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (!/\s/.test(character)) word = (word ?? '') + character;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (quote !== '') throw new UsageError(`a quotation mark in ${JSON.stringify(text)} is not closed`);
  return word === undefined ? words : [...words, word];
}

/** `["a", "b"]`, a list of texts as JSON; undefined: it is none. */
export function jsonWords(text: string): string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every((word) => typeof word === 'string') ? list : undefined;
  } catch {
    return undefined;
  }
}
