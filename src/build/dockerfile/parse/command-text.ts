import {
  type FlagKind,
  type FlagValues,
  parseJsonForm,
  readFlags,
  splitAtSpaces,
  takeFlags,
  type Word,
  type WrittenFlag,
} from '../../../image/index.ts';
import type { SourceError } from '../../source-error.ts';
import type { EscapeCharacter, HereDocument, Written } from './instruction.ts';
import type { LogicalLine } from './logical-line.ts';

/** An instruction's text in its parts: name, flags, the rest. */
export class CommandText {
  readonly line: LogicalLine;
  /** As it is written. */
  readonly keyword: string;
  readonly escape: EscapeCharacter;
  /** What follows the flags, outer spaces trimmed. */
  readonly rest: string;
  hereDocuments: readonly HereDocument[] = [];
  readonly #flags: readonly WrittenFlag[];
  readonly #argumentsOffset: number;
  readonly #restOffset: number;

  constructor(line: LogicalLine, escapeCharacter: EscapeCharacter) {
    this.line = line;
    this.escape = escapeCharacter;
    const [head, keyword] = /^[\t\v\f\r ]*([^\t\v\f\r ]*)[\t\v\f\r ]*/.exec(line.text)!;
    this.keyword = keyword!;
    this.#argumentsOffset = head.length;
    const { flags, rest, restOffset } = takeFlags(line.text.slice(head.length));
    this.#flags = flags;
    this.rest = rest;
    this.#restOffset = head.length + restOffset;
  }

  get name(): string {
    return this.keyword.toUpperCase();
  }

  /** What follows the name, flags and all. */
  get tail(): string {
    return this.line.text.slice(this.#argumentsOffset);
  }

  get written(): Written {
    return {
      keyword: this.keyword,
      original: this.line.text.trim(),
      ranges: this.line.ranges,
      comments: this.line.comments,
    };
  }

  flags(kinds: Readonly<Record<string, FlagKind>> = {}): FlagValues {
    return readFlags(this.#flags, kinds);
  }

  /** @param offset in characters of `rest` */
  failAt(message: string, offset: number, length?: number): SourceError {
    return this.line.fail(message, this.#restOffset + offset, length);
  }

  failAtFlag(message: string, offset: number): SourceError {
    return this.line.fail(message, this.#argumentsOffset + offset);
  }

  /** The words of a list that is JSON or set apart by spaces. */
  words(): { words: readonly Word[]; isJson: boolean } {
    const list = parseJsonForm(this.rest);
    if (list === undefined) return { words: splitAtSpaces(this.rest), isJson: false };
    return { words: list.map((text) => ({ text, offset: 0 })), isJson: true };
  }
}
