import { TareError } from '../../errors/index.ts';

/** What the variables of a file bring into its words, and what its stages have of others; in characters, about. */
const MAX_CHARACTERS = 64 << 20;

/** What an entry of a list or a map takes, and what an instruction or a part of one does that becomes part of the graph. */
export const ENTRY = 16;
export const PART = 256;

/** Told of what is about to be made. @throws {TareError} InvalidArgument: it is too much for one file */
export type ExpansionMeter = (characters: number) => void;

/** For one file: each of its words is bounded, but a variable may be in very many, and a stage begin with very many others. */
export function expansionMeter(): ExpansionMeter {
  let left = MAX_CHARACTERS;
  return (characters) => {
    left -= characters;
    if (left >= 0) return;
    throw new TareError(
      'InvalidArgument',
      `the variables of the file, and what its stages begin with, come to more than ${MAX_CHARACTERS} characters`,
    );
  };
}
