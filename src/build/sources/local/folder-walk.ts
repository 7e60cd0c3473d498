import { setImmediate } from 'node:timers/promises';
import { TareError } from '../../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  type FileStatus,
  fromByteString,
  getXattrAt,
  listXattrsAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  SyscallError,
  statusAt,
  toByteString,
} from '../../../linux/index.ts';
import { type FolderMatch, PatternMatcher } from '../../../storage/index.ts';
import type { FolderFilter, SentEntry } from '../../session.ts';
import { followLinks } from './follow-links.ts';

/** How long a walk may hold the event loop in one go. */
const SLICE_MS = 8;

interface WalkedFolder {
  path: string;
  status: FileStatus;
  included: FolderMatch | undefined;
  excluded: FolderMatch | undefined;
  /** It was told of, because something in it was. */
  isTold: boolean;
  names: ByteString[];
  file: OpenFile;
}

/**
 * The entries of a folder on this machine that a filter lets pass, in the order in which folders are sent. A folder that does not
 * pass is told of when something in it does.
 *
 * @throws {TareError} InvalidArgument: a pattern, or a name that is not UTF-8; Conflict: the folder changed under the walk
 */
export async function* walkFolder(
  directory: string,
  filter: FolderFilter,
  signal: AbortSignal,
): AsyncGenerator<SentEntry> {
  using walk = new Walk(directory, filter);
  let until = performance.now() + SLICE_MS;
  for (const entry of walk.entries()) {
    if (entry !== undefined) yield entry;
    if (performance.now() < until) continue;
    signal.throwIfAborted();
    await setImmediate();
    until = performance.now() + SLICE_MS;
  }
}

class Walk implements Disposable {
  readonly #root: OpenFile;
  readonly #include: PatternMatcher | undefined;
  readonly #includeHeads: readonly { head: string; isWhole: boolean }[];
  readonly #exclude: PatternMatcher | undefined;
  readonly #way: WalkedFolder[] = [];
  /** The first name of each file with several. */
  readonly #links = new Map<bigint, string>();

  constructor(directory: string, { includePatterns = [], excludePatterns = [], followPaths = [] }: FolderFilter) {
    this.#root = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
    try {
      const followed = followPaths.length === 0 ? undefined : followLinks(this.#root.fd, followPaths);
      // With "." among them, all is wanted.
      const includes = followed === 'all' ? [] : [...includePatterns, ...(followed ?? [])];
      this.#include = includes.length === 0 ? undefined : new PatternMatcher(includes);
      this.#includeHeads = includes.map(headOf);
      this.#exclude = excludePatterns.length === 0 ? undefined : new PatternMatcher(excludePatterns);
    } catch (error) {
      this.#root[Symbol.dispose]();
      throw error;
    }
  }

  /** undefined: one that is not sent. */
  *entries(): Generator<SentEntry | undefined> {
    const top = this.#enter(this.#root.fd, '.', '', undefined, undefined, statusAt(this.#root.fd, '.'));
    top.isTold = true;
    for (let folder = this.#way.at(-1); folder !== undefined; folder = this.#way.at(-1)) {
      const name = folder.names.pop();
      if (name === undefined) {
        this.#way.pop()!.file[Symbol.dispose]();
        continue;
      }
      yield* this.#visit(folder, name);
    }
  }

  *#visit(folder: WalkedFolder, name: ByteString): Generator<SentEntry | undefined> {
    const status = statusOf(folder.file.fd, name);
    if (status === undefined || status.type === S_IFSOCK) return;
    const path = folder.path === '' ? textOf(name) : `${folder.path}/${textOf(name)}`;
    const isFolder = status.type === S_IFDIR;
    const included = isFolder ? this.#include?.enter(folder.included, path) : undefined;
    const excluded = isFolder ? this.#exclude?.enter(folder.excluded, path) : undefined;
    const isIncluded = included?.isMatched ?? this.#include?.matchesIn(folder.included, path) ?? true;
    const isExcluded = excluded?.isMatched ?? this.#exclude?.matchesIn(folder.excluded, path) ?? false;
    const passes = isIncluded && !isExcluded;
    if (passes) {
      for (const around of this.#way) {
        if (around.isTold) continue;
        around.isTold = true;
        const parent = around.path.slice(around.path.lastIndexOf('/') + 1);
        yield this.#entry(
          this.#way[this.#way.indexOf(around) - 1]!.file.fd,
          toByteString(parent),
          around.path,
          around.status,
        );
      }
      yield this.#entry(folder.file.fd, name, path, status);
    } else yield undefined;
    if (!isFolder || (!isIncluded && !this.#mayHold(path)) || (isExcluded && this.#exclude?.hasExceptions !== true))
      return;
    const opened = this.#enter(folder.file.fd, name, path, included, excluded, status);
    opened.isTold = passes;
  }

  #enter(
    dirfd: number,
    name: ByteString,
    path: string,
    included: FolderMatch | undefined,
    excluded: FolderMatch | undefined,
    status: FileStatus,
  ): WalkedFolder {
    const file = new OpenFile(openAt(dirfd, name, O_DIRECTORY | O_NOFOLLOW));
    // Taken from the end.
    const names = readDirectory(file.fd)
      .map((entry) => entry.name)
      .sort()
      .reverse();
    const folder: WalkedFolder = { path, status, included, excluded, isTold: false, names, file };
    this.#way.push(folder);
    return folder;
  }

