import { execFile } from 'node:child_process';
import type { ReadStream } from 'node:tty';

/** Rows and columns of our terminal; undefined when standard output is none. */
export function terminalSize(): [rows: number, columns: number] | undefined {
  if (!process.stdout.isTTY) return undefined;
  return [process.stdout.rows, process.stdout.columns];
}

/**
 * Passes keys on as they are typed until disposed. Node's raw mode leaves the line-end translation of the output on, which breaks
 * programs that move the cursor with a bare line feed, so `stty` turns it off; Node puts everything back.
 */
export function rawMode(): Disposable {
  const input = process.stdin as ReadStream;
  if (!input.isTTY) return { [Symbol.dispose]() {} };
  input.setRawMode(true);
  // Not waited for: it is done long before the program inside writes. Without stty only staircase output may be lost.
  const child = execFile('stty', ['-opost'], () => {});
  child.stdin?.destroy();
  return {
    [Symbol.dispose]() {
      input.setRawMode(false);
    },
  };
}
