import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  O_DIRECTORY,
  O_NOFOLLOW,
  OpenFile,
  openAt,
  statusOf,
} from '../../linux/index.ts';

/** Folders kept open on the way down; those above are closed and found again on the way up. */
const KEPT_OPEN = 32;

/** The kernel takes no longer path (PATH_MAX, with its final NUL), and so does whoever unpacks an archive. */
const MAX_PATH_BYTES = 4095;

interface Level {
  folder: OpenFile | undefined;
  /** File system and inode: what must be found again on the way up. */
  identity: string;
}

/**
 * Where a walk through a tree is. A container may nest folders deeper than any stack or number of descriptors allows, so
 * the way is a list with a few open ends. No link is ever followed.
 */
export class Descent implements Disposable {
  readonly #levels: Level[] = [];
  readonly #rootFd: number;

  /** @param rootFd stays the caller's */
  constructor(rootFd: number) {
    this.#rootFd = rootFd;
  }

  /** Levels below the root. */
  get depth(): number {
    return this.#levels.length;
  }

  /** The folder that the walk is in. */
  get fd(): number {
    return this.#levels.at(-1)?.folder?.fd ?? this.#rootFd;
  }

  /** Goes into a folder of the current one. @throws {SyscallError} ENOENT, ENOTDIR, ELOOP: it is none, or no longer */
  enter(name: ByteString): void {
    const folder = new OpenFile(openAt(this.fd, name, O_DIRECTORY | O_NOFOLLOW));
    this.#levels.push({ folder, identity: identityOf(folder.fd) });
    const distant = this.#levels[this.#levels.length - 1 - KEPT_OPEN];
    distant?.folder?.[Symbol.dispose]();
    if (distant !== undefined) distant.folder = undefined;
  }

  /** Goes back to the folder around the current one. @throws {TareError} Conflict: it was moved meanwhile */
  leave(): void {
    const left = this.#levels.pop();
    using _closed = left?.folder;
    const around = this.#levels.at(-1);
    if (left?.folder === undefined || around === undefined || around.folder !== undefined) return;
    const folder = new OpenFile(openAt(left.folder.fd, '..', O_DIRECTORY | O_NOFOLLOW));
    if (identityOf(folder.fd) !== around.identity) {
      folder[Symbol.dispose]();
      throw new TareError('Conflict', 'a folder was moved while its tree was read: try again when it is at rest');
    }
    around.folder = folder;
  }

  [Symbol.dispose](): void {
    for (const { folder } of this.#levels) folder?.[Symbol.dispose]();
  }
}

function identityOf(fd: number): string {
  const { fileSystem, inode } = statusOf(fd);
  return `${fileSystem} ${inode}`;
}

/** @throws {TareError} InvalidArgument: no archive's reader could make a file of this path */
export function requirePathLength(path: ByteString): void {
  if (path.length <= MAX_PATH_BYTES) return;
  throw new TareError(
    'InvalidArgument',
    `/${fromByteString(path.slice(0, 60))}… is nested too deep: its path has ${path.length} bytes, at most ${MAX_PATH_BYTES} can be unpacked again`,
  );
}
