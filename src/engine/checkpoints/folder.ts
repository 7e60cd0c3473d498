import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  fromByteString,
  makeDirectoryAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_NO_SYMLINKS,
  readDirectory,
  renameAt,
  S_IFDIR,
  S_IFREG,
  statusAt,
  statusIfAny,
  statusOf,
  syncFileSystem,
  toByteString,
} from '../../linux/index.ts';
import { containerFolder, type EngineConfig } from '../config.ts';

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const MAX_NAME = 128;
const MAX_FILES = 100_000;
/** Of a file that describes; those that hold memory and files are as large as these are. */
const MAX_DESCRIPTION_BYTES = 64 * 1024 * 1024;
const bulk = /^(pages-\d+\.img|tmpfs-.*\.img|ghost-file-.*\.img|img\.log)$/;
const GROUP_OR_OTHERS_WRITE = 0o022;

/** @throws {TareError} InvalidArgument, in docker's words */
export function checkCheckpointName(name: string): void {
  if (namePattern.test(name) && name.length <= MAX_NAME) return;
  throw new TareError(
    'InvalidArgument',
    `Invalid checkpoint ID (${name.slice(0, MAX_NAME)}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and ${MAX_NAME} characters at most`,
  );
}

/** Where a checkpoint is while it is made or removed: no checkpoint has such a name. */
const unfinished = (name: string): string => `.${name}.part`;

/** The open folder that holds checkpoints, each in a folder of its name. What is done beneath it cannot be led elsewhere. */
export class CheckpointsFolder implements Disposable {
  /** Absolute and without links. */
  readonly path: string;
  readonly #folder: OpenFile;

  private constructor(path: string, folder: OpenFile) {
    this.path = path;
    this.#folder = folder;
  }

  /**
   * @param directory a folder of the user's; undefined: the container's own
   * @returns undefined: there is none, and none is to be made
   * @throws {TareError} InvalidArgument: not absolute, or no folder
   */
  static open(
    config: EngineConfig,
    containerId: string,
    directory: string | undefined,
    options: { create?: boolean } = {},
  ): CheckpointsFolder | undefined {
    const asked = directory ?? join(containerFolder(config, containerId), 'checkpoints');
    if (!isAbsolute(asked) || asked.includes('\0')) {
      throw new TareError(
        'InvalidArgument',
        `invalid checkpoint directory ${JSON.stringify(asked)}: want an absolute path`,
      );
    }
    try {
      if (options.create) mkdirSync(asked, { recursive: true, mode: 0o700 });
      // The user's links are followed once; one that is put there afterwards is not.
      const path = realpathSync(asked);
      const fd = openAt2(AT_FDCWD, toByteString(path), O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
      return new CheckpointsFolder(path, new OpenFile(fd));
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' && !options.create) return undefined;
      throw new TareError('InvalidArgument', `invalid checkpoint directory ${asked}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Whether anything bears this name. */
  has(name: string): boolean {
    return this.#typeOf(name) !== undefined;
  }

  /** Names of folders that a checkpoint could have, ascending. */
  names(): string[] {
    using folder = new OpenFile(openAt(this.#folder.fd, toByteString('.'), O_RDONLY | O_DIRECTORY));
    return readDirectory(folder.fd)
      .map(({ name }) => fromByteString(name))
      .filter((name) => namePattern.test(name) && name.length <= MAX_NAME && this.#typeOf(name) === S_IFDIR)
      .sort();
  }

  /** Makes an empty place for a checkpoint, which gets its name by `publish`. */
  begin(name: string): OpenFile {
    this.removeUnfinished(name);
    makeDirectoryAt(this.#folder.fd, toByteString(unfinished(name)), 0o700);
    return this.#open(unfinished(name));
  }

  /** Syncs what is in the place and gives it its name. @throws {SyscallError} EEXIST: somebody has it */
  async publish(name: string, place: OpenFile): Promise<void> {
    await syncFileSystem(place.fd);
    renameAt(this.#folder.fd, toByteString(unfinished(name)), this.#folder.fd, toByteString(name), { noReplace: true });
    await syncFileSystem(place.fd);
  }

  /**
   * Opens a checkpoint for CRIU, which runs as root and believes what it reads: only what nobody but us can have written.
   *
   * @throws {TareError} NotFound; Forbidden: it is somebody else's, or others may write to it; InvalidArgument: no checkpoint
   */
  checked(name: string, containerName: string): OpenFile {
    if (this.#typeOf(name) === undefined) throw noCheckpoint(name, containerName);
    const refuse = (kind: 'Forbidden' | 'InvalidArgument', why: string): never => {
      throw new TareError(kind, `checkpoint ${this.path}/${name}: ${why}`);
    };
    if (this.#typeOf(name) !== S_IFDIR) refuse('InvalidArgument', 'exists and is not a directory');
    const place = this.#open(name);
    try {
      const isOurs = ({ uid, mode }: { uid: number; mode: number }) =>
        uid === process.getuid!() && (mode & GROUP_OR_OTHERS_WRITE) === 0;
      if (!isOurs(statusOf(place.fd)))
        refuse('Forbidden', 'its folder must belong to root and be writable by nobody else');
      const entries = readDirectory(place.fd).map(({ name: file }) => fromByteString(file));
      if (entries.length > MAX_FILES) refuse('InvalidArgument', `more than ${MAX_FILES} files`);
      if (!entries.includes('inventory.img'))
        refuse('InvalidArgument', 'it has no inventory.img, so it is no checkpoint');
      for (const file of entries) {
        if (file === '.' || file === '..') continue;
        const status = statusAt(place.fd, toByteString(file));
        if (status.type !== S_IFREG) refuse('InvalidArgument', `${file} is not a regular file`);
        if (!isOurs(status)) refuse('Forbidden', `${file} must belong to root and be writable by nobody else`);
        if (!bulk.test(file) && status.sizeBytes > MAX_DESCRIPTION_BYTES) {
          refuse('InvalidArgument', `${file} has ${status.sizeBytes} bytes, more than ${MAX_DESCRIPTION_BYTES}`);
        }
      }
      return place;
    } catch (error) {
      place[Symbol.dispose]();
      throw error;
    }
  }

  /** Takes the name away first, so that no half of it is ever found under it. */
  remove(name: string): void {
    this.removeUnfinished(name);
    renameAt(this.#folder.fd, toByteString(name), this.#folder.fd, toByteString(unfinished(name)), { noReplace: true });
    this.removeUnfinished(name);
  }

  removeUnfinished(name: string): void {
    rmSync(`/proc/self/fd/${this.#folder.fd}/${unfinished(name)}`, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }

  #open(name: string): OpenFile {
    return new OpenFile(openAt(this.#folder.fd, toByteString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  }

  #typeOf(name: string): number | undefined {
    return statusIfAny(this.#folder.fd, toByteString(name))?.type;
  }
}

export const noCheckpoint = (name: string, containerName: string): TareError =>
  new TareError('NotFound', `checkpoint ${name} does not exist for container ${containerName}`);

/** An open folder's path for another program: it stays that folder as long as we have it open. */
export const pathOf = (folder: OpenFile): string => `/proc/${process.pid}/fd/${folder.fd}`;
