import { TareError } from '../errors/index.ts';

const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

const controlKeys = new Map<string, number>([
  ...Array.from({ length: 26 }, (_, index): [string, number] => [String.fromCharCode(97 + index), index + 1]),
  ['@', 0],
  ['[', 27],
  ['\\', 28],
  [']', 29],
  ['^', 30],
  ['_', 31],
]);

/**
 * Bytes of a detach sequence in docker's grammar: keys parted by commas, each one character or `ctrl-` and one of
 * `a-z @ [ \ ] ^ _`.
 *
 * @param text '' is the default
 * @throws {TareError} InvalidArgument
 */
export function parseDetachKeys(text: string): Uint8Array {
  const keys = (text === '' ? DEFAULT_DETACH_KEYS : text).split(',');
  return Uint8Array.from(keys, (key) => {
    const lower = key.toLowerCase();
    const control = lower.startsWith('ctrl-') ? controlKeys.get(lower.slice(5)) : undefined;
    if (control !== undefined) return control;
    const code = key.length === 1 ? key.charCodeAt(0) : 128;
    if (code > 127) {
      throw new TareError(
        'InvalidArgument',
        `Invalid detach keys (${text}) provided: unknown character: '${key}'; want single letters or ctrl-[a-z@[\\]^_], parted by commas`,
      );
    }
    return code;
  });
}

/**
 * Looks for the detach sequence in a client's input. What might be its start is held back until the next byte tells, and
 * passed on when it was not.
 */
export class DetachScanner {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** @returns what to pass on, and whether the sequence was completed; what follows it is dropped */
  scan(chunk: Uint8Array): { pass: Uint8Array; detached: boolean } {
    // Held-back bytes are the keys themselves, so at most that many more come out than went in.
    const out = new Uint8Array(chunk.length + this.#keys.length);
    let length = 0;
    for (const byte of chunk) {
      for (;;) {
        if (byte === this.#keys[this.#matched]) {
          this.#matched += 1;
          if (this.#matched === this.#keys.length) return { pass: out.subarray(0, length), detached: true };
          break;
        }
        if (this.#matched === 0) {
          out[length++] = byte;
          break;
        }
        // Not the sequence after all. Only as much is passed on as can't begin a new one.
        const keep = this.#longestBorder();
        out.set(this.#keys.subarray(0, this.#matched - keep), length);
        length += this.#matched - keep;
        this.#matched = keep;
      }
    }
    return { pass: out.subarray(0, length), detached: false };
  }

  /** Length of the longest proper prefix of the keys that is also the end of what has matched. */
  #longestBorder(): number {
    for (let length = this.#matched - 1; length > 0; length--) {
      const start = this.#matched - length;
      if (this.#keys.subarray(0, length).every((key, index) => key === this.#keys[start + index])) return length;
    }
    return 0;
  }
}
