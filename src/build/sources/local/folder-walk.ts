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
  statusIfAny,
  toByteString,
} from '../../../linux/index.ts';
import { type FolderMatch, PatternMatcher } from '../../../storage/index.ts';
import type { FolderFilter, PackedEntry, SentEntry } from '../../session.ts';
import { followLinks } from './follow-links.ts';

/** How long a walk may hold the event loop in one go. */
const SLICE_MS = 8;
const BATCH_ENTRIES = 512;
/** What is told of a file beside its path. */
const STATUS_BYTES = 44;
const SLAB_BYTES = 64 * 1024;

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
 * pass is told of when something in it does. The bytes of an entry are its path and what the kernel says of it, with the time when
 * anything of it changed last, which nobody can set.
 *
 * @throws {TareError} InvalidArgument: a pattern, or a name that is not UTF-8; Conflict: the folder changed under the walk
 */
export async function* walkFolder(
  directory: string,
  filter: FolderFilter,
  signal: AbortSignal,
): AsyncGenerator<readonly PackedEntry[]> {
  using walk = new Walk(directory, filter);
  let until = performance.now() + SLICE_MS;
  for (const batch of walk.batches()) {
    if (batch.length > 0) yield batch;
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
  /** The first name of each file with several, by file system and inode. */
  readonly #links = new Map<string, string>();
  #batch: PackedEntry[] = [];
  /** Names that were looked at since the last batch. */
  #steps = 0;
  /** Bytes of entries, side by side. */
  #slab = Buffer.allocUnsafeSlow(0);
  #used = 0;

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

  /** Some may be empty. While one is looked at, the folders are open that its entries lie in. */
  *batches(): Generator<readonly PackedEntry[]> {
    const top = this.#enter(this.#root.fd, '.', '', undefined, undefined, statusAt(this.#root.fd, '.'));
    top.isTold = true;
    for (let folder = this.#way.at(-1); folder !== undefined; folder = this.#way.at(-1)) {
      const name = folder.names.pop();
      if (name !== undefined) this.#visit(folder, name);
      this.#steps += 1;
      if (name !== undefined && this.#steps < BATCH_ENTRIES) continue;
      yield this.#batch;
      this.#batch = [];
      this.#steps = 0;
      if (name === undefined) this.#way.pop()!.file[Symbol.dispose]();
    }
  }

  #visit(folder: WalkedFolder, name: ByteString): void {
    const status = statusIfAny(folder.file.fd, name);
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
        const { fd } = this.#way[this.#way.indexOf(around) - 1]!.file;
        this.#tell(fd, toByteString(parent), around.path, around.status);
      }
      this.#tell(folder.file.fd, name, path, status);
    }
    if (!isFolder || (!isIncluded && !this.#mayHold(path)) || (isExcluded && this.#exclude?.hasExceptions !== true))
      return;
    try {
      this.#enter(folder.file.fd, name, path, included, excluded, status).isTold = passes;
    } catch (error) {
      // It went away since it was looked at, or something else has its name now.
      if (!isGone(error)) throw error;
    }
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
    const folder: WalkedFolder = { path, status, included, excluded, isTold: false, names: [], file };
    this.#way.push(folder);
    // Taken from the end.
    folder.names = readDirectory(file.fd)
      .map((entry) => entry.name)
      .sort()
      .reverse();
    return folder;
  }

  /** Whether an include pattern may match something in a folder that none matches. */
  #mayHold(path: string): boolean {
    return this.#includeHeads.some(({ head, isWhole }) => {
      if (`${head}/`.startsWith(`${path}/`)) return true;
      return !isWhole && (head === '' || `${path}/`.startsWith(`${head}/`));
    });
  }

  #tell(dirfd: number, name: ByteString, path: string, status: FileStatus): void {
    const linkname = this.#firstName(path, status);
    const bytes = this.#bytesOf(path, status, linkname);
    this.#batch.push({ bytes, unpack: () => this.#entry(dirfd, name, path, status, linkname) });
  }

  /** What an entry is known by from one walk to the next. */
  #bytesOf(path: string, status: FileStatus, linkname = ''): Uint8Array {
    const text = `${path}\0${status.fileSystem}\0${linkname}`;
    const most = STATUS_BYTES + text.length * 3;
    if (this.#used + most > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, most));
      this.#used = 0;
    }
    const [slab, start] = [this.#slab, this.#used];
    slab.writeUInt32LE(status.mode, start);
    slab.writeUInt32LE(status.deviceMajor, start + 4);
    slab.writeUInt32LE(status.deviceMinor, start + 8);
    slab.writeBigUInt64LE(status.inode, start + 12);
    slab.writeDoubleLE(status.sizeBytes, start + 20);
    slab.writeBigInt64LE(status.modifyNs, start + 28);
    slab.writeBigInt64LE(status.changeNs, start + 36);
    this.#used = start + STATUS_BYTES + slab.write(text, start + STATUS_BYTES);
    return slab.subarray(start, this.#used);
  }

  #entry(dirfd: number, name: ByteString, path: string, status: FileStatus, firstName: string | undefined): SentEntry {
    let linkname = firstName;
    let xattrs: SentEntry['xattrs'];
    try {
      if (status.type === S_IFLNK) linkname = textOf(readLinkAt(dirfd, name));
      xattrs = xattrsOf(dirfd, name);
    } catch (error) {
      if (!isGone(error)) throw error;
      throw new TareError('Conflict', `${JSON.stringify(path)} was removed while the folder was read: build again`, {
        cause: error,
      });
    }
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

  /** Of a file with several names, if it is not this one. */
  #firstName(path: string, { type, links, inode, fileSystem }: FileStatus): string | undefined {
    if (type !== S_IFREG || links < 2) return undefined;
    const file = `${fileSystem} ${inode}`;
    const first = this.#links.get(file);
    if (first === undefined) this.#links.set(file, path);
    return first;
  }

  [Symbol.dispose](): void {
    for (const { file } of this.#way) file[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }
}

const isGone = (error: unknown): boolean =>
  error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL'].includes(error.code);

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
