import type { ByteString } from '../../linux/index.ts';

/**
 * A path as relative to its root, without `.`, `..` and doubled slashes; '' is the root. Lexical, so that it names an
 * entry; links are the kernel's to resolve.
 *
 * @returns undefined: its `..` lead out of the root
 */
export function cleanPath(path: ByteString): ByteString | undefined {
  // Most paths are clean; looking for a reason to work is quicker than working.
  if (!/^\/|\/\/|(^|\/)\.\.?(\/|$)|\/$/.test(path)) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined && !path.startsWith('/')) return undefined;
  }
  return parts.join('/');
}

/** The folder of a clean path; '' for a name in the root. */
export function parentOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}
