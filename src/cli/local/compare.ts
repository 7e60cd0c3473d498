import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';

const letters = { added: 'A', modified: 'C', deleted: 'D' } as const;
/** Characters gathered before they are written. */
const LINES = 16 * 1024;

/** Writes what the second of two containers or images has more, less and otherwise, a line a path. */
export async function writeComparison(
  globals: GlobalValues,
  before: string,
  after: string,
  write: (text: string) => void,
): Promise<void> {
  await using engine = await openEngineHere(globals);
  let lines = '';
  for await (const { kind, path } of engine.compare(before, after)) {
    lines += `${letters[kind]} ${path}\n`;
    if (lines.length < LINES) continue;
    write(lines);
    lines = '';
  }
  write(lines);
}
