import { createHash, randomBytes } from 'node:crypto';
import { fstatSync, fsync as fsyncCallback, mkdirSync, readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  makeDirectoryAt,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  removeDirectoryAt,
  renameAt,
  SyscallError,
  toByteString,
  truncate,
  tryFlockDescriptor,
  unlinkAt,
} from '../../linux/index.ts';
import { type Descriptor, hexOf } from '../../storage/index.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { bytesAt, writeAt, writeStream } from './file-bytes.ts';
import { abortable, verified } from './hashed-bytes.ts';
import type { PutBlobOptions } from './image-destination.ts';

const fsync = promisify(fsyncCallback);
const PARTIAL = '.tare-partial';
const LOCK_WAIT_MS = 30_000;
const LOCK_PAUSE_MS = 10;

/**
 * Writes files into a folder of the user's. A file appears under its name only whole and synced; its name lasts with
 * `syncFolder`. Names are resolved beneath the folder, without links: whoever made the folder must not choose what is overwritten.
 */
export class FolderWriter implements Disposable {
  readonly what: string;
  readonly path: string;
  readonly #root: OpenFile;

  /** Makes the folder if need be. @throws {TareError} InvalidArgument: something else lies there */
  constructor(path: string, what = path) {
    this.what = what;
    this.path = path;
    try {
      mkdirSync(path, { recursive: true });
      this.#root = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_RDONLY | O_DIRECTORY));
    } catch (cause) {
      const code = (cause as { code?: unknown }).code;
      if (code === 'EEXIST' || code === 'ENOTDIR')
        throw new TareError('InvalidArgument', `${what}: not a folder`, { cause });
      throw cause;
    }
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]();
  }

  names(): string[] {
    return readdirSync(`/proc/self/fd/${this.#root.fd}`);
  }

  /** Removes a file of the folder itself; no error when there is none. */
  remove(name: string): void {
    try {
      unlinkAt(this.#root.fd, toByteString(name));
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error;
    }
  }

  /** Makes a folder and those above it, each inside of the one before. @throws {TareError} InvalidArgument: one is a link */
  makeFolder(path: string): void {
    let parent = '';
    for (const part of path.split('/')) {
      using above = this.#folder(parent);
      try {
        makeDirectoryAt(above.fd, toByteString(part), 0o755);
      } catch (error) {
        if (!isCode(error, 'EEXIST')) throw error;
      }
      parent = parent === '' ? part : `${parent}/${part}`;
    }
    using _ = this.#folder(parent);
  }

  /** Writes a small file whole. */
  async writeFile(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    using directory = this.#folder(folder);
    const draft = `.${name.slice(0, 100)}.${randomBytes(6).toString('hex')}`;
    using file = new OpenFile(openAt(directory.fd, draft, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644));
    try {
      await writeAt(file.fd, bytes, 0);
      await fsync(file.fd);
      renameAt(directory.fd, draft, directory.fd, toByteString(name));
    } catch (error) {
      unlinkAt(directory.fd, draft);
      throw this.#explain(error);
    }
  }

  /** Waits until the names in a folder are on the disk: those of a document's blobs must be, before it appears. */
  async syncFolder(path: string): Promise<void> {
    using directory = this.#folder(path);
    await fsync(directory.fd);
  }

  /**
   * Writes a blob, or the rest of one that an earlier writer left half, under `name`.
   * @throws {DigestMismatch} nothing is kept
   */
  async writeBlob(
    folder: string,
    name: string,
    descriptor: Descriptor,
    bytes: BlobBytes,
    { signal, onProgress }: PutBlobOptions = {},
  ): Promise<void> {
    this.makeFolder(PARTIAL);
    using partials = this.#folder(PARTIAL);
    const { file, draft } = openPartial(partials.fd, hexOf(descriptor.digest));
    using _ = file;
    const hash = createHash('sha256');
    let position = fstatSync(file.fd).size;
    if (position > descriptor.size) {
      truncate(file.fd, 0);
      position = 0;
    }
    // What an earlier writer left is read once more: it may be from before a loss of power.
    for await (const chunk of bytesAt(file.fd, 0, position)) hash.update(chunk);
    try {
      const rest = position === descriptor.size ? [] : bytes(position);
      const checked = verified(asyncOf(rest), descriptor, `blob ${descriptor.digest}`, hash, position);
      await writeStream(file.fd, position, abortable(checked, signal), (taken) => onProgress?.(position + taken));
    } catch (error) {
      // Bytes that proved wrong must not be taken up again; those of a source that broke may.
      if (error instanceof TareError && error.kind === 'InvalidArgument') unlinkAt(partials.fd, draft);
      throw this.#explain(error);
    }
    await fsync(file.fd);
    using directory = this.#folder(folder);
    renameAt(partials.fd, draft, directory.fd, toByteString(name));
  }

  /**
   * Waits until nobody else holds the folder. Held for moments only: while a document is read and written anew.
   * @throws {TareError} Conflict: somebody does not let go
   */
  async lock(): Promise<Disposable> {
    using opening = new DisposableStack();
    const folder = opening.use(this.#folder(''));
    for (const endMs = Date.now() + LOCK_WAIT_MS; !tryFlockDescriptor(folder.fd); await setTimeout(LOCK_PAUSE_MS)) {
      if (Date.now() < endMs) continue;
      throw new TareError('Conflict', `${this.what} is locked by another process: try again when that one is done`);
    }
    opening.move();
    return folder;
  }

  /** Removes the folder of half blobs if nothing is left in it. */
  forgetPartials(): void {
    try {
      removeDirectoryAt(this.#root.fd, PARTIAL);
    } catch (error) {
      if (!['ENOENT', 'ENOTEMPTY'].some((code) => isCode(error, code))) throw error;
    }
  }

  #folder(path: string): OpenFile {
    try {
      const flags = O_RDONLY | O_DIRECTORY;
      return new OpenFile(
        openAt2(this.#root.fd, toByteString(path === '' ? '.' : path), flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS),
      );
    } catch (cause) {
      if (!isCode(cause, 'ELOOP') && !isCode(cause, 'ENOTDIR')) throw cause;
      throw new TareError('InvalidArgument', `${this.what}: ${path} is not a folder of its own`, { cause });
    }
  }

  #explain(error: unknown): unknown {
    if (!isCode(error, 'ENOSPC') && !isCode(error, 'EDQUOT')) return error;
    return new TareError('Unavailable', `no space left on device for ${this.what}: free some and try again`, {
      cause: error,
    });
  }
}

/** A half blob under its digest, or a new one when another process writes that. Locked for as long as it is open. */
function openPartial(folder: number, hex: string): { file: OpenFile; draft: string } {
  for (const draft of [hex, `${hex}-${randomBytes(6).toString('hex')}`]) {
    const file = new OpenFile(openAt(folder, draft, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644));
    // Its name is still there: the last holder did not publish it between our open and our lock. And it has no other name,
    // by which it would be a file of somebody else's.
    if (tryFlockDescriptor(file.fd) && fstatSync(file.fd).nlink === 1 && isSameFile(folder, draft, file.fd)) {
      return { file, draft };
    }
    file[Symbol.dispose]();
  }
  throw new TareError('Conflict', `blob sha256:${hex} is being written by others: try again`);
}

function isSameFile(folder: number, name: string, fd: number): boolean {
  try {
    using file = new OpenFile(openAt(folder, name, O_RDONLY | O_NOFOLLOW));
    return fstatSync(file.fd).ino === fstatSync(fd).ino;
  } catch (error) {
    if (isCode(error, 'ENOENT')) return false;
    throw error;
  }
}

async function* asyncOf(bytes: AsyncIterable<Uint8Array> | readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* bytes;
}

const isCode = (error: unknown, code: string): boolean =>
  (error instanceof SyscallError ? error.code : (error as { code?: unknown } | null)?.code) === code;
