import type { PathStat } from '../../../engine/index.ts';
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

const typeBits = new Map([
  [0o040000, 2 ** 31], // directory
  [0o120000, 2 ** 27], // symbolic link
  [0o060000, 2 ** 26], // block device
  [0o020000, 2 ** 26 + 2 ** 21], // character device
  [0o010000, 2 ** 25], // named pipe
  [0o140000, 2 ** 24], // socket
  [0o100000, 0],
]);

/** st_mode as Go's os.FileMode numbers it. */
export function goFileMode(mode: number): number {
  return (
    (mode & 0o777) +
    (typeBits.get(mode & 0o170000) ?? 2 ** 19) +
    (mode & 0o4000 ? 2 ** 23 : 0) +
    (mode & 0o2000 ? 2 ** 22 : 0) +
    (mode & 0o1000 ? 2 ** 20 : 0)
  );
}
