import { readFileSync, writeFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';

/**
 * Sets a sysctl of the calling thread's network namespace; one that the kernel lacks is skipped.
 * @throws {TareError} Unavailable: it cannot be written and has another value
 */
export function setSysctl(name: string, value: string): void {
  const path = `/proc/sys/${name}`;
  try {
    writeFileSync(path, value);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    // Where /proc/sys is read-only, somebody may have set it for us.
    const current = readFileSync(path, 'latin1').trim();
    if (current === value) return;
    const text = `cannot set ${name} to ${value} (it is ${current}): set it with sysctl, or make /proc/sys writable`;
    throw new TareError('Unavailable', text, { cause: error });
  }
}
