import { TareError } from '../../errors/index.ts';

const MAX_WORDS = 100_000;

/**
 * The strings of a JSON array, or undefined when the text is none: docker then takes it for the shell form.
 * @throws {TareError} InvalidArgument: an array of other things
 */
export function parseJsonForm(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (value.length > MAX_WORDS) {
    throw new TareError('InvalidArgument', `${value.length} words in JSON array syntax: at most ${MAX_WORDS}`);
  }
  if (value.every((item) => typeof item === 'string')) return value;
  throw new TareError('InvalidArgument', 'when using JSON array syntax, arrays must be comprised of strings only');
}
