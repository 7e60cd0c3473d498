import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  changeMode,
  changeModeAt,
  changeOwner,
  changeOwnerAt,
  changeTimes,
  changeTimesAt,
  type FileStatus,
  fromByteString,
  getXattrAt,
  hardLinkAt,
  listXattrsAt,
  makeDevice,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  setXattr,
  setXattrAt,
  statusAt,
  statusIfAny,
  statusOf,
  unlinkAt,
} from '../../linux/index.ts';
import type { FolderMatch, PatternMatcher } from '../patterns/index.ts';
import { copyFile } from '../tree/copy.ts';
import { requirePathLength } from '../tree/descent.ts';
import { removeSteps } from '../tree/remove.ts';
import { joined } from './in-root.ts';
import type { ModeChange } from './mode-change.ts';

/** What copied files get instead of what they have. */
export interface Dress {
  owner: { uid: number; gid: number } | undefined;
  mode: ModeChange | undefined;
  timeNs: bigint | undefined;
}

export interface CopyRules extends Dress {
  include: PatternMatcher | undefined;
  exclude: PatternMatcher | undefined;
  /** Remove what stands in the way, whatever it is. */
  replaces: boolean;
}

/** An entry to be copied, by the open folder that it lies in. */
interface From {
  fd: number;
  name: ByteString;
  /** Beneath the source that was asked for; '' is that itself. */
  path: ByteString;
  include: FolderMatch | undefined;
  exclude: FolderMatch | undefined;
}

/** A folder of the target; one that no pattern takes by itself is made only when something in it is. */
interface Into {
  /** Opens it, making it when that waited. */
  open(): number;
  path: ByteString;
  /** Once it is open: nothing is in it but what was copied from one folder, so that no name is there before it is made. */
  readonly isFresh: boolean;
}

/** Gives a folder its owner, mode and times, once it is filled. */
export type FolderDress = (to: { fd: number; name: ByteString }, isNew: boolean, source: FileStatus) => void;

interface FolderRules {
  /** One that is there gets what the source has. */
  overwritesStatus: boolean;
  dress: FolderDress | undefined;
}

const within: FolderRules = { overwritesStatus: true, dress: undefined };

/**
 * Copies trees as BuildKit's clients expect it (fsutil's copy): a folder merges with one that is there, a file takes the
 * place of a file or a link. Walks both trees by descriptors and follows no link beneath the source and the target.
 */
export class FileCopier {
  readonly #rules: CopyRules;
  /** Where files with several names went. */
  readonly #links = new Map<string, ByteString>();
  readonly #targetFd: number;

  /** @param targetFd root of the target, for hard links */
  constructor(targetFd: number, rules: CopyRules) {
    this.#targetFd = targetFd;
    this.#rules = rules;
  }

  /**
   * Copies one entry under another name.
   * @param to `path` of the new name, from the target's root
   * @param dress for a folder, in the place of giving a new one what the source has
   */
  *copy(
    from: { fd: number; name: ByteString },
    to: { fd: number; name: ByteString; path: ByteString },
    dress?: FolderDress,
  ): Generator<void, void, void> {
    const whole: From = { ...from, path: '', include: undefined, exclude: undefined };
    const into = { open: () => to.fd, path: '', isFresh: false };
    yield* this.#entry(whole, into, to.name, to.path, { overwritesStatus: false, dress });
  }

  *#entry(from: From, into: Into, name: ByteString, path: ByteString, how: FolderRules): Generator<void, void, void> {
    const status = statusAt(from.fd, from.name);
    const { isTaken, isClosed, include, exclude } = this.#match(from);
    requirePathLength(path);
    yield;
    if (status.type === S_IFDIR) {
      if (isClosed) return;
      yield* this.#folder({ ...from, include, exclude }, status, into, name, path, isTaken, how);
      return;
    }
    if (!isTaken) return;
    const to = { fd: into.open(), name };
    if (!into.isFresh) yield* this.#clear(to, path);
    const key = `${status.fileSystem} ${status.inode}`;
    const first = status.links > 1 ? this.#links.get(key) : undefined;
    if (first !== undefined) hardLinkAt(this.#targetFd, first, to.fd, name);
    else {
      if (status.links > 1) this.#links.set(key, path);
      if (status.type === S_IFREG) return yield* this.#file(from, status, to);
      this.#make(from, status, to);
    }
    this.#dress(from, status, to);
  }

  /** By its descriptor, and only what is not so already: most files are root's, and have no attributes. */
  *#file(from: From, { mode: old }: FileStatus, to: { fd: number; name: ByteString }): Generator<void, void, void> {
    const mode = this.#rules.mode?.(old) ?? old & 0o7777;
    const dress = (fd: number, status: FileStatus): void => {
      const made = statusOf(fd);
      const { owner = status } = this.#rules;
      // Changing the owner drops capabilities and set-id bits: first.
      const isOwned = made.uid === owner.uid && made.gid === owner.gid;
      if (!isOwned) changeOwner(fd, owner.uid, owner.gid);
      if ((made.mode & 0o7777) !== mode || !isOwned) changeMode(fd, mode);
      for (const [key, value] of this.#attributes(from)) tolerant(() => setXattr(fd, key, value));
      const { timeNs = status.modifyNs } = this.#rules;
      changeTimes(fd, timeNs, timeNs);
    };
    yield* copyFile(from, to, dress, mode & 0o777);
  }

