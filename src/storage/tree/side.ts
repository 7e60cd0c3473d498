import {
  type ByteString,
  type FileStatus,
  getXattrAt,
  listXattrsAt,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  SyscallError,
  statusIfAny,
} from '../../linux/index.ts';
import type { MergedEntry, MergedFolder } from '../layers/merged-folder.ts';
import { Descent } from './descent.ts';

/** Where a name of a tree's current folder can be read: a folder and a path in it that no link can lead away from. */
export interface Place {
  fd: number;
  path: ByteString;
  status: FileStatus;
}

/** One of two trees that are walked side by side. */
export interface TreeSide extends Disposable {
  /** Names in the current folder. */
  names(): ByteString[];
  /** @returns undefined: no such name, or no longer */
  find(name: ByteString): Place | undefined;
  /** @returns false: it is no folder any more */
  enter(name: ByteString): boolean;
  leave(): void;
}

/** Layers as they lie in the store, merged without a mount. They never change. */
export class LayerSide implements TreeSide {
  readonly #folders: { folder: MergedFolder; entries: Map<ByteString, MergedEntry> }[] = [];
  readonly #layers: Disposable;

  /** @param layers what is disposed with this */
  constructor(root: MergedFolder, layers: Disposable) {
    this.#layers = layers;
    this.#open(root);
  }

  names(): ByteString[] {
    return [...this.#entries.keys()];
  }

  find(name: ByteString): Place | undefined {
    const entry = this.#entries.get(name);
    return entry && { fd: entry.layerFd, path: entry.path, status: entry.status };
  }

  enter(name: ByteString): boolean {
    const folder = this.#entries.get(name)?.folder;
    if (folder === undefined) return false;
    this.#open(folder);
    return true;
  }

  leave(): void {
    this.#folders.pop();
  }

  [Symbol.dispose](): void {
    this.#layers[Symbol.dispose]();
  }

  get #entries(): Map<ByteString, MergedEntry> {
    return this.#folders.at(-1)!.entries;
  }

  #open(folder: MergedFolder): void {
    this.#folders.push({ folder, entries: new Map(folder.entries().map((entry) => [entry.name, entry])) });
  }
}

/** A tree that others may be changing, walked by descriptors. */
export class LiveSide implements TreeSide {
  readonly #descent: Descent;
  readonly #root: Disposable & { fd: number };
  readonly #names: ByteString[][];

  /** @param root what is disposed with this */
  constructor(root: Disposable & { fd: number }) {
    this.#root = root;
    this.#descent = new Descent(root.fd);
    this.#names = [namesIn(root.fd)];
  }

  names(): ByteString[] {
    return this.#names.at(-1)!;
  }

  find(name: ByteString): Place | undefined {
    const { fd } = this.#descent;
    const status = statusIfAny(fd, name);
    return status && { fd, path: name, status };
  }

  enter(name: ByteString): boolean {
    try {
      this.#descent.enter(name);
    } catch (error) {
      if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code)) return false;
      throw error;
    }
    this.#names.push(namesIn(this.#descent.fd));
    return true;
  }

  leave(): void {
    this.#names.pop();
    this.#descent.leave();
  }

  [Symbol.dispose](): void {
    this.#descent[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }
}

/** @param fd may be one that only names the folder (O_PATH) */
function namesIn(fd: number): ByteString[] {
  using folder = new OpenFile(openAt(fd, '.', O_RDONLY | O_NOFOLLOW));
  return readDirectory(folder.fd).map(({ name }) => name);
}

/** Opens a file for reading, without waiting should it have become a pipe. */
export const openPlace = ({ fd, path }: Place): number => openAt(fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

export const linkAt = ({ fd, path }: Place): ByteString => readLinkAt(fd, path);

/** The attributes as one text to compare. @param withOverlays overlayfs' own, too: in a layer by itself they mean something */
export function attributesAt({ fd, path }: Pick<Place, 'fd' | 'path'>, withOverlays = false): string {
  return listXattrsAt(fd, path)
    .filter((key) => withOverlays || !/^(trusted|user)\.overlay\./.test(key))
    .sort()
    .map((key) => `${key}=${getXattrAt(fd, path, key)?.toString('hex')}`)
    .join('\n');
}
