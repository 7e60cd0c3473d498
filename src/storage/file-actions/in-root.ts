import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  makeDirectoryAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  readLinkAt,
  S_IFLNK,
  SyscallError,
  statusAt,
} from '../../linux/index.ts';
import { cleanPath, parentOf } from '../tree/path.ts';

/** Links on one path before they count as a loop, as many as the kernel follows. */
const LINKS = 40;

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SyscallError && codes.includes(error.code);

/** A path as seen from the root: clean, relative; '' is the root. `..` stops at the root. */
export const fromRoot = (path: ByteString): ByteString => cleanPath(`/${path}`) ?? '';
export const nameOf = (path: ByteString): ByteString => path.slice(path.lastIndexOf('/') + 1);
export const joined = (folder: ByteString, name: ByteString): ByteString =>
  folder === '' ? name : `${folder}/${name}`;

/** What a path leads to, links resolved inside the root; undefined: nothing. */
export function openIfAny(rootFd: number, path: ByteString, flags = 0): OpenFile | undefined {
  try {
    return new OpenFile(openAt2(rootFd, path || '.', O_PATH | flags));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/**
 * Where a path leads to when all links on it are followed inside the root, also the last and those that lead to what is not
 * there: a path without links, as far as it exists.
 * @throws {TareError} InvalidArgument: a loop of links
 */
export function resolved(rootFd: number, path: ByteString): ByteString {
  const waiting = fromRoot(path).split('/').reverse();
  const done: ByteString[] = [];
  let links = 0;
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const target = linkIn(rootFd, done.join('/'), part);
    if (target === undefined) {
      done.push(part);
      continue;
    }
    links += 1;
    if (links > LINKS) throw new TareError('InvalidArgument', `/${fromByteString(path)}: its links form a loop`);
    if (target.startsWith('/')) done.length = 0;
    waiting.push(...target.split('/').reverse());
  }
  return done.join('/');
}

/** @returns undefined: no link, or nothing */
function linkIn(rootFd: number, folder: ByteString, name: ByteString): ByteString | undefined {
  using opened = openIfAny(rootFd, folder, O_DIRECTORY);
  if (opened === undefined) return undefined;
  try {
    return statusAt(opened.fd, name).type === S_IFLNK ? readLinkAt(opened.fd, name) : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Opens a folder by a path inside the root, making what is missing of it.
 * @param made is told of each folder made, outermost first: the folder around it and its name
 */
export function ensureFolder(
  rootFd: number,
  path: ByteString,
  made: (parentFd: number, name: ByteString, path: ByteString) => void,
): OpenFile {
  const goal = resolved(rootFd, path);
  let existing = goal;
  let folder = openFolderIfAny(rootFd, existing);
  while (folder === undefined) {
    existing = parentOf(existing);
    folder = openFolderIfAny(rootFd, existing);
  }
  const missing = goal
    .slice(existing.length)
    .split('/')
    .filter((part) => part !== '');
  for (const name of missing) {
    using around = folder;
    try {
      makeDirectoryAt(around.fd, name, 0o700);
    } catch (error) {
      if (hasCode(error, 'EEXIST')) throw notFolder(joined(existing, name));
      throw error;
    }
    existing = joined(existing, name);
    made(around.fd, name, existing);
    folder = new OpenFile(openAt(around.fd, name, O_DIRECTORY | O_NOFOLLOW));
  }
  return folder;
}

function openFolderIfAny(rootFd: number, path: ByteString): OpenFile | undefined {
  try {
    return new OpenFile(openAt2(rootFd, path || '.', O_DIRECTORY));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'ENOTDIR')) throw notFolder(path);
    throw error;
  }
}

const notFolder = (path: ByteString): TareError =>
  new TareError('InvalidArgument', `mkdir /${fromByteString(path)}: not a directory`);
