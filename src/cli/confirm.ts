import { createInterface } from 'node:readline';
import type { Context } from './command.ts';

/** Asks before something is removed. Without a terminal nobody can answer: the answer is no. */
export async function confirmed(context: Context, warning: string): Promise<boolean> {
  context.out(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const line of lines) return /^y$/i.test(line.trim());
    context.out('\n');
    return false;
  } finally {
    lines.close();
  }
}
