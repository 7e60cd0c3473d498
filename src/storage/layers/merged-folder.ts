import {
  type ByteString,
  type FileStatus,
  O_DIRECTORY,
  O_NOFOLLOW,
  OpenFile,
  openAt,
  readDirectory,
  S_IFDIR,
  statusIfAny,
} from '../../linux/index.ts';
import { isOpaque, isWhiteout } from './whiteouts.ts';

/** A name in the merged view: what the topmost layer that has it says. */
export interface MergedEntry {
  name: ByteString;
  status: FileStatus;
  /** The layer's root, and the entry's path in it. */
  layerFd: number;
  path: ByteString;
  /** The folder itself, when it is one. */
  folder: MergedFolder | undefined;
}

/**
 * One folder as overlayfs would show it over a stack of layers, without mounting anything. Layers never change, and each
 * `path` is a folder by itself in each of `layerFds`, so no link is followed.
 */
export class MergedFolder {
  readonly path: ByteString;
  /** Roots of the layers that have this folder, topmost first. */
  readonly layerFds: readonly number[];
  readonly #opaque: ByteString;

  constructor(layerFds: readonly number[], opaque: ByteString, path: ByteString = '') {
    this.layerFds = layerFds;
    this.#opaque = opaque;
    this.path = path;
  }

  lookup(name: ByteString): MergedEntry | undefined {
    const path = this.path === '' ? name : `${this.path}/${name}`;
    let top: { status: FileStatus; layerFd: number } | undefined;
    const folderFds: number[] = [];
    for (const layerFd of this.layerFds) {
      const status = statusIfAny(layerFd, path);
      if (status === undefined) continue;
      if (status.type !== S_IFDIR) {
        // A whiteout, or a file: hides what is below; under a folder of a higher layer it does not show itself.
        if (top === undefined && !isWhiteout(status)) top = { status, layerFd };
        break;
      }
      top ??= { status, layerFd };
      folderFds.push(layerFd);
      if (isOpaque(layerFd, path, this.#opaque)) break;
    }
    if (top === undefined) return undefined;
    const folder = folderFds.length > 0 ? new MergedFolder(folderFds, this.#opaque, path) : undefined;
    return { name, status: top.status, layerFd: top.layerFd, path, folder };
  }

  /** All entries, sorted by name. */
  entries(): MergedEntry[] {
    const names = new Set<ByteString>();
    for (const layerFd of this.layerFds) {
      using folder = new OpenFile(openAt(layerFd, this.path || '.', O_DIRECTORY | O_NOFOLLOW));
      for (const { name } of readDirectory(folder.fd)) names.add(name);
    }
    const entries: MergedEntry[] = [];
    for (const name of [...names].sort()) {
      const entry = this.lookup(name);
      if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }
}
