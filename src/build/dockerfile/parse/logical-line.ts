import type { LineRange } from '../../progress.ts';
import { SourceError } from '../../source-error.ts';
import { lineRange } from './directives.ts';
import type { EscapeCharacter } from './instruction.ts';

/** An instruction's lines as one. */
export class LogicalLine {
  /** Without comments, empty lines, and the characters that continue it. */
  readonly text: string;
  readonly startLine: number;
  readonly comments: readonly string[];
  readonly hasEmptyContinuation: boolean;
  /** Here-documents end below the line itself. */
  endLine: number;
  readonly #pieces: readonly Piece[];

  constructor(pieces: readonly Piece[], endLine: number, comments: readonly string[], hasEmptyContinuation: boolean) {
    this.text = pieces.map((piece) => piece.text).join('');
    this.startLine = pieces[0]!.line;
    this.endLine = endLine;
    this.comments = comments;
    this.hasEmptyContinuation = hasEmptyContinuation;
    this.#pieces = pieces;
  }

  /** One for each line. */
  get ranges(): LineRange[] {
    return Array.from({ length: this.endLine - this.startLine + 1 }, (_, index) => lineRange(this.startLine + index));
  }

  /**
   * An error about a part of the text, or about the whole instruction.
   * @param offset in characters of the text @param length of the part; a word's if it is not said
   */
  fail(message: string, offset?: number, length?: number): SourceError {
    const text = `dockerfile parse error on line ${this.startLine}: ${message}`;
    if (offset === undefined) return new SourceError('InvalidArgument', text, { ranges: this.ranges });
    const start = this.#positionOf(offset);
    const lineLeft = start.piece.text.length - start.within;
    const word = length ?? /^\S*/.exec(start.piece.text.slice(start.within, start.within + 4096))![0].length;
    const end = { line: start.line, character: start.character + Math.min(word, lineLeft) };
    return new SourceError('InvalidArgument', text, {
      ranges: [{ start: { line: start.line, character: start.character }, end }],
    });
  }

  #positionOf(offset: number): { line: number; character: number; piece: Piece; within: number } {
    let rest = offset;
    for (const piece of this.#pieces) {
      if (rest < piece.text.length || piece === this.#pieces.at(-1)) {
        return { line: piece.line, character: piece.character + rest, piece, within: rest };
      }
      rest -= piece.text.length;
    }
    throw new Error('a logical line has pieces');
  }
}

interface Piece {
  readonly text: string;
  readonly line: number;
  /** Where in the line it begins. */
  readonly character: number;
}

/** Takes off the character that continues a line, and spaces behind it. An escaped one does not continue. */
export function splitContinuation(text: string, by: EscapeCharacter): { text: string; isContinued: boolean } {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\t')) end -= 1;
  const isContinued = text[end - 1] === by && text[end - 2] !== by;
  return { text: isContinued ? text.slice(0, end - 1) : text, isContinued };
}
