import { TareError } from '../../../errors/index.ts';
import { parseJsonForm } from '../../../image/index.ts';
import { SourceError } from '../../source-error.ts';
import { CommandText } from './command-text.ts';
import { lineRange } from './directives.ts';
import { type HereDocumentStart, hereDocumentsIn } from './here-document.ts';
import type { ArgInstruction, Dockerfile, EscapeCharacter, HereDocument, Instruction, Stage } from './instruction.ts';
import { MAX_FILE_BYTES, MAX_INSTRUCTIONS } from './limits.ts';
import { LineReader } from './line-reader.ts';
import { LogicalLine } from './logical-line.ts';
import { parseInstruction } from './parse-instruction.ts';

const withBodies = ['RUN', 'COPY', 'ADD'];

/**
 * Reads a Dockerfile.
 *
 * @throws {SourceError} InvalidArgument, in BuildKit's words, naming the line, with the ranges of what is wrong
 */
export function parseDockerfile(data: Uint8Array | string): Dockerfile {
  const text = typeof data === 'string' ? data : decode(data);
  if (text.length > MAX_FILE_BYTES) throw whole(`dockerfile of more than ${MAX_FILE_BYTES} bytes`);
  if (text === '') throw whole('the Dockerfile cannot be empty');
  const reader = new LineReader(text);
  const draft = new Draft();
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    draft.add(readInstruction(reader, line), line);
  }
  return draft.finish(reader);
}

/** An instruction that an image has left for what is built on it. @throws {SourceError} it is none, or more than one */
export function parseTrigger(expression: string, escapedBy: EscapeCharacter = '\\'): Instruction {
  const reader = new LineReader(escapedBy === '\\' ? expression : `# escape=${escapedBy}\n${expression}`);
  const line = reader.next();
  if (line === undefined) throw whole('onbuild trigger without an instruction');
  const instruction = readInstruction(reader, line);
  if (instruction.kind === 'from' || reader.next() !== undefined) {
    throw whole(`onbuild trigger should be a single expression: ${JSON.stringify(expression.slice(0, 200))}`);
  }
  return instruction;
}

function decode(data: Uint8Array): string {
  if (data.length > MAX_FILE_BYTES) throw whole(`dockerfile of more than ${MAX_FILE_BYTES} bytes`);
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);
}

function whole(message: string): SourceError {
  return new SourceError('InvalidArgument', message, { ranges: [] });
}

function readInstruction(reader: LineReader, line: LogicalLine): Instruction | Stage {
  const text = new CommandText(line, reader.directives.escape);
  if (canHaveBodies(text)) text.hereDocuments = readBodies(reader, line);
  line.endLine = reader.lastLine;
  return parseInstruction(text);
}

/** ONBUILD's are those of its trigger; a command in JSON form has none. */
function canHaveBodies(text: CommandText): boolean {
  if (!text.line.text.includes('<<')) return false;
  if (text.name === 'ONBUILD') {
    const inner = new LogicalLine([{ text: text.rest, line: 1, character: 0 }], 1, [], false);
    const trigger = new CommandText(inner, text.escape);
    return trigger.name !== 'ONBUILD' && canHaveBodies(trigger);
  }
  return withBodies.includes(text.name) && !isJson(text.rest);
}

function isJson(text: string): boolean {
  try {
    return parseJsonForm(text) !== undefined;
  } catch (error) {
    if (error instanceof TareError) return true;
    throw error;
  }
}

function readBodies(reader: LineReader, line: LogicalLine): HereDocument[] {
  let starts: HereDocumentStart[];
  try {
    starts = hereDocumentsIn(line.text);
  } catch (error) {
    if (error instanceof TareError) throw line.fail(error.message);
    throw error;
  }
  return starts.map((start) => {
    const content = reader.body(start.name, start.isChomped);
    if (content !== undefined) return { ...start, content };
    throw line.fail(`unterminated heredoc: no line ${JSON.stringify(start.name)} follows`, line.text.indexOf('<<'));
  });
}

class Draft {
  readonly #metaArgs: ArgInstruction[] = [];
  readonly #stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  readonly #emptyContinuations: Dockerfile['emptyContinuations'][number][] = [];
  #count = 0;

  add(instruction: Instruction | Stage, line: LogicalLine): void {
    this.#count += 1;
    if (this.#count > MAX_INSTRUCTIONS) throw line.fail(`more than ${MAX_INSTRUCTIONS} instructions`);
    if (line.hasEmptyContinuation) {
      this.#emptyContinuations.push({ ranges: [lineRange(line.endLine)] });
    }
    const stage = this.#stages.at(-1);
    if (instruction.kind === 'from') this.#stages.push({ ...instruction, instructions: [] });
    else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.kind === 'arg') this.#metaArgs.push(instruction);
    else throw line.fail(`no build stage in current context: want FROM before ${instruction.keyword.toUpperCase()}`);
  }

  finish(reader: LineReader): Dockerfile {
    if (this.#count === 0) throw whole('file with no instructions');
    if (this.#stages.length === 0) throw whole('dockerfile contains no stages to build');
    return {
      directives: reader.directives,
      metaArgs: this.#metaArgs,
      stages: this.#stages,
      emptyContinuations: this.#emptyContinuations,
    };
  }
}