  /** Whether an include pattern may match something in a folder that none matches. */
  #mayHold(path: string): boolean {
    return this.#includeHeads.some(({ head, isWhole }) => {
      if (`${head}/`.startsWith(`${path}/`)) return true;
      return !isWhole && (head === '' || `${path}/`.startsWith(`${head}/`));
    });
  }

  #entry(dirfd: number, name: ByteString, path: string, status: FileStatus): SentEntry {
    const linkname = this.#linkname(dirfd, name, path, status);
    const xattrs = xattrsOf(dirfd, name);
    return {
      path,
      mode: status.mode,
      // Whoever owns a context, in the image it is root's.
      ...{ uid: 0, gid: 0 },
      sizeBytes: status.type === S_IFREG ? status.sizeBytes : 0,
      modifiedNs: status.modifyNs,
      ...(linkname === undefined ? {} : { linkname }),
      ...(status.deviceMajor === 0 && status.deviceMinor === 0
        ? {}
        : { deviceMajor: status.deviceMajor, deviceMinor: status.deviceMinor }),
      ...(xattrs === undefined ? {} : { xattrs }),
    };
  }

  #linkname(dirfd: number, name: ByteString, path: string, { type, links, inode }: FileStatus): string | undefined {
    if (type === S_IFLNK) return textOf(readLinkAt(dirfd, name));
    if (type !== S_IFREG || links < 2) return undefined;
    const first = this.#links.get(inode);
    if (first === undefined) this.#links.set(inode, path);
    return first;
  }

  [Symbol.dispose](): void {
    for (const { file } of this.#way) file[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }
}

/** @returns undefined: it is gone meanwhile */
function statusOf(dirfd: number, name: ByteString): FileStatus | undefined {
  try {
    return statusAt(dirfd, name);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function textOf(name: ByteString): string {
  const text = fromByteString(name);
  if (toByteString(text) === name) return text;
  throw new TareError(
    'InvalidArgument',
    `${JSON.stringify(text)}: the name is not UTF-8: leave it out, by .dockerignore, or rename it`,
  );
}

function xattrsOf(dirfd: number, name: ByteString): Record<string, Uint8Array> | undefined {
  const names = listXattrsAt(dirfd, name);
  if (names.length === 0) return undefined;
  const found = names.map((attribute) => [attribute, getXattrAt(dirfd, name, attribute)] as const);
  return Object.fromEntries(found.filter((pair): pair is [string, Buffer] => pair[1] !== undefined));
}

/** The folders that a pattern begins with, before the first with a wildcard. */
function headOf(pattern: string): { head: string; isWhole: boolean } {
  const parts = pattern
    .replace(/^!/, '')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  const wild = parts.findIndex((part) => /[*?[\\]/.test(part));
  return { head: (wild === -1 ? parts : parts.slice(0, wild)).join('/'), isWhole: wild === -1 };
}
