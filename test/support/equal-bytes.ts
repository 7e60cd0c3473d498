import { expect } from 'vitest';

/** Vitest's setup: equal bytes are found equal in microseconds. Element by element, a megabyte takes `toEqual` seconds. */
expect.addEqualityTesters([
  (one: unknown, other: unknown): true | undefined =>
    one instanceof Uint8Array &&
    other instanceof Uint8Array &&
    one.constructor === other.constructor &&
    Buffer.compare(one, other) === 0
      ? true
      : undefined,
]);
