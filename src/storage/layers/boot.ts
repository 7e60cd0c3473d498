import { readFileSync } from 'node:fs';

/** The kernel's name of this boot: what was made during another one may have lost bytes that never reached the disk. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
