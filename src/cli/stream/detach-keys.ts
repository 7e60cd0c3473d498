import { TareError } from '../../errors/index.ts';

/**
 * Finds the keys that detach in what the user types. Keys that may be the beginning of them are held back, and sent when the next
 * key shows that they are not.
 */
export class DetachKeys {
  readonly #keys: Uint8Array;
  #matched = 0;
  /** All of them were typed. */
  detached = false;

  /** @param notation `ctrl-p,ctrl-q` or `a,b`; '' is the default. @throws {TareError} InvalidArgument */
  constructor(notation: string) {
    this.#keys = parseKeys(notation || 'ctrl-p,ctrl-q');
  }

  /** @returns what to pass on */
  filter(typed: Uint8Array): Uint8Array {
    const passed: number[] = [];
    for (const key of typed) {
      if (this.detached) break;
      if (key !== this.#keys[this.#matched]) {
        passed.push(...this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (key === this.#keys[this.#matched]) this.detached = ++this.#matched === this.#keys.length;
      else passed.push(key);
    }
    return Uint8Array.from(passed);
  }
}

/** docker's notation of keys as bytes. @throws {TareError} InvalidArgument */
export function parseKeys(notation: string): Uint8Array {
  const keys = notation.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const letter = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
    if (letter === undefined)
      throw new TareError(
        'InvalidArgument',
        `invalid detach keys ${JSON.stringify(notation)}: ${JSON.stringify(key)} is neither one character nor ctrl- and one of a-z @ [ \\ ] ^ _`,
      );
    return letter === '@' ? 0 : letter.toUpperCase().charCodeAt(0) - 64;
  });
  if (keys.some((key) => key > 127))
    throw new TareError('InvalidArgument', `invalid detach keys ${JSON.stringify(notation)}: only ASCII`);
  return Uint8Array.from(keys);
}
