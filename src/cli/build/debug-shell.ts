import { basename } from 'node:path/posix';
import { finished } from 'node:stream/promises';
import type { FailedCommand, RunningStep } from '../../build/index.ts';
import { kindOf } from '../../errors/index.ts';
import { rawMode } from '../terminal.ts';

const SHELL = /^(?:ba|da|a|z|k|fi)?sh$/;
/** Where images have one, in the order in which they are tried after the step's own. */
const places = ['/bin/sh', '/bin/bash', '/busybox/sh'];

/**
 * A shell on our terminal, on the files that a failed command left, until its user leaves it.
 *
 * @returns false: the image has none
 */
export async function debugShell(failed: FailedCommand): Promise<boolean> {
  const shell = await startShell(failed);
  if (shell === undefined) return false;
  const { stdin, stdout } = process;
  using _mode = rawMode();
  const resize = () => shell.resize(stdout.rows, stdout.columns);
  resize();
  stdout.on('resize', resize);
  const type = (keys: Buffer) => void (shell.stdin?.destroyed === false && shell.stdin.write(keys));
  shell.stdin?.on('error', () => {}); // it has ended
  stdin.on('data', type);
  // Who hangs up wants no shell any more.
  const hangUp = () => void shell.kill();
  stdin.once('end', hangUp);
  try {
    shell.stdout.pipe(stdout, { end: false });
    await Promise.all([shell.ended, finished(shell.stdout).catch(() => undefined)]);
    return true;
  } finally {
    stdin.off('data', type);
    stdin.off('end', hangUp);
    stdin.pause();
    stdout.off('resize', resize);
  }
}

async function startShell(failed: FailedCommand): Promise<RunningStep | undefined> {
  const own = failed.args[0] ?? '';
  for (const place of new Set([...(SHELL.test(basename(own)) ? [own] : []), ...places])) {
    try {
      return await failed.start([place], { terminal: true });
    } catch (error) {
      if (!['CommandNotFound', 'NotExecutable'].includes(kindOf(error))) throw error;
    }
  }
  return undefined;
}
