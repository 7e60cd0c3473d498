import { TareError } from '../../../errors/index.ts';
import { trim, trimEnd, trimStart } from '../../../image/index.ts';
import type { LineRange } from '../../progress.ts';
import type { Directive, Directives, EscapeCharacter } from './instruction.ts';

type Name = 'syntax' | 'escape' | 'check';
const names: readonly string[] = ['syntax', 'escape', 'check'];

/** One line as a range, the way BuildKit's clients draw it. */
export function lineRange(line: number): LineRange {
  return { start: { line, character: 0 }, end: { line, character: 0 } };
}

/** Reads directives off the first lines of a file; any other line ends them. */
export class DirectiveReader {
  readonly found = new Map<Name, Directive>();
  readonly #comment: string;
  #isDone = false;

  constructor(comment = '#') {
    this.#comment = comment;
  }

  /** @returns the line is one @throws {TareError} InvalidArgument: the same again */
  readLine(text: string, line: number): boolean {
    if (this.#isDone) return false;
    const [, key, rest] = text.startsWith(this.#comment)
      ? (/^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=(.*)$/s.exec(trimStart(text.slice(this.#comment.length))) ?? [])
      : [];
    const name = key?.toLowerCase() ?? '';
    const value = trim(rest ?? '');
    if (!names.includes(name) || value === '') {
      this.#isDone = true;
      return false;
    }
    if (this.found.has(name as Name)) {
      throw new TareError('InvalidArgument', `only one ${name} parser directive can be used`);
    }
    this.found.set(name as Name, { value, ranges: [lineRange(line)] });
    return true;
  }

  /** @throws {TareError} InvalidArgument: not a character that can escape */
  get escape(): EscapeCharacter {
    const value = this.found.get('escape')?.value ?? '\\';
    if (value === '\\' || value === '`') return value;
    throw new TareError('InvalidArgument', `invalid escape token '${value}' does not match \` or \\`);
  }

  get directives(): Directives {
    const syntax = this.found.get('syntax');
    const check = this.found.get('check');
    return {
      escape: this.escape,
      ...(syntax === undefined ? {} : { syntax }),
      ...(check === undefined ? {} : { check }),
    };
  }
}

/** The frontend that a file asks for. */
export interface Syntax {
  /** The image. */
  readonly reference: string;
  /** With what follows it. */
  readonly commandLine: string;
  readonly ranges: readonly LineRange[];
}

/**
 * Which frontend a file wants to be read by: `# syntax=…` or `// syntax=…` on top, below a `#!` line if there is one, or a JSON document
 * with `syntax`. The file may be anything.
 *
 * @param text its beginning is enough but for JSON
 */
export function detectSyntax(text: string): Syntax | undefined {
  const body = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const shebangEnd = body.startsWith('#!') ? `${body}\n`.indexOf('\n') + 1 : 0;
  const rest = body.slice(shebangEnd);
  const firstLine = shebangEnd === 0 ? 1 : 2;
  return directiveIn(rest, '#', firstLine) ?? directiveIn(rest, '//', firstLine) ?? jsonSyntax(rest, firstLine);
}

function directiveIn(text: string, comment: string, firstLine: number): Syntax | undefined {
  const reader = new DirectiveReader(comment);
  let at = 0;
  for (let line = firstLine; at < text.length; line += 1) {
    const lineEnd = text.indexOf('\n', at);
    const end = lineEnd < 0 ? text.length : lineEnd;
    try {
      if (!reader.readLine(trimEnd(text.slice(at, end)), line)) break;
    } catch (error) {
      if (error instanceof TareError) break;
      throw error;
    }
    at = end + 1;
  }
  const syntax = reader.found.get('syntax');
  if (syntax === undefined) return undefined;
  return { reference: syntax.value.split(' ', 1)[0]!, commandLine: syntax.value, ranges: syntax.ranges };
}

function jsonSyntax(text: string, line: number): Syntax | undefined {
  if (!trimStart(text.slice(0, 4096)).startsWith('{')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const syntax = (value as { syntax?: unknown }).syntax;
  if (typeof syntax !== 'string' || syntax === '') return undefined;
  return { reference: syntax, commandLine: syntax, ranges: [lineRange(line)] };
}
