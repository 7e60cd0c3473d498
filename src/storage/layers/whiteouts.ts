import {
  type ByteString,
  type FileStatus,
  getXattrAt,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  OpenFile,
  openAt2,
  S_IFCHR,
  SyscallError,
  setXattr,
  statusAt,
  unlinkAt,
} from '../../linux/index.ts';
import { invalidArchive } from '../tar/header.ts';
import type { TarHeader } from '../tar/index.ts';
import type { TreeExtractor } from '../tree/extract.ts';
import { cleanPath, parentOf } from '../tree/path.ts';

/** How overlayfs marks a folder that hides the same folder below; user.* inside a user namespace. */
export const opaqueAttribute = (userXattrs: boolean): ByteString =>
  userXattrs ? 'user.overlay.opaque' : 'trusted.overlay.opaque';

/** overlayfs' whiteout: a character device 0:0. */
export const isWhiteout = (status: FileStatus): boolean =>
  status.type === S_IFCHR && status.deviceMajor === 0 && status.deviceMinor === 0;

export const isOpaque = (dirfd: number, name: ByteString, attribute: ByteString): boolean =>
  getXattrAt(dirfd, name, attribute)?.toString('latin1') === 'y';

/** A tar's entry of this name deletes what lower layers have under the rest of it. */
export const WHITEOUT_PREFIX = '.wh.';
const isAbsent = (error: unknown): boolean =>
  error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP|ENAMETOOLONG)$/.test(error.code);

const PREFIX = WHITEOUT_PREFIX;
/** A tar's entry of this name makes the folder that it lies in hide all that lower layers have there. */
export const OPAQUE_WHITEOUT = '.wh..wh..opq';
const AUFS = '.wh..wh.';

/**
 * Turns the whiteouts of a layer's tar (image-spec, layer.md, "Representing Changes") into overlayfs' own while the
 * layer is unpacked. A whiteout hides only lower layers: what the same tar holds under that name stays, and a folder of
 * that name becomes opaque.
 */
export class WhiteoutTranslator {
  readonly #rootFd: number;
  readonly #opaque: ByteString;
  /** Whiteouts made so far. */
  readonly #whiteouts = new Set<ByteString>();
  /** Names that a whiteout hides below and this layer has by itself: as folders, they are in place of what was below. */
  readonly replaced = new Set<ByteString>();

  constructor(rootFd: number, userXattrs: boolean) {
    this.#rootFd = rootFd;
    this.#opaque = opaqueAttribute(userXattrs);
  }

  /** @returns true: the entry was a whiteout and needs nothing more */
  take(header: TarHeader, path: ByteString, extractor: TreeExtractor): boolean {
    const base = path.slice(path.lastIndexOf('/') + 1);
    if (path.includes(PREFIX)) {
      // Bookkeeping of AUFS, which Docker once exported: of no meaning elsewhere.
      if (path.split('/').some((part) => part.startsWith(AUFS) && part !== OPAQUE_WHITEOUT)) return true;
      if (
        parentOf(path)
          .split('/')
          .some((part) => part.startsWith(PREFIX))
      ) {
        throw invalidArchive('it lies in a folder that is a whiteout', header.path);
      }
    }
    if (header.type === 'hardlink' && this.#whiteouts.has(cleanPath(header.linkTarget) ?? '')) {
      throw invalidArchive('a hard link to a file that this layer deletes', header.path);
    }
    this.#uncover(path);
    if (!base.startsWith(PREFIX)) return false;
    const dirfd = extractor.parent(path);
    if (base === OPAQUE_WHITEOUT) {
      // Where links on its way lead, as for every other entry.
      this.#markOpaque(parentOf(path), 0);
      return true;
    }
    const name = base.slice(PREFIX.length);
    if (name === '' || name === '.' || name === '..') throw invalidArchive('a whiteout for no name', header.path);
    const folder = parentOf(path);
    const hidden = folder === '' ? name : `${folder}/${name}`;
    try {
      makeNodeAt(dirfd, name, S_IFCHR, 0n);
      this.#whiteouts.add(hidden);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'EEXIST')) throw error;
      // Whatever it is, a folder may take its place yet.
      this.replaced.add(hidden);
    }
    return true;
  }

  /** Marks folders after the last entry. */
  finish(): void {
    for (const path of this.replaced) this.#markOpaque(path);
  }

  /** Removes whiteouts where this entry or a folder on its way is to stand. */
  #uncover(path: ByteString): void {
    if (this.#whiteouts.size === 0) return;
    for (let at = path; at !== ''; at = parentOf(at)) {
      if (this.#whiteouts.delete(at) && this.#remove(at)) this.replaced.add(at);
    }
  }

  /** @returns false: a later entry has replaced the whiteout, or a folder on its way, perhaps by a link to elsewhere */
  #remove(path: ByteString): boolean {
    try {
      using folder = new OpenFile(openAt2(this.#rootFd, parentOf(path) || '.', O_PATH | O_DIRECTORY));
      const name = path.slice(path.lastIndexOf('/') + 1);
      if (!isWhiteout(statusAt(folder.fd, name))) return false;
      unlinkAt(folder.fd, name);
      return true;
    } catch (error) {
      if (!isAbsent(error)) throw error;
      return false;
    }
  }

  #markOpaque(path: ByteString, flags = O_NOFOLLOW): void {
    try {
      using folder = new OpenFile(openAt2(this.#rootFd, path || '.', O_DIRECTORY | flags));
      setXattr(folder.fd, this.#opaque, Buffer.from('y'));
    } catch (error) {
      // A later entry put a file in the folder's place: that hides what is below by itself.
      if (!isAbsent(error)) throw error;
    }
  }
}
