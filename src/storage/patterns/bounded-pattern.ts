import { setFlagsFromString } from 'node:v8';
import { TareError } from '../../errors/index.ts';

/**
 * A regular expression of somebody's, which may have been made to take forever. As Go's, its time grows with expression times text
 * and never faster: V8 has an engine of that kind (its flag `l`), where its usual one can take forever even to begin, which nothing
 * interrupts.
 */
export class BoundedPattern {
  readonly #pattern: RegExp;

  /**
   * @throws {SyntaxError} it is none
   * @throws {TareError} InvalidArgument: it looks around or back, or counts far, and may not end
   */
  constructor(source: string, flags = '') {
    const usual = new RegExp(source, flags);
    this.#pattern = isPlain(source) ? usual : linear(source, flags);
  }

  exec(text: string): RegExpExecArray | null {
    return this.#pattern.exec(text);
  }

  test(text: string): boolean {
    return this.exec(text) !== null;
  }
}

/** With one quantifier and no choices no engine goes back and forth for long. */
const isPlain = (source: string): boolean => !source.includes('|') && (source.match(/[*+?{]/g) ?? []).length < 2;

let isAllowed = false;

/** The flag stays on: V8 ends a process that runs such an expression without it. */
function linear(source: string, flags: string): RegExp {
  if (!isAllowed) setFlagsFromString('--enable-experimental-regexp-engine');
  isAllowed = true;
  try {
    return new RegExp(source, `${flags}l`);
  } catch (error) {
    throw new TareError(
      'InvalidArgument',
      `the pattern ${JSON.stringify(source.slice(0, 200))} may not end: want one without look-around, back references and long counts`,
      { cause: error },
    );
  }
}
