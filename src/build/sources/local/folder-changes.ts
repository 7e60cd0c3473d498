import { writeSync } from 'node:fs';
import { TareError } from '../../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  changeMode,
  changeModeAt,
  changeOwner,
  changeOwnerAt,
  changeTimes,
  changeTimesAt,
  copyFileRange,
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
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  setXattr,
  setXattrAt,
  statusOf,
  toByteString,
} from '../../../linux/index.ts';
import { removeTreeSync } from '../../../storage/index.ts';
import type { FolderOrder } from './folder-orders.ts';
import type { CheckedEntry } from './sent-entry.ts';

/** Nothing in a kept folder is entered by way of a link, and nothing leads out of it. */
const WITHIN = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
const S_ISGID = 0o2000;
/** Folders kept open: files come from several at once. */
const KEPT_OPEN = 32;

interface OpenFolder {
  fd: number;
  /** What is made in it gets its group. */
  givesGroup: boolean;
}

/** Changes a folder by one system call after the other: for a thread. */
export class FolderChanges implements Disposable {
  readonly #root: OpenFile;
  readonly #from: OpenFile | undefined;
  readonly #folders = new Map<ByteString, OpenFolder>();
  readonly #fromFolders = new Map<ByteString, OpenFolder>();
  readonly #files = new Map<number, { file: OpenFile; entry: CheckedEntry; givesGroup: boolean; offset: number }>();
  readonly #umask = process.umask();

  constructor(target: string, copyFrom: string | undefined) {
    using opening = new DisposableStack();
    this.#root = opening.use(new OpenFile(openAt(AT_FDCWD, toByteString(target), O_DIRECTORY | O_NOFOLLOW)));
    this.#from =
      copyFrom === undefined ? undefined : new OpenFile(openAt(AT_FDCWD, toByteString(copyFrom), O_DIRECTORY));
    opening.move();
  }

  /** @returns bytes that were copied @throws {TareError} Unavailable: no space; what the system call said */
  apply(order: FolderOrder, bytes: Uint8Array): number {
    try {
      return this.#apply(order, bytes);
    } catch (error) {
      const path = 'entry' in order ? order.entry.path : 'path' in order ? order.path : '';
      throw explained(error, path);
    }
  }

