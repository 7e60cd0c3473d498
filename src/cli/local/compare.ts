import { Engine } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { configFrom } from './open-engine.ts';

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
  await using engine = await Engine.open(configFrom(globals));
  let lines = '';
  for await (const { kind, path } of engine.compare(before, after)) {
    lines += `${letters[kind]} ${path}\n`;
    if (lines.length < LINES) continue;
    write(lines);
    lines = '';
  }
  write(lines);
}
