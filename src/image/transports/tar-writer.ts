import {
  constants,
  fstatSync,
  fsync as fsyncCallback,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { TareError } from '../../errors/index.ts';
import { OpenFile, toByteString, tryFlockDescriptor } from '../../linux/index.ts';
import { encodeFile, encodeHeader, endOfArchive, padding } from '../../storage/index.ts';
import { writeAt, writeStream } from './file-bytes.ts';

const fsync = promisify(fsyncCallback);

/**
 * Writes a tar whose entries come side by side: each gets its place when it begins, because its size is known. The archive
 * appears under its name when it is whole; disposing before leaves nothing.
 */
export class TarWriter implements AsyncDisposable {
  readonly path: string;
  readonly #draft: string;
  readonly #file: OpenFile;
  #end = 0;
  #isPublished = false;

  private constructor(path: string, draft: string, file: OpenFile) {
    this.path = path;
    this.#draft = draft;
    this.#file = file;
  }

  /** @throws {TareError} InvalidArgument, NotFound: the path */
  static async open(path: string, what = path): Promise<TarWriter> {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
      throw new TareError('InvalidArgument', `${what} is a folder: name a file`);
    }
    const draft = join(dirname(path), `.${basename(path).slice(0, 200)}.tare-partial`);
    return new TarWriter(path, draft, openDraft(draft, what));
  }

  /** Takes room for a file of known size. What is not written of it reads as zeros. */
  async reserve(name: string, sizeBytes: number): Promise<TarRoom> {
    const header = encodeHeader({ path: toByteString(name), type: 'file', sizeBytes });
    const start = this.#take(header.byteLength + sizeBytes + padding(sizeBytes).byteLength);
    await writeAt(this.#file.fd, header, start);
    const data = start + header.byteLength;
    return { write: (bytes, onProgress) => writeStream(this.#file.fd, data, bytes, onProgress) };
  }

  async directory(name: string): Promise<void> {
    await this.#append(encodeHeader({ path: toByteString(name), type: 'directory', mode: 0o755 }));
  }

  /** A small file whole. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#append(encodeFile(name, bytes));
  }

  async commit(): Promise<void> {
    await this.#append(endOfArchive());
    await fsync(this.#file.fd);
    renameSync(this.#draft, this.path);
    this.#isPublished = true;
    await using folder = await open(dirname(this.path), 'r');
    await folder.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Removed while it is locked: afterwards it may be another's.
    if (!this.#isPublished) rmSync(this.#draft, { force: true });
    this.#file[Symbol.dispose]();
  }

  #take(sizeBytes: number): number {
    const start = this.#end;
    this.#end += sizeBytes;
    return start;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    await writeAt(this.#file.fd, bytes, this.#take(bytes.byteLength));
  }
}

/**
 * The file that becomes the archive, locked. What a killed process left under its name is begun anew.
 * @throws {TareError} Conflict: another process writes it; NotFound: no such folder; Forbidden: it is somebody else's
 */
function openDraft(draft: string, what: string): OpenFile {
  for (;;) {
    const file = openLockable(draft, what);
    try {
      if (!tryFlockDescriptor(file.fd)) {
        throw new TareError(
          'Conflict',
          `${what} is being written by another process: wait for it, or name another file`,
        );
      }
      const { ino, uid, nlink } = fstatSync(file.fd);
      // In a folder that others write to: what has another name there, or another owner, is not ours to write over.
      if (uid !== process.geteuid!() || nlink > 1) {
        throw new TareError('Forbidden', `${what} is made in ${draft}, which is another's file: remove that`);
      }
      if (statSync(draft, { throwIfNoEntry: false })?.ino === ino) {
        ftruncateSync(file.fd, 0);
        return file;
      }
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
    // Its last writer published or dropped it between our open and our lock.
    file[Symbol.dispose]();
  }
}

function openLockable(draft: string, what: string): OpenFile {
  try {
    return new OpenFile(openSync(draft, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new TareError('NotFound', `${what}: no such folder as ${dirname(draft)}`, { cause });
    throw cause;
  }
}

/** The place of one file in the tar. */
export interface TarRoom {
  /** Fills it from its beginning; may be repeated after a failure. */
  write(bytes: AsyncIterable<Uint8Array>, onProgress?: (takenBytes: number) => void): Promise<void>;
}