  #apply(order: FolderOrder, bytes: Uint8Array): number {
    switch (order.act) {
      case 'remove':
        this.#remove(order.path);
        return 0;
      case 'folder':
        this.#folder(order.entry, order.isThere);
        return 0;
      case 'node':
        this.#node(order.entry);
        return 0;
      case 'file': {
        const { file, givesGroup } = this.#create(order.entry);
        using _closed = file;
        writeWhole(file.fd, bytes, order.start, order.end, 0);
        this.#dress(file.fd, order.entry, givesGroup);
        return 0;
      }
      case 'copy':
        return this.#copy(order.entry);
      case 'begin':
        this.#files.set(order.id, { ...this.#create(order.entry), entry: order.entry, offset: 0 });
        return 0;
      case 'piece': {
        const open = this.#files.get(order.id)!;
        writeWhole(open.file.fd, bytes, order.start, order.end, open.offset);
        open.offset += order.end - order.start;
        return 0;
      }
      case 'end': {
        const { file, entry, givesGroup } = this.#files.get(order.id)!;
        this.#files.delete(order.id);
        using _closed = file;
        this.#dress(file.fd, entry, givesGroup);
        return 0;
      }
      case 'hardlink':
        this.#hardLink(order.path, order.target);
        return 0;
      case 'times': {
        const { parent, name } = this.#place(order.path);
        changeTimesAt(parent.fd, name, order.modifiedNs, order.modifiedNs);
        return 0;
      }
    }
  }

  #remove(path: ByteString): void {
    const { parent, name } = this.#place(path);
    for (const known of this.#folders.keys()) {
      if (known === path || known.startsWith(`${path}/`)) this.#forget(known);
    }
    removeTreeSync(parent.fd, name);
  }

  #folder(entry: CheckedEntry, isThere: boolean): void {
    const { parent, name } = this.#place(entry.path);
    if (!isThere) makeDirectoryAt(parent.fd, name, 0o700);
    using folder = new OpenFile(openAt(parent.fd, name, O_DIRECTORY | O_NOFOLLOW));
    changeOwner(folder.fd, entry.uid, entry.gid);
    changeMode(folder.fd, entry.permissions);
    for (const [key, value] of entry.xattrs) tolerant(() => setXattr(folder.fd, key, value));
    this.#forget(entry.path);
  }

  #node(entry: CheckedEntry): void {
    const { parent, name } = this.#place(entry.path);
    const { type, target, deviceMajor, deviceMinor } = entry;
    if (type === S_IFLNK) makeLinkAt(target!, parent.fd, name);
    else makeNodeAt(parent.fd, name, type | 0o600, makeDevice(deviceMajor, deviceMinor));
    changeOwnerAt(parent.fd, name, entry.uid, entry.gid);
    if (type !== S_IFLNK) {
      using node = new OpenFile(openAt(parent.fd, name, O_PATH | O_NOFOLLOW));
      changeModeAt(-1, `/proc/self/fd/${node.fd}`, entry.permissions);
    }
    for (const [key, value] of entry.xattrs) tolerant(() => setXattrAt(parent.fd, name, key, value));
    changeTimesAt(parent.fd, name, entry.modifiedNs, entry.modifiedNs);
  }

  #create({ path, permissions }: CheckedEntry): { file: OpenFile; givesGroup: boolean } {
    const { parent, name } = this.#place(path);
    const fd = openAt(parent.fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, permissions & 0o777 & ~this.#umask);
    return { file: new OpenFile(fd), givesGroup: parent.givesGroup };
  }

  /** Changing the owner drops capabilities and set-id bits: first. */
  #dress(fd: number, { uid, gid, permissions, xattrs, modifiedNs }: CheckedEntry, givesGroup: boolean): void {
    if (uid !== 0 || gid !== 0 || givesGroup) changeOwner(fd, uid, gid);
    if ((permissions & (0o7000 | this.#umask)) !== 0) changeMode(fd, permissions);
    for (const [key, value] of xattrs) tolerant(() => setXattr(fd, key, value));
    changeTimes(fd, modifiedNs, modifiedNs);
  }

  #copy(entry: CheckedEntry): number {
    const { path } = entry;
    const from = openedIn(this.#fromFolders, this.#from!.fd, parentOf(path));
    // O_NONBLOCK: should the name have become a pipe meanwhile, opening it must not wait.
    using source = new OpenFile(openAt(from.fd, nameOf(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (statusOf(source.fd).type !== S_IFREG)
      throw new TareError('Conflict', `${JSON.stringify(fromByteString(path))} changed while it was read`);
    const { file, givesGroup } = this.#create(entry);
    using _closed = file;
    let offset = 0;
    // What grows meanwhile is cut where it was, as in an archive.
    while (offset < entry.sizeBytes) {
      const copied = copyFileRange(source.fd, offset, file.fd, offset, entry.sizeBytes - offset);
      if (copied === 0) break;
      offset += copied;
    }
    this.#dress(file.fd, entry, givesGroup);
    return offset;
  }

  #hardLink(path: ByteString, target: ByteString): void {
    const { parent, name } = this.#place(path);
    const from = this.#place(target);
    using file = new OpenFile(openAt(from.parent.fd, from.name, O_PATH | O_NOFOLLOW));
    if (statusOf(file.fd).type !== S_IFREG)
      throw new TareError(
        'InvalidArgument',
        `the folder that was sent: ${JSON.stringify(fromByteString(path))}: it is a hard link to what is no file`,
      );
    hardLinkAt(from.parent.fd, from.name, parent.fd, name);
  }

  #place(path: ByteString): { parent: OpenFolder; name: ByteString } {
    return { parent: openedIn(this.#folders, this.#root.fd, parentOf(path)), name: nameOf(path) };
  }

  #forget(path: ByteString): void {
    const known = this.#folders.get(path);
    if (known !== undefined) new OpenFile(known.fd)[Symbol.dispose]();
    this.#folders.delete(path);
  }

  [Symbol.dispose](): void {
    for (const { file } of this.#files.values()) file[Symbol.dispose]();
    for (const folders of [this.#folders, this.#fromFolders]) {
      for (const { fd } of folders.values()) new OpenFile(fd)[Symbol.dispose]();
      folders.clear();
    }
    this.#from?.[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }
}

function openedIn(folders: Map<ByteString, OpenFolder>, rootFd: number, path: ByteString): OpenFolder {
  const known = folders.get(path);
  if (known !== undefined) return known;
  const fd = openAt2(rootFd, path || '.', O_PATH | O_DIRECTORY, WITHIN);
  const opened = { fd, givesGroup: (statusOf(fd).mode & S_ISGID) !== 0 };
  if (folders.size >= KEPT_OPEN) {
    const [oldest, { fd: old }] = folders.entries().next().value!;
    folders.delete(oldest);
    new OpenFile(old)[Symbol.dispose]();
  }
  folders.set(path, opened);
  return opened;
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const nameOf = (path: ByteString): ByteString => path.slice(path.lastIndexOf('/') + 1);

function writeWhole(fd: number, bytes: Uint8Array, start: number, end: number, offset: number): void {
  for (let done = start; done < end; ) done += writeSync(fd, bytes, done, end - done, offset + done - start);
}

/** Attributes that the file system cannot hold stay behind, as with other builders. */
function tolerant(set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!(error instanceof SyscallError && ['EOPNOTSUPP', 'EPERM', 'ENOTSUP'].includes(error.code))) throw error;
  }
}

function explained(error: unknown, path: ByteString): unknown {
  const what = JSON.stringify(fromByteString(path));
  switch ((error as { code?: unknown }).code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TareError('Unavailable', `no space left on device for ${what} of a context: free some and try again`, {
        cause: error,
      });
    case 'ENAMETOOLONG':
      return new TareError('InvalidArgument', `${what}: its name is longer than the file system takes`, {
        cause: error,
      });
    case 'EPERM':
      return new TareError('Unsupported', `${what} of a context cannot be made here: ${String(error)}`, {
        cause: error,
      });
    case 'ELOOP':
    case 'ENOTDIR':
    case 'ENOENT':
    case 'EXDEV':
      return new TareError('InvalidArgument', `${what} of a context is not where it was said to be: ${String(error)}`, {
        cause: error,
      });
    default:
      return error;
  }
}
