import { lstatSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';

/** An argument of `cp`: a path, in a container when one is named. */
export interface CopyArgument {
  container?: string;
  path: string;
}

/**
 * `CONTAINER:PATH`, or a local path. What begins with a slash or a dot is local, so a local file with a colon in its name is
 * written `./a:b`.
 */
export function splitCopyArgument(text: string): CopyArgument {
  if (text.startsWith('/') || text.startsWith('.')) return { path: text };
  const colon = text.indexOf(':');
  if (colon < 1) return { path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** The folder and the last name of a path; `a/.` has the name `.`, which asks for what is in `a`. */
export function splitEntry(path: string): { folder: string; base: string } {
  const clean = posix.normalize(path).replace(/(.)\/$/, '$1');
  const dotted = asksForContents(path) ? posix.join(clean, 'x').replace(/x$/, '.') : clean;
  return { folder: posix.dirname(dotted), base: posix.basename(dotted) };
}

/** `a/.` or `.` */
export function asksForContents(path: string): boolean {
  return posix.basename(path) === '.' && !path.endsWith('/');
}

/** `a/` or `a/.`: only a folder will do. */
function assertsFolder(path: string): boolean {
  return path.endsWith('/') || asksForContents(path);
}

/** What is copied, or where to. */
export interface CopyEnd {
  path: string;
  exists: boolean;
  isFolder: boolean;
}

/** Where the copy goes: into this folder, under this name. */
export interface Placement {
  folder: string;
  /** The first part of the names in the archive; undefined: it stays what it is. */
  base?: string;
}

/**
 * docker's rules for the destination of `cp`.
 *
 * @throws {TareError} InvalidArgument: a folder onto a file; NotFound: a file into a folder that is not there
 */
export function placeCopy(source: CopyEnd, destination: CopyEnd): Placement {
  const { folder, base } = splitEntry(destination.path);
  if (destination.exists && destination.isFolder) return { folder: destination.path };
  if (destination.exists) {
    if (source.isFolder)
      throw new TareError('InvalidArgument', `cannot copy the folder ${source.path} to the file ${destination.path}`);
    return { folder, base };
  }
  if (source.isFolder) return { folder, base };
  if (assertsFolder(destination.path))
    throw new TareError(
      'NotFound',
      `no such directory: ${destination.path}: make it first, or leave the slash at its end away`,
    );
  return { folder, base };
}

/** @throws {TareError} NotFound: it, or the folder it would be made in, is not there */
export function localDestination(path: string): CopyEnd {
  const existing = statSync(path, { throwIfNoEntry: false });
  if (existing) {
    // What a symbolic link points to is written, not the link.
    const real = realpathSync(path);
    return { path: real, exists: true, isFolder: existing.isDirectory() };
  }
  const link = lstatSync(path, { throwIfNoEntry: false });
  const wanted = link?.isSymbolicLink() ? posix.resolve(posix.dirname(path), readlinkSync(path)) : path;
  const parent = splitEntry(wanted).folder;
  if (!statSync(parent, { throwIfNoEntry: false })?.isDirectory())
    throw new TareError(
      'NotFound',
      `invalid output path: directory ${JSON.stringify(posix.resolve(parent))} does not exist`,
    );
  return { path: wanted, exists: false, isFolder: false };
}

/** @throws {TareError} NotFound; InvalidArgument: `a/` where a is no folder */
export function localSource(path: string, followLink: boolean): { stat: Stats; path: string; base: string } {
  const name = path.replace(/(.)\/+$/, '$1');
  const followed = followLink || assertsFolder(path);
  const stat = (followed ? statSync : lstatSync)(name, { throwIfNoEntry: false });
  if (!stat) throw new TareError('NotFound', `no such file or directory: ${path}`);
  if (assertsFolder(path) && !stat.isDirectory()) throw new TareError('InvalidArgument', `not a directory: ${path}`);
  return {
    stat,
    path: followed ? realpathSync(name) : name,
    base: asksForContents(path) ? '.' : posix.basename(posix.resolve(name)),
  };
}
