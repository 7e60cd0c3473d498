import { expandWord } from '../../image/index.ts';
import type { ExpansionMeter } from './expansion-meter.ts';
import type { EscapeCharacter, Instruction } from './parse/index.ts';

type Variables = ReadonlyMap<string, string>;

/** Puts variables into the words of one Dockerfile. */
export class Words {
  readonly #escape: EscapeCharacter;
  readonly #meter: ExpansionMeter;
  readonly #onUnset: (names: ReadonlySet<string>, env: Variables, at: Instruction) => void;

  /** @param meter also throws @param onUnset told of variables that an instruction names and that have no value */
  constructor(
    escapedBy: EscapeCharacter,
    meter: ExpansionMeter,
    onUnset: (names: ReadonlySet<string>, env: Variables, at: Instruction) => void,
  ) {
    this.#escape = escapedBy;
    this.#meter = meter;
    this.#onUnset = onUnset;
  }

  /** @throws {TareError} InvalidArgument: an open quote or brace, another modifier */
  expand(word: string, env: Variables, at: Instruction): string {
    const { text, unset } = expandWord(word, this.#options(env));
    if (unset.size > 0) this.#onUnset(unset, env, at);
    return text;
  }

  /** Also splits at white space. */
  expandMany(word: string, env: Variables): readonly string[] {
    return expandWord(word, this.#options(env)).words;
  }

  /** Of a here-document: quotes are characters like others. */
  expandDocument(text: string, env: Variables, at: Instruction): string {
    const expanded = expandWord(text, { variables: env, meter: this.#meter, ignoresQuotes: true });
    if (expanded.unset.size > 0) this.#onUnset(expanded.unset, env, at);
    return expanded.text;
  }

  /** For progress: what cannot be expanded is shown as it is written. @param options a command's own quotes and variables stay */
  show(text: string, env: Variables, { isCommand = false }: { isCommand?: boolean } = {}): string {
    try {
      return expandWord(text, { ...this.#options(env), keepsQuotes: isCommand, keepsUnset: isCommand }).text;
    } catch {
      return text;
    }
  }

  #options(variables: Variables) {
    return { variables, escape: this.#escape, meter: this.#meter };
  }
}
