import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  S_IFREG,
  SyscallError,
  statusOf,
  toByteString,
} from '../../linux/index.ts';
import { archiveName } from '../archive-names.ts';
import { bytesAt } from './file-bytes.ts';
import type { LayoutFiles } from './layout-files.ts';

/** Files of a folder on this machine. Every name is resolved beneath it; links may not leave it. */
export class FolderFiles implements LayoutFiles {
  readonly what: string;
  readonly #root: OpenFile;

  /** @throws {TareError} NotFound, InvalidArgument: the folder */
  constructor(path: string, what = path) {
    this.what = what;
    try {
      this.#root = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_PATH | O_DIRECTORY));
    } catch (cause) {
      const code = cause instanceof SyscallError ? cause.code : undefined;
      if (code === 'ENOENT') throw new TareError('NotFound', `${what}: no such folder`, { cause });
      if (code === 'ENOTDIR') throw new TareError('InvalidArgument', `${what} is not a folder`, { cause });
      throw cause;
    }
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]();
  }

  size(name: string): number | undefined {
    using file = this.#open(name);
    return file === undefined ? undefined : statusOf(file.fd).sizeBytes;
  }

  async *open(name: string, offset = 0): AsyncGenerator<Buffer, void, void> {
    using file = this.#open(name);
    if (file === undefined) throw new TareError('NotFound', `${this.what}: there is no file ${JSON.stringify(name)}`);
    yield* bytesAt(file.fd, offset);
  }

  /** Opens a regular file beneath the folder. */
  #open(name: string): OpenFile | undefined {
    const inside = archiveName(name, this.what);
    const explain = (problem: string, cause?: unknown) =>
      new TareError('InvalidArgument', `${this.what}: ${JSON.stringify(inside)} ${problem}`, { cause });
    let fd: number;
    try {
      // Not blocking: a FIFO would wait for its writer.
      fd = openAt2(this.#root.fd, toByteString(inside), O_RDONLY | O_NONBLOCK, RESOLVE_BENEATH);
    } catch (cause) {
      const code = cause instanceof SyscallError ? cause.code : undefined;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      if (code === 'EXDEV') throw explain('points outside of the folder', cause);
      if (code === 'ELOOP') throw explain('goes through too many links', cause);
      throw cause;
    }
    const file = new OpenFile(fd);
    if (statusOf(fd).type === S_IFREG) return file;
    file[Symbol.dispose]();
    throw explain('is not a regular file');
  }
}
