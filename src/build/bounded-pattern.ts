import { type Context, createContext, Script } from 'node:vm';
import { TareError } from '../errors/index.ts';

/** What takes longer for one text takes forever: meanwhile all other work would stand still. */
const MAX_MATCHING_MS = 1_000;

const execution = new Script('pattern.exec(text)');
let context: Context | undefined;

/** A regular expression of somebody's, which may have been made to take long. */
export class BoundedPattern {
  readonly #pattern: RegExp;

  /** @throws {SyntaxError} it is none */
  constructor(source: string, flags = '') {
    this.#pattern = new RegExp(source, flags);
  }

  /** @throws {TareError} InvalidArgument: it would not end */
  exec(text: string): RegExpExecArray | null {
    context ??= createContext({});
    Object.assign(context, { pattern: this.#pattern, text });
    try {
      return execution.runInContext(context, { timeout: MAX_MATCHING_MS }) as RegExpExecArray | null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      const shown = JSON.stringify(this.#pattern.source.slice(0, 200));
      throw new TareError('InvalidArgument', `the pattern ${shown} takes too long: want a simpler one`, {
        cause: error,
      });
    } finally {
      Object.assign(context, { pattern: undefined, text: undefined });
    }
  }

  test(text: string): boolean {
    return this.exec(text) !== null;
  }
}
