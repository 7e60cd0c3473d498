import type { PathStat } from '../../../engine/types.ts';
import { timestamp } from './time.ts';

/** Value of the header `X-Docker-Container-Path-Stat`. */
export function pathStatHeader(stat: PathStat): string {
  const document = {
    name: stat.name,
    size: stat.sizeBytes,
    mode: goFileMode(stat.mode),
    mtime: timestamp(stat.modifiedMs),
    linkTarget: stat.linkTarget,
  };
  return Buffer.from(JSON.stringify(document)).toString('base64');
}

const typeBits: Record<number, number> = {
  9604: 2 ** 31, // directory
  21609: 2 ** 27, // symbolic link
  14406: 2 ** 26, // block device
  4802: 2 ** 26 + 2 ** 21, // character device
  2401: 2 ** 25, // named pipe
  26411: 2 ** 24, // socket
  16807: 0,
};

/** st_mode as Go's os.FileMode numbers it. */
export function goFileMode(mode: number): number {
  return (
    (mode & 0o777) +
    (typeBits[mode & 0o170000] ?? 2 ** 19) +
    (mode & 0o4000 ? 2 ** 23 : 0) +
    (mode & 0o2000 ? 2 ** 22 : 0) +
    (mode & 0o1000 ? 2 ** 20 : 0)
  );
}
