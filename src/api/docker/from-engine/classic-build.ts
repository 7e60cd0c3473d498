import type { BuildOutcome, InstructionEvent } from '../../../engine/index.ts';
import { kindOf, messageOf } from '../../../errors/index.ts';

export interface ClassicOptions {
  /** Only the image's id, or all that was said when it fails. */
  quiet: boolean;
  /** Containers of steps are removed when all went well. */
  removes: boolean;
  removesAlways: boolean;
  /** Names of the image, as they are shown. */
  tags: readonly string[];
}

/** A document of the stream that docker's classic builder answers with. */
export type ClassicLine =
  | { stream: string }
  | { aux: { ID: string } }
  | { errorDetail: { code?: number; message: string }; error: string };

const COLOURED = '\u001b[91m';
const PLAIN = '\u001b[0m';
const SHORT = 12;

const line = (text: string): ClassicLine => ({ stream: text });

/** Puts what happens in a build in the words of docker's classic builder, which clients read. */
export class ClassicBuild {
  readonly #options: ClassicOptions;
  readonly #decoders = [new TextDecoder(), new TextDecoder()];
  #instructions: readonly string[] = [];
  #unusedArgs: readonly string[] = [];
  #index = 0;
  /** Of the instruction at hand, by the end of which they are said to be removed. */
  #containers: string[] = [];
  #failed: Extract<InstructionEvent, { type: 'failed' }> | undefined;

  constructor(options: ClassicOptions) {
    this.#options = options;
  }

  lines(event: InstructionEvent): ClassicLine[] {
    switch (event.type) {
      case 'plan':
        this.#instructions = event.instructions;
        this.#unusedArgs = event.unusedArgs;
        return [];
      case 'begin':
        this.#index = event.index;
        return [line(`Step ${event.index + 1}/${this.#instructions.length} : ${this.#current()}`), line('\n')];
      case 'triggers':
        return [line(`# Executing ${event.count} build trigger${event.count === 1 ? '' : 's'}`), line('\n')];
      case 'run':
        this.#containers.push(event.id);
        return [line(` ---> Running in ${event.id.slice(0, SHORT)}\n`)];
      case 'output':
        return this.#output(event);
      case 'end':
        return this.#ended(event);
      case 'failed':
        this.#failed = event;
        return this.#options.removesAlways ? this.#removed() : [];
    }
  }

  /** After the last event. */
  success({ imageID }: BuildOutcome): ClassicLine[] {
    if (imageID === undefined) return [];
    if (this.#options.quiet) return [line(`${imageID}\n`)];
    const unused = this.#unusedArgs.join(' ');
    return [
      { aux: { ID: imageID } },
      ...(unused === '' ? [] : [line(`[Warning] One or more build-args [${unused}] were not consumed\n`)]),
      line(`Successfully built ${imageID.replace(/^sha256:/, '').slice(0, SHORT)}\n`),
      ...this.#options.tags.map((tag) => line(`Successfully tagged ${tag}\n`)),
    ];
  }

  failure(error: unknown): ClassicLine {
    const { command, exitCode, transfers = false } = this.#failed ?? {};
    let message = messageOf(error);
    if (command !== undefined && exitCode !== undefined)
      message = `The command '${command}' returned a non-zero code: ${exitCode}`;
    else if (transfers && kindOf(error) === 'NotFound') message = this.#missing(message);
    const detail = exitCode === undefined ? { message } : { code: exitCode, message };
    return { errorDetail: detail, error: message };
  }

  #current(): string {
    return this.#instructions[this.#index] ?? '';
  }

  #missing(why: string): string {
    const text = this.#current();
    const verb = /^\w+/.exec(text)?.[0].toUpperCase() ?? 'COPY';
    const path = /"\/([^"]*)": not found$/.exec(why)?.[1];
    const what = path === undefined ? why : `stat ${path}: file does not exist`;
    const where = / --from=/i.test(text) ? '' : 'file not found in build context or excluded by .dockerignore: ';
    return `${verb} failed: ${where}${what}`;
  }

  #output({ stream, bytes }: Extract<InstructionEvent, { type: 'output' }>): ClassicLine[] {
    const text = this.#decoders[stream - 1]!.decode(bytes, { stream: true });
    if (text === '') return [];
    return [line(stream === 2 ? `${COLOURED}${text}${PLAIN}` : text)];
  }

  #ended({ isCached, id }: Extract<InstructionEvent, { type: 'end' }>): ClassicLine[] {
    if (id === undefined) return [];
    return [
      ...(isCached ? [line(' ---> Using cache\n')] : []),
      ...(this.#options.removes ? this.#removed() : []),
      line(` ---> ${id.slice(0, SHORT)}\n`),
    ];
  }

  #removed(): ClassicLine[] {
    return this.#containers.splice(0).map((id) => line(` ---> Removed intermediate container ${id.slice(0, SHORT)}\n`));
  }
}
