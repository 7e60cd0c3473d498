import { appendFileSync, closeSync, constants, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { posix } from 'node:path';
import {
  AT_FDCWD,
  changeOwnerAt,
  changeTimesAt,
  fromByteString,
  makeDirectoryAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_IN_ROOT,
  readLinkAt,
  removeDirectoryAt,
  S_IFDIR,
  S_IFREG,
  SyscallError,
  statusAt,
  statusOf,
  toByteString,
  unlinkAt,
} from '../../linux/index.ts';

/** As many links as the kernel follows on one way (path_resolution(7)). */
const MAX_LINKS = 40;
const FOLDER_MODE = 0o755;

/** A place in a root where something is going to be mounted. */
export interface MountTarget {
  /** Absolute, clean. */
  path: string;
  isFile: boolean;
}

interface MadeEntry {
  folder: string;
  name: string;
  isFile: boolean;
  /** When its folder had changed last before it was made, and by its making; undefined: nobody knows. */
  changedNs: bigint;
  madeNs: bigint | undefined;
}

/**
 * Makes what is missing in a root for mounts to lie on, and takes it back afterwards, so that a step's layer shows nothing of it. All
 * paths are resolved inside the root, whatever links lie there. Whoever changed what was made keeps it.
 */
export class MountTargets {
  readonly #root: string;
  readonly #notes: string | undefined;
  readonly #made: MadeEntry[] = [];

  /**
   * @param root a mounted root, in which nothing runs yet
   * @param notes file that names what is about to be made, until it is taken back: for a root that outlives this process
   */
  constructor(root: string, notes?: string) {
    this.#root = root;
    this.#notes = notes;
  }

  /** Makes a place; below another mount it is the runtime's to make. */
  make({ path, isFile }: MountTarget): void {
    this.#create(path, (folder, name, isLast) => {
      const place = { folder: placeOf(folder.fd, this.#root), name, isFile: isLast && isFile };
      const entry: MadeEntry = { ...place, changedNs: statusOf(folder.fd).modifyNs, madeNs: undefined };
      this.#note(entry);
      if (isLast && isFile) {
        closeSync(openAt(folder.fd, name, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644));
      } else makeDirectoryAt(folder.fd, name, FOLDER_MODE);
      entry.madeNs = statusOf(folder.fd).modifyNs;
      this.#note(entry);
      this.#made.push(entry);
    });
  }

  /** Makes a folder that stays, with those on the way to it. */
  makeFolder(path: string, owner: { uid: number; gid: number }): void {
    this.#create(path, (folder, name) => {
      makeDirectoryAt(folder.fd, name, FOLDER_MODE);
      changeOwnerAt(folder.fd, name, owner.uid, owner.gid);
    });
  }

  /**
   * Takes back what was made and is still as it was. Nothing may run in the root any more.
   * @param recursive also folders on the way
   */
  takeBack(recursive: boolean): void {
    let isInner = false;
    for (const entry of this.#made.splice(0).reverse()) {
      // Made for the one after it, which came first now.
      const isOnTheWay = isInner && !recursive;
      isInner = true;
      if (!isOnTheWay) this.#remove(entry);
    }
    if (this.#notes !== undefined) rmSync(this.#notes, { force: true });
  }

  /** Takes back what a process noted that was killed. */
  takeBackNoted(): void {
    this.#made.push(...(this.#notes === undefined ? [] : readNotes(this.#notes)));
    this.takeBack(true);
  }

  #note({ folder, name, isFile, changedNs, madeNs }: MadeEntry): void {
    if (this.#notes === undefined) return;
    const note: Note = [folder, name, isFile, `${changedNs}`, madeNs === undefined ? null : `${madeNs}`];
    appendFileSync(this.#notes, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  }

  #remove({ folder: path, name, isFile, changedNs, madeNs }: MadeEntry): void {
    let folder: OpenFile;
    try {
      folder = this.#open(path, O_PATH | O_DIRECTORY);
    } catch {
      return;
    }
    using _folder = folder;
    try {
      const { type, sizeBytes } = statusAt(folder.fd, name);
      if (isFile ? type !== S_IFREG || sizeBytes > 0 : type !== S_IFDIR) return;
      const { accessNs, modifyNs } = statusOf(folder.fd);
      if (isFile) unlinkAt(folder.fd, name);
      else removeDirectoryAt(folder.fd, name);
      // As if it had never been there, if nothing else was done to the folder.
      changeTimesAt(folder.fd, '.', accessNs, modifyNs === madeNs ? changedNs : modifyNs);
    } catch (error) {
      // Somebody put something there, or removed it himself.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  #create(path: string, make: (folder: OpenFile, name: string, isLast: boolean) => void): void {
    let wanted = path;
    for (let links = 0; links <= MAX_LINKS; links += 1) {
      const { folder, rest } = this.#deepest(wanted);
      using _folder = folder;
      if (rest.length === 0 || folder === undefined) return;
      const target = linkAt(folder.fd, rest[0]!);
      if (target === undefined) {
        makeAll(folder, rest, make);
        return;
      }
      // A link that leads nowhere yet.
      wanted = posix.resolve(placeOf(folder.fd, this.#root), target, ...rest.slice(1));
    }
  }

  /** The deepest folder that there is on the way to a path, and what is missing from there on. */
  #deepest(path: string): { folder: OpenFile | undefined; rest: string[] } {
    const parts = path.split('/').filter((part) => part !== '');
    for (let depth = parts.length; depth >= 0; depth -= 1) {
      const isWhole = depth === parts.length;
      try {
        const flags = isWhole ? O_PATH : O_PATH | O_DIRECTORY;
        const folder = this.#open(`/${parts.slice(0, depth).join('/')}`, flags);
        return { folder, rest: parts.slice(depth) };
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        // ENOTDIR: a file is in the way, of which the runtime will tell.
        if (error.code !== 'ENOENT') return { folder: undefined, rest: [] };
      }
    }
    return { folder: undefined, rest: [] };
  }

  #open(path: string, flags: number): OpenFile {
    return openInRoot(this.#root, path, flags);
  }
}

/** Of an entry, before it is made and once it is. */
type Note = [folder: string, name: string, isFile: boolean, changedNs: string, madeNs: string | null];

function readNotes(path: string): MadeEntry[] {
  const entries = new Map<string, MadeEntry>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const note = noteIn(line);
    // It was cut off, and what it names was not made.
    if (note === undefined) break;
    const [folder, name, isFile, changedNs, madeNs] = note;
    const times = { changedNs: BigInt(changedNs), madeNs: madeNs === null ? undefined : BigInt(madeNs) };
    entries.set(posix.join(folder, name), { folder, name, isFile, ...times });
  }
  return [...entries.values()];
}

function noteIn(line: string): Note | undefined {
  try {
    return JSON.parse(line) as Note;
  } catch {
    return undefined;
  }
}

function makeAll(
  from: OpenFile,
  rest: readonly string[],
  make: (folder: OpenFile, name: string, isLast: boolean) => void,
) {
  using opened = new DisposableStack();
  let folder = from;
  for (const [index, name] of rest.entries()) {
    const isLast = index === rest.length - 1;
    make(folder, toByteString(name), isLast);
    if (!isLast)
      folder = opened.use(new OpenFile(openAt(folder.fd, toByteString(name), O_PATH | O_DIRECTORY | O_NOFOLLOW)));
  }
}

/** @returns undefined: no link */
function linkAt(fd: number, name: string): string | undefined {
  try {
    return fromByteString(readLinkAt(fd, toByteString(name)));
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** Opens a path in a root; links and `..` stay in it. @throws {SyscallError} */
export function openInRoot(root: string, path: string, flags = O_PATH): OpenFile {
  using top = new OpenFile(openAt(AT_FDCWD, toByteString(root), O_PATH | O_DIRECTORY));
  return new OpenFile(openAt2(top.fd, toByteString(path), flags, RESOLVE_IN_ROOT));
}

/** The path in a root, without links, of what is open. */
const placeOf = (fd: number, root: string): string => readlinkSync(`/proc/self/fd/${fd}`).slice(root.length) || '/';
