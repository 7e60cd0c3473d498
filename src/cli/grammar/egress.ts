import { readFileSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';

const MAX_FILE_BYTES = 65_536;

/** Values of `--egress`: rules as they are, and for `file=PATH` what stands in that file, which is ours and not the daemon's. */
export function readEgress(values: readonly string[]): string[] {
  return values.map((value) => (value.startsWith('file=') ? readRules(value.slice('file='.length)) : value));
}

/** @throws {TareError} InvalidArgument: it cannot be read, or is too large */
function readRules(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new TareError('InvalidArgument', `cannot read the egress policy ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (text.length <= MAX_FILE_BYTES) return text;
  throw new TareError(
    'InvalidArgument',
    `the egress policy ${path} is too large: at most ${MAX_FILE_BYTES} characters`,
  );
}