  #attributes(from: From): [ByteString, Buffer][] {
    return listXattrsAt(from.fd, from.name).flatMap((key): [ByteString, Buffer][] => {
      const value = /^(trusted|user)\.overlay\./.test(key) ? undefined : getXattrAt(from.fd, from.name, key);
      return value === undefined ? [] : [[key, value]];
    });
  }

  *#folder(
    from: From,
    status: FileStatus,
    into: Into,
    name: ByteString,
    path: ByteString,
    isTaken: boolean,
    { overwritesStatus, dress }: FolderRules,
  ): Generator<void, void, void> {
    using own = new DisposableStack();
    let opened: OpenFile | undefined;
    let isNew = false;
    const inner = { open: (): number => open(), path, isFresh: false };
    const open = (): number => {
      if (opened !== undefined) return opened.fd;
      const parent = into.open();
      isNew = this.#makeFolder(parent, name, path);
      inner.isFresh = isNew;
      opened = own.use(new OpenFile(openAt(parent, name, O_DIRECTORY | O_NOFOLLOW)));
      return opened.fd;
    };
    if (isTaken) {
      if (this.#rules.replaces) yield* this.#replace({ fd: into.open(), name });
      open();
    }
    {
      using folder = new OpenFile(openAt(from.fd, from.name, O_DIRECTORY | O_NOFOLLOW));
      const names = readDirectory(folder.fd)
        .map((entry) => entry.name)
        .sort();
      for (const entry of names) {
        const next = { ...from, fd: folder.fd, name: entry, path: joined(from.path, entry) };
        yield* this.#entry(next, inner, entry, joined(path, entry), within);
      }
    }
    // Last, for filling a folder changes its time.
    if (opened === undefined) return;
    const to = { fd: into.open(), name };
    if (dress !== undefined) dress(to, isNew, status);
    else if (isNew || (overwritesStatus && this.#rules.include === undefined)) this.#dress(from, status, to);
  }

  /** @returns false: it is there already @throws {TareError} InvalidArgument: something else is there */
  #makeFolder(fd: number, name: ByteString, path: ByteString): boolean {
    try {
      makeDirectoryAt(fd, name, 0o700);
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'EEXIST')) throw error;
      if (statusAt(fd, name).type === S_IFDIR) return false;
      throw new TareError('InvalidArgument', `cannot copy to non-directory: /${fromByteString(path)}`);
    }
  }

  #match(from: From): {
    isTaken: boolean;
    isClosed: boolean;
    include: FolderMatch | undefined;
    exclude: FolderMatch | undefined;
  } {
    const rules = this.#rules;
    if (from.path === '') return { isTaken: true, isClosed: false, include: undefined, exclude: undefined };
    const path = fromByteString(from.path);
    const included = rules.include?.enter(from.include, path);
    const excluded = rules.exclude?.enter(from.exclude, path);
    const isExcluded = excluded?.isMatched === true;
    return {
      isTaken: included?.isMatched !== false && !isExcluded,
      isClosed: isExcluded && !rules.exclude!.hasExceptions,
      include: included,
      exclude: excluded,
    };
  }

  /** Makes room for what is no folder. */
  *#clear(to: { fd: number; name: ByteString }, path: ByteString): Generator<void, void, void> {
    const there = statusIfAny(to.fd, to.name);
    if (there === undefined) return;
    if (there.type !== S_IFDIR) {
      unlinkAt(to.fd, to.name);
      return;
    }
    if (!this.#rules.replaces) {
      throw new TareError('InvalidArgument', `cannot replace to directory /${fromByteString(path)} with file`);
    }
    yield* removeSteps(to.fd, to.name);
  }

  /** Makes room for a folder, where all that stands in the way may go. */
  *#replace(to: { fd: number; name: ByteString }): Generator<void, void, void> {
    const there = statusIfAny(to.fd, to.name);
    if (there !== undefined && there.type !== S_IFDIR) unlinkAt(to.fd, to.name);
    yield;
  }

  #make(from: From, status: FileStatus, to: { fd: number; name: ByteString }): void {
    if (status.type === S_IFLNK) makeLinkAt(readLinkAt(from.fd, from.name), to.fd, to.name);
    else makeNodeAt(to.fd, to.name, status.type | 0o600, makeDevice(status.deviceMajor, status.deviceMinor));
  }

  /** Owner, mode, attributes and times. Changing the owner drops capabilities and set-id bits: first. */
  #dress(from: From, status: FileStatus, to: { fd: number; name: ByteString }): void {
    const { owner = status } = this.#rules;
    changeOwnerAt(to.fd, to.name, owner.uid, owner.gid);
    if (status.type !== S_IFLNK) {
      using node = new OpenFile(openAt(to.fd, to.name, O_PATH | O_NOFOLLOW));
      const mode = this.#rules.mode?.(status.mode) ?? status.mode & 0o7777;
      changeModeAt(-1, `/proc/self/fd/${node.fd}`, mode);
    }
    for (const [key, value] of this.#attributes(from)) tolerant(() => setXattrAt(to.fd, to.name, key, value));
    const { timeNs = status.modifyNs } = this.#rules;
    changeTimesAt(to.fd, to.name, timeNs, timeNs);
  }
}

/** Attributes that the target's file system cannot hold stay behind. */
function tolerant(set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!(error instanceof SyscallError && /^(EOPNOTSUPP|EPERM)$/.test(error.code))) throw error;
  }
}
