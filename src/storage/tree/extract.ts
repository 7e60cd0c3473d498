import { writeSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  changeMode,
  changeModeAt,
  changeOwner,
  changeOwnerAt,
  changeTimes,
  changeTimesAt,
  fromByteString,
  hardLinkAt,
  makeDevice,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  OpenFile,
  openAt,
  openAt2,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  SyscallError,
  setXattr,
  setXattrAt,
  statusAt,
  statusOf,
  truncate,
} from '../../linux/index.ts';
import { invalidArchive } from '../tar/header.ts';
import type { TarHeader } from '../tar/index.ts';
import type { ByteBudget } from './budget.ts';
import { cleanPath, parentOf } from './path.ts';
import { removeTreeSync } from './remove.ts';

export interface ExtractOptions {
  /** Where entries go, as a path that is resolved inside the root; '' is the root itself. */
  into?: ByteString;
  /** Owner of everything instead of the archive's. */
  owner?: { uid: number; gid: number };
  /** Refuse to put a file where a folder is, and the other way round. */
  noOverwriteDirNonDir?: boolean;
  budget?: ByteBudget;
  /** Sees each entry first with its cleaned path; true: it is dealt with. */
  intercept?: (header: TarHeader, path: ByteString) => boolean;
  /** Learns, at the end, of each folder that entries needed and the archive does not name. */
  onImpliedDirectory?: (path: ByteString) => void;
}

/** A folder's times can be set only when nothing more goes into it. */
interface PendingTimes {
  path: ByteString;
  modifyNs: bigint;
  isImplied: boolean;
}

/** One folder may have several paths, by way of links, and one path several folders, one after the other. */
const identityOf = (fd: number): string => {
  const { fileSystem, inode } = statusOf(fd);
  return `${fileSystem} ${inode}`;
};

/** Set-group-id. */
const S_ISGID = 0o2000;

const isDevice = ({ type }: TarHeader): boolean => type === 'character' || type === 'block';

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SyscallError && codes.includes(error.code);

// Attributes of overlayfs itself: from a foreign archive they could redirect a look-up to elsewhere in the layers.
const isOverlays = (attribute: ByteString): boolean => /^(trusted|user)\.overlay\./.test(attribute);

/**
 * Puts tar entries into a tree, synchronously, one system call after the other.
 *
 * Every path is resolved by the kernel inside the root (openat2 with RESOLVE_IN_ROOT), then only its last component is
 * touched and never followed. So absolute paths, links planted by earlier entries, and links swapped in by a process
 * that lives in the tree lead back into it. Paths whose `..` leave the root are refused.
 */
export class TreeExtractor implements Disposable {
  readonly #rootFd: number;
  readonly #options: ExtractOptions;
  readonly #prefix: ByteString;
  readonly #uid = process.geteuid?.() ?? 0;
  readonly #gid = process.getegid?.() ?? 0;
  /** What the last entry of each folder says, by identity. */
  readonly #times = new Map<string, PendingTimes>();
  readonly #folders = new Set<ByteString>();
  /** The folder of the last entry: tars come in folder order. With its set-group-id bit, what is made in it has its group. */
  #parent: { path: ByteString; fd: number; givesGroup: boolean } | undefined;
  #file: { fd: number; header: TarHeader; end: number } | undefined;

  /** @param rootFd stays the caller's */
  constructor(rootFd: number, options: ExtractOptions = {}) {
    this.#rootFd = rootFd;
    this.#options = options;
    const into = cleanPath(options.into ?? '') ?? '';
    this.#prefix = into === '' ? '' : `${into}/`;
  }

