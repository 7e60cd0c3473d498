import { TareError } from '../../../errors/index.ts';
import { trim, trimStart } from '../../../image/index.ts';
import { SourceError } from '../../source-error.ts';
import { DirectiveReader, lineRange } from './directives.ts';
import type { Directives } from './instruction.ts';
import { MAX_LINE_BYTES, MAX_LINES } from './limits.ts';
import { LogicalLine, splitContinuation } from './logical-line.ts';

/** Reads a Dockerfile's lines: directives, comments, continued lines, bodies of here-documents. */
export class LineReader {
  readonly #text: string;
  readonly #directives = new DirectiveReader();
  #at: number;
  /** Lines read. */
  #line = 0;
  #comments: string[] = [];

  constructor(text: string) {
    this.#text = text;
    this.#at = text.startsWith('\uFEFF') ? 1 : 0;
  }

  /** Of the lines read so far. */
  get directives(): Directives {
    return this.#located(() => this.#directives.directives);
  }

  get lastLine(): number {
    return this.#line;
  }

  /** The next instruction's text. @throws {SourceError} a directive that is wrong, a line that is too long */
  next(): LogicalLine | undefined {
    for (;;) {
      const raw = this.#readLine();
      if (raw === undefined) return undefined;
      const line = withoutEnd(raw);
      const trimmed = trimStart(line);
      const isDirective = this.#located(() => this.#readDirective(trimmed));
      if (trimmed.startsWith('#')) this.#addComment(isDirective ? '' : trimmed);
      else if (trimmed === '') this.#comments = [];
      else return this.#join(trimmed, line.length - trimmed.length);
    }
  }

  /** A here-document's lines up to its end. @returns undefined: the file ends before */
  body(name: string, isChomped: boolean): string | undefined {
    const lines: string[] = [];
    for (;;) {
      const raw = this.#readLine();
      if (raw === undefined) return undefined;
      const line = withoutEnd(raw);
      if ((isChomped ? line.replace(/^\t+/, '') : line) === name) return lines.join('');
      lines.push(raw);
    }
  }

  /** Looks at once whether the escape character is one, while its line is known. */
  #readDirective(text: string): boolean {
    return this.#directives.readLine(text, this.#line) && this.#directives.escape !== undefined;
  }

  #addComment(text: string): void {
    const comment = trim(text.slice(1));
    if (comment === '') this.#comments = [];
    else this.#comments.push(comment);
  }

  #join(first: string, character: number): LogicalLine {
    const continues = this.directives.escape;
    const startLine = this.#line;
    let part = splitContinuation(first, continues);
    const pieces = [{ text: part.text, line: startLine, character }];
    let hasEmptyContinuation = false;
    while (part.isContinued) {
      const raw = this.#readLine();
      if (raw === undefined) break;
      const line = withoutEnd(raw);
      const trimmed = trimStart(line);
      if (trimmed.startsWith('#')) continue;
      if (trimmed === '') {
        hasEmptyContinuation = true;
        continue;
      }
      part = splitContinuation(line, continues);
      pieces.push({ text: part.text, line: this.#line, character: 0 });
    }
    const comments = this.#comments;
    this.#comments = [];
    return new LogicalLine(pieces, this.#line, comments, hasEmptyContinuation);
  }

  /** With its end. */
  #readLine(): string | undefined {
    if (this.#at >= this.#text.length) return undefined;
    const lineEnd = this.#text.indexOf('\n', this.#at);
    const end = lineEnd < 0 ? this.#text.length : lineEnd + 1;
    const line = this.#text.slice(this.#at, end);
    this.#at = end;
    this.#line += 1;
    if (this.#line > MAX_LINES) throw this.#fail(`dockerfile of more than ${MAX_LINES} lines`);
    if (line.length * 3 > MAX_LINE_BYTES && Buffer.byteLength(line) > MAX_LINE_BYTES) {
      throw this.#fail(`dockerfile line greater than max allowed size of ${MAX_LINE_BYTES}`);
    }
    return line;
  }

  #located<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (error instanceof TareError) throw this.#fail(error.message);
      throw error;
    }
  }

  #fail(message: string): SourceError {
    const text = `dockerfile parse error on line ${this.#line}: ${message}`;
    return new SourceError('InvalidArgument', text, { ranges: [lineRange(this.#line)] });
  }
}

function withoutEnd(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === '\n' || line[end - 1] === '\r')) end -= 1;
  return line.slice(0, end);
}
