import { readSync } from 'node:fs';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import {
  AT_FDCWD,
  fromByteString,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  OpenFile,
  openAt,
  openAt2,
  readDirectory,
  readLinkAt,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  statusAt,
  statusOf,
  toByteString,
} from '../linux/index.ts';
import type { LayerStore, OpenTree } from '../storage/index.ts';
import type { FileStatus } from './frontend.ts';
import type { Tree } from './tree.ts';

/** A file that is asked for as a whole. */
const MAX_FILE_BYTES = 16 << 20;
/** More do not fit into a frontend's answer. */
const MAX_ENTRIES = 300_000;
/** Entries between two turns of others. */
const TURN = 1_000;

/** A tree opened for looking into; links in it lead nowhere outside of it. Disposing closes it. */
export class TreeFiles implements AsyncDisposable {
  readonly #root: OpenTree;

  private constructor(root: OpenTree) {
    this.#root = root;
  }

  static async open(layers: Pick<LayerStore, 'openTree'>, tree: Tree): Promise<TreeFiles> {
    return new TreeFiles(await layers.openTree(tree.layers, { isPlain: tree.isRootless === true }));
  }

  /** @throws {TareError} NotFound; InvalidArgument: no file, or larger than 16 MiB without a range */
  read(path: string, range?: { offset: number; length: number }): Uint8Array {
    using found = this.#open(path, O_PATH);
    const { type, sizeBytes } = statusOf(found.fd);
    if (type !== S_IFREG) throw new TareError('InvalidArgument', `${path} is not a regular file`);
    // Only now: opening a pipe waits, and opening some devices has effects.
    using file = new OpenFile(openAt(AT_FDCWD, `/proc/self/fd/${found.fd}`, O_RDONLY));
    const offset = Math.max(0, range?.offset ?? 0);
    const length = Math.max(0, Math.min(range?.length || sizeBytes, sizeBytes - offset));
    if (length > MAX_FILE_BYTES) {
      throw new TareError('InvalidArgument', `${path} has ${length} bytes: at most ${MAX_FILE_BYTES} at once`);
    }
    const bytes = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
      const count = readSync(file.fd, bytes, filled, length - filled, offset + filled);
      if (count === 0) break;
      filled += count;
    }
    return bytes.subarray(0, filled);
  }

  /** What is in a folder, by name. @throws {TareError} NotFound; InvalidArgument: no folder */
  async list(path: string, isWanted: (name: string) => boolean = () => true): Promise<FileStatus[]> {
    using folder = this.#open(path, O_RDONLY | O_DIRECTORY);
    const entries = readDirectory(folder.fd);
    if (entries.length > MAX_ENTRIES) throw new TareError('InvalidArgument', `${path} has over ${MAX_ENTRIES} entries`);
    const found: FileStatus[] = [];
    for (const [index, { name }] of entries.entries()) {
      if (index % TURN === TURN - 1) await setImmediate();
      const text = fromByteString(name);
      if (isWanted(text)) found.push(statusFrom(text, folder.fd, name));
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** @throws {TareError} NotFound */
  status(path: string): FileStatus {
    using node = this.#open(path, O_PATH);
    return { ...statusFrom(basename(path), node.fd, ''), path: basename(path) || '/' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root[Symbol.asyncDispose]();
  }

  #open(path: string, flags: number): OpenFile {
    try {
      return new OpenFile(openAt2(this.#root.fd, toByteString(path === '' ? '.' : path), flags & ~O_NOFOLLOW));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.code === 'ENOTDIR') {
        throw new TareError('InvalidArgument', `${path}: not a directory`, { cause: error });
      }
      throw new TareError('NotFound', `${path}: no such file or directory`, { cause: error });
    }
  }
}

function statusFrom(path: string, fd: number, name: string): FileStatus {
  const status = name === '' ? statusOf(fd) : statusAt(fd, name);
  return {
    path,
    mode: status.mode,
    uid: status.uid,
    gid: status.gid,
    sizeBytes: status.sizeBytes,
    modifiedNs: status.modifyNs,
    ...(status.type === S_IFLNK ? { linkname: fromByteString(readLinkAt(fd, name)) } : {}),
  };
}