  /** Starts an entry; for a file, `data` and `endEntry` follow. */
  entry(header: TarHeader): void {
    const relative = cleanPath(header.path);
    if (relative === undefined) {
      throw invalidArchive('its path leads out of the root by `..`; archives for containers stay inside', header.path);
    }
    try {
      this.#options.budget?.entry(header);
      if (this.#options.intercept?.(header, relative)) return;
      this.#make(header, this.#prefix + relative);
    } catch (error) {
      throw explain(error, header);
    }
  }

  data(chunk: Uint8Array, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#options.budget?.data(chunk.length, this.#rootFd);
    try {
      for (let done = 0; done < chunk.length; ) {
        done += writeSync(file.fd, chunk, done, chunk.length - done, offset + done);
      }
      file.end = offset + chunk.length;
    } catch (error) {
      throw explain(error, file.header);
    }
  }

  endEntry(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    using open = new OpenFile(file.fd);
    try {
      if (file.end < file.header.sizeBytes) truncate(open.fd, file.header.sizeBytes);
      this.#dress(open.fd, file.header);
    } catch (error) {
      throw explain(error, file.header);
    }
  }

  /** Sets the times of folders: after the last entry. */
  finish(): void {
    for (const path of this.#folders) {
      try {
        using directory = new OpenFile(openAt2(this.#rootFd, path || '.', O_DIRECTORY | O_NOFOLLOW));
        const identity = identityOf(directory.fd);
        const times = this.#times.get(identity);
        if (times === undefined) continue;
        this.#times.delete(identity);
        changeTimes(directory.fd, times.modifyNs, times.modifyNs);
        if (times.isImplied) this.#options.onImpliedDirectory?.(times.path.slice(this.#prefix.length));
      } catch (error) {
        // A later entry put something else there, or on its way: perhaps a link to a name that cannot be.
        if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) throw error;
      }
    }
    this.#times.clear();
    this.#folders.clear();
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) new OpenFile(this.#file.fd)[Symbol.dispose]();
    this.#file = undefined;
    this.#forgetParent();
  }

  /** The open folder of a path inside the root, made with its own parents when it is missing. */
  parent(path: ByteString): number {
    const folder = parentOf(path);
    if (this.#parent?.path === folder) return this.#parent.fd;
    this.#forgetParent();
    const fd = this.#openFolder(folder);
    this.#parent = { path: folder, fd, givesGroup: (statusOf(fd).mode & S_ISGID) !== 0 };
    return fd;
  }

  #forgetParent(): void {
    if (this.#parent !== undefined) new OpenFile(this.#parent.fd)[Symbol.dispose]();
    this.#parent = undefined;
  }

  /** Opens a folder, making what is missing of it. Without recursion: a path may have two thousand parts. */
  #openFolder(path: ByteString): number {
    let existing = path;
    let fd = this.#openExisting(existing);
    while (fd === undefined) {
      if (existing === '') throw invalidArchive('the root is gone', path);
      existing = parentOf(existing);
      fd = this.#openExisting(existing);
    }
    const missing = path
      .slice(existing.length)
      .split('/')
      .filter((part) => part !== '');
    for (const name of missing) {
      using above = new OpenFile(fd);
      existing = existing === '' ? name : `${existing}/${name}`;
      this.#makeImplied(above.fd, name, existing);
      fd = openAt(above.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      this.#remember(fd, { path: existing, modifyNs: 0n, isImplied: true });
    }
    return fd;
  }

  #openExisting(path: ByteString): number | undefined {
    try {
      return openAt2(this.#rootFd, path || '.', O_PATH | O_DIRECTORY);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #makeImplied(dirfd: number, name: ByteString, path: ByteString): void {
    this.#options.budget?.folder(path);
    try {
      makeDirectoryAt(dirfd, name, 0o755);
    } catch (error) {
      if (hasCode(error, 'EEXIST')) throw invalidArchive('a folder on its way is a link that leads nowhere', path);
      throw error;
    }
    const { uid, gid } = this.#options.owner ?? { uid: this.#uid, gid: this.#gid };
    changeOwnerAt(dirfd, name, uid, gid);
    changeModeAt(dirfd, name, 0o755);
  }

  #remember(fd: number, times: PendingTimes): void {
    this.#folders.add(times.path);
    this.#times.set(identityOf(fd), times);
  }

  #make(header: TarHeader, path: ByteString): void {
    if (path === '' || `${path}/` === this.#prefix || path === this.#prefix) {
      this.#forgetParent();
      if (header.type !== 'directory') throw invalidArchive(`a ${header.type} in place of the root`, header.path);
      using root = new OpenFile(openAt2(this.#rootFd, path || '.', O_DIRECTORY));
      this.#dressFolder(root.fd, header, path);
      return;
    }
    const dirfd = this.parent(path);
    const name = path.slice(path.lastIndexOf('/') + 1);
    for (let isRetry = false; ; isRetry = true) {
      try {
        this.#create(header, dirfd, name);
        break;
      } catch (error) {
        // An ordinary user makes no devices: they are left out, as other engines do without root.
        if (isDevice(header) && hasCode(error, 'EPERM')) return;
        if (!hasCode(error, 'EEXIST') || isRetry) throw error;
        if (this.#replace(header, dirfd, name, path)) break;
      }
    }
    if (header.type === 'directory') {
      using folder = new OpenFile(openAt(dirfd, name, O_DIRECTORY | O_NOFOLLOW));
      this.#dressFolder(folder.fd, header, path);
    } else if (header.type !== 'file' && header.type !== 'hardlink') this.#dressAt(dirfd, name, header);
  }

  #create(header: TarHeader, dirfd: number, name: ByteString): void {
    switch (header.type) {
      case 'file': {
        const fd = openAt(dirfd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
        this.#file = { fd, header, end: 0 };
        break;
      }
      case 'directory':
        makeDirectoryAt(dirfd, name, 0o700);
        break;
      case 'link':
        if (header.linkTarget === '') throw invalidArchive('a link without a target', header.path);
        makeLinkAt(header.linkTarget, dirfd, name);
        break;
      case 'hardlink':
        this.#hardLink(header, dirfd, name);
        break;
      case 'fifo':
        makeNodeAt(dirfd, name, S_IFIFO | 0o600, 0n);
        break;
      default: {
        const type = header.type === 'character' ? S_IFCHR : S_IFBLK;
        makeNodeAt(dirfd, name, type | 0o600, makeDevice(header.deviceMajor, header.deviceMinor));
      }
    }
  }

  #hardLink(header: TarHeader, dirfd: number, name: ByteString): void {
    this.#withTarget(header, (folderFd, last) => hardLinkAt(folderFd, last, dirfd, name));
  }

  /** Resolves the target of a hard link up to its last part. @throws {TareError} InvalidArgument: it is no file of the root */
  #withTarget<T>(header: TarHeader, use: (folderFd: number, last: ByteString) => T): T {
    const text = JSON.stringify(fromByteString(header.linkTarget));
    const target = cleanPath(header.linkTarget);
    if (target === undefined || target === '') {
      throw invalidArchive(`a hard link to ${text}, out of the root`, header.path);
    }
    const path = this.#prefix + target;
    try {
      using folder = new OpenFile(openAt2(this.#rootFd, parentOf(path) || '.', O_PATH | O_DIRECTORY));
      return use(folder.fd, path.slice(path.lastIndexOf('/') + 1));
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'EPERM', 'ELOOP')) throw error;
      throw invalidArchive(`a hard link to ${text}, which is no file of this archive`, header.path);
    }
  }

  /** Makes room where something is already. @returns true: nothing is left to create */
  #replace(header: TarHeader, dirfd: number, name: ByteString, path: ByteString): boolean {
    const old = statusAt(dirfd, name);
    const isFolder = old.type === S_IFDIR;
    if (header.type === 'directory' && isFolder) return true;
    if (this.#options.noOverwriteDirNonDir && isFolder !== (header.type === 'directory')) {
      const text = fromByteString(path);
      throw new TareError(
        'InvalidArgument',
        isFolder
          ? `cannot overwrite directory "/${text}" with non-directory`
          : `cannot overwrite non-directory "/${text}" with directory`,
      );
    }
    if (header.type === 'hardlink') {
      // A link to itself must not remove the file first.
      const target = this.#withTarget(header, statusAt);
      if (target.inode === old.inode && target.fileSystem === old.fileSystem && !isFolder) return true;
    }
    removeTreeSync(dirfd, name);
    // What was cached may have been inside.
    if (isFolder && this.#parent !== undefined && `${this.#parent.path}/`.startsWith(`${path}/`)) this.#forgetParent();
    return false;
  }

  /** @returns undefined: what we make is theirs already */
  #owner(header: TarHeader): { uid: number; gid: number } | undefined {
    const owner = this.#options.owner ?? header;
    const isOurs = owner.uid === this.#uid && owner.gid === this.#gid && !this.#parent?.givesGroup;
    return isOurs ? undefined : owner;
  }

  /** Owner, mode, attributes and times of an open file. Changing the owner drops capabilities and set-id bits: first. */
  #dress(fd: number, header: TarHeader): void {
    const owner = this.#owner(header);
    if (owner) changeOwner(fd, owner.uid, owner.gid);
    changeMode(fd, header.mode);
    for (const [key, value] of header.xattrs) this.#attribute(key, () => setXattr(fd, key, value));
    changeTimes(fd, header.modifyNs, header.modifyNs);
  }

  /** The same for a name that is a link or a special file. */
  #dressAt(dirfd: number, name: ByteString, header: TarHeader): void {
    const owner = this.#owner(header);
    if (owner) changeOwnerAt(dirfd, name, owner.uid, owner.gid);
    // Just made by us, with this type; a process that swaps it for a link reaches only what it may change itself.
    if (header.type !== 'link') changeModeNoFollow(dirfd, name, header.mode);
    for (const [key, value] of header.xattrs) this.#attribute(key, () => setXattrAt(dirfd, name, key, value));
    changeTimesAt(dirfd, name, header.modifyNs, header.modifyNs);
  }

