import { posix } from 'node:path';
import {
  fromByteString,
  O_DIRECTORY,
  OpenFile,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  readDirectory,
  readLinkAt,
  S_IFLNK,
  SyscallError,
  statusAt,
  toByteString,
} from '../../../linux/index.ts';
import { compilePathPattern } from '../../../storage/index.ts';

/** Of all links and what they lead to; more are not sent. */
const MAX_PATHS = 10_000;

/**
 * Paths to be sent so that these can be read: each with the links on its way, and what those lead to. Links are read as if the folder
 * were the root, and names may have wildcards.
 *
 * @returns all: the folder itself is among them @see tonistiigi/fsutil, followlinks.go
 */
export function followLinks(rootFd: number, paths: readonly string[]): string[] | 'all' {
  const resolved = new Set<string>();
  const waiting = [...paths].reverse();
  for (let path = waiting.pop(); path !== undefined && resolved.size < MAX_PATHS; path = waiting.pop())
    resolveOne(rootFd, path, resolved, waiting);
  return resolved.has('') ? 'all' : [...resolved].sort();
}

function resolveOne(rootFd: number, path: string, resolved: Set<string>, waiting: string[]): void {
  const parts = posix
    .join('/', path)
    .split('/')
    .filter((part) => part !== '');
  let current = '';
  for (const [index, part] of parts.entries()) {
    current = current === '' ? part : `${current}/${part}`;
    const rest = parts.slice(index + 1).join('/');
    const targets = linksAt(rootFd, current);
    if (targets.length === 0) continue;
    if (resolved.has(current)) return;
    resolved.add(current);
    for (const target of targets) waiting.push(posix.join(target, rest));
    return;
  }
  resolved.add(current);
}

/** Where links of this name lead, as paths from the folder's top. */
function linksAt(rootFd: number, path: string): string[] {
  const slash = path.lastIndexOf('/');
  const [folder, name] = [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
  try {
    const within = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    using opened = new OpenFile(openAt2(rootFd, toByteString(folder || '.'), O_DIRECTORY, within));
    const names = /[*?[]/.test(name)
      ? readDirectory(opened.fd)
          .map((entry) => entry.name)
          .filter((one) => compilePathPattern(name)(fromByteString(one)))
      : [toByteString(name)];
    return names
      .filter((one) => statusAt(opened.fd, one).type === S_IFLNK)
      .map((one) => {
        const target = fromByteString(readLinkAt(opened.fd, one));
        return posix.isAbsolute(target) ? posix.normalize(target) : posix.join('/', folder, target);
      });
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV'].includes(error.code)) return [];
    throw error;
  }
}
