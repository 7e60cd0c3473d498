import { isSpace } from './white-space.ts';

/** A word as it is written: quotes and escapes are still in it. */
export interface Word {
  readonly text: string;
  /** Where it begins, in characters of the text that was split. */
  readonly offset: number;
}

/** Splits an instruction's arguments at white space outside of quotes. An escape at the very end is dropped. */
export function splitWords(text: string, escapeCharacter: '\\' | '`' = '\\'): Word[] {
  const words: Word[] = [];
  let start = -1;
  let quote = '';
  const end = (at: number) => {
    if (start >= 0) words.push({ text: text.slice(start, at), offset: start });
    start = -1;
  };
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]!;
    if (quote === '' && isSpace(character)) {
      end(at);
      continue;
    }
    if (character === escapeCharacter && quote !== "'") {
      if (at === text.length - 1) {
        end(at);
        break;
      }
      if (start < 0) start = at;
      at += 1;
      continue;
    }
    if (start < 0) start = at;
    if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
  }
  end(text.length);
  return words;
}

/** The words between white space alone, as FROM, EXPOSE and paths in COPY have them: quotes mean nothing. */
export function splitAtSpaces(text: string): Word[] {
  return [...text.matchAll(/[^\t\v\f\r ]+/g)].map((match) => ({ text: match[0], offset: match.index }));
}