  #dressFolder(fd: number, header: TarHeader, path: ByteString): void {
    const { uid, gid } = this.#options.owner ?? header;
    changeOwner(fd, uid, gid);
    changeMode(fd, header.mode);
    for (const [key, value] of header.xattrs) this.#attribute(key, () => setXattr(fd, key, value));
    this.#options.budget?.folder(path);
    this.#remember(fd, { path, modifyNs: header.modifyNs, isImplied: false });
  }

  #attribute(key: ByteString, set: () => void): void {
    if (isOverlays(key)) return;
    try {
      set();
    } catch (error) {
      // The file system (or a link, or a device node) cannot hold it; Docker and containerd go on, too.
      if (!hasCode(error, 'EOPNOTSUPP', 'EPERM')) throw error;
    }
  }
}

/** chmod through an O_PATH descriptor: fchmodat alone would follow a link. */
function changeModeNoFollow(dirfd: number, name: ByteString, mode: number): void {
  using node = new OpenFile(openAt(dirfd, name, O_PATH | O_NOFOLLOW));
  changeModeAt(-1, `/proc/self/fd/${node.fd}`, mode);
}

/** Says what a failed system call means for an archive. */
function explain(error: unknown, header: TarHeader): unknown {
  const code = (error as { code?: unknown }).code;
  const path = JSON.stringify(fromByteString(header.path));
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TareError(
        'Unavailable',
        `no space left on device while unpacking ${path}: free some space and try again`,
        {
          cause: error,
        },
      );
    case 'EINVAL':
      if ((error as { syscall?: unknown }).syscall?.toString().startsWith('fchown') !== true) return error;
      return new TareError(
        'Unsupported',
        `${path} belongs to user ${header.uid} and group ${header.gid}, beyond the ids that this user namespace has: give the user more in /etc/subuid and /etc/subgid, end what runs in his namespaces, and try again`,
        { cause: error },
      );
    case 'EROFS':
      return new TareError('Forbidden', `cannot write ${path}: the file system is read-only`, { cause: error });
    case 'ENOTDIR':
      return invalidArchive('something on its way is not a folder', header.path);
    case 'ELOOP':
      return invalidArchive('the links on its way form a loop', header.path);
    case 'ENAMETOOLONG':
      return invalidArchive('its name is longer than the file system takes', header.path);
    case 'EFBIG':
      return invalidArchive(`a file of ${header.sizeBytes} bytes is larger than the file system takes`, header.path);
    default:
      return error;
  }
}
