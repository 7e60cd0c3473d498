import { expandWord } from '../../image/index.ts';
import type { EscapeCharacter, Instruction } from './parse/index.ts';

type Variables = ReadonlyMap<string, string>;

/** Puts variables into the words of one Dockerfile. */
export class Words {
  readonly #escape: EscapeCharacter;
  readonly #onUnset: (names: ReadonlySet<string>, env: Variables, at: Instruction) => void;

  /** @param onUnset told of variables that an instruction names and that have no value */
  constructor(
    escapedBy: EscapeCharacter,
    onUnset: (names: ReadonlySet<string>, env: Variables, at: Instruction) => void,
  ) {
    this.#escape = escapedBy;
    this.#onUnset = onUnset;
  }

  /** @throws {TareError} InvalidArgument: an open quote or brace, another modifier */
  expand(word: string, env: Variables, at: Instruction): string {
    const { text, unset } = expandWord(word, { variables: env, escape: this.#escape });
    if (unset.size > 0) this.#onUnset(unset, env, at);
    return text;
  }

  /** Also splits at white space. */
  expandMany(word: string, env: Variables): readonly string[] {
    return expandWord(word, { variables: env, escape: this.#escape }).words;
  }

  /** Of a here-document: quotes are characters like others. */
  expandDocument(text: string, env: Variables, at: Instruction): string {
    const expanded = expandWord(text, { variables: env, ignoresQuotes: true });
    if (expanded.unset.size > 0) this.#onUnset(expanded.unset, env, at);
    return expanded.text;
  }

  /** For progress: what cannot be expanded is shown as it is written. @param options a command's own quotes and variables stay */
  show(text: string, env: Variables, { isCommand = false }: { isCommand?: boolean } = {}): string {
    try {
      return expandWord(text, { variables: env, escape: this.#escape, keepsQuotes: isCommand, keepsUnset: isCommand })
        .text;
    } catch {
      return text;
    }
  }
}
