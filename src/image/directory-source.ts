import { createReadStream } from 'node:fs';
import { TareError } from '../errors/index.ts';
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
} from '../linux/index.ts';
import { type ContentStore, detectCompression } from '../storage/index.ts';
import { archiveName } from './archive-names.ts';
import { type ArchiveBlob, type ArchiveSource, MAX_DESCRIPTION_BYTES } from './archive-source.ts';
import { requireNamedDigest } from './tar-source.ts';

const READ_BYTES = 1 << 20;
// What tells a compression.
const SNIFF_BYTES = 6;

/** An OCI layout or an unpacked docker archive in a folder. Only the files that an image needs are read. */
export class DirectorySource implements ArchiveSource, Disposable {
  readonly what: string;
  readonly #root: OpenFile;
  readonly #content: ContentStore;
  readonly #blobs = new Map<string, Promise<ArchiveBlob | undefined>>();

  /** @throws {TareError} NotFound, InvalidArgument: the folder */
  constructor(path: string, content: ContentStore) {
    this.what = path;
    this.#content = content;
    try {
      this.#root = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_PATH | O_DIRECTORY));
    } catch (cause) {
      const code = cause instanceof SyscallError ? cause.code : undefined;
      if (code === 'ENOENT') throw new TareError('NotFound', `${path}: no such folder`, { cause });
      if (code === 'ENOTDIR') throw new TareError('InvalidArgument', `${path} is not a folder`, { cause });
      throw cause;
    }
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]();
  }

  async text(name: string): Promise<Buffer | undefined> {
    const file = this.#open(name);
    if (file === undefined) return undefined;
    if (file.sizeBytes > MAX_DESCRIPTION_BYTES) {
      closing(file);
      throw new TareError(
        'InvalidArgument',
        `${this.what}: ${name} has ${file.sizeBytes} bytes, at most ${MAX_DESCRIPTION_BYTES} are allowed`,
      );
    }
    return Buffer.concat(await Array.fromAsync(bytesOf(file)));
  }

  blob(name: string): Promise<ArchiveBlob | undefined> {
    let blob = this.#blobs.get(name);
    if (blob === undefined) {
      blob = this.#store(name);
      this.#blobs.set(name, blob);
    }
    return blob;
  }

  async #store(name: string): Promise<ArchiveBlob | undefined> {
    const file = this.#open(name);
    if (file === undefined) return undefined;
    let head = Buffer.alloc(0);
    await using writer = await this.#content.writer({ sizeBytes: file.sizeBytes });
    for await (const chunk of bytesOf(file)) {
      if (head.length < SNIFF_BYTES) head = Buffer.concat([head, chunk.subarray(0, SNIFF_BYTES)]);
      await writer.write(chunk);
    }
    const { digest } = await writer.commit();
    requireNamedDigest(archiveName(name, this.what), digest, this.what);
    return { digest, sizeBytes: file.sizeBytes, compression: detectCompression(head) };
  }

  /** Opens a regular file beneath the folder; links may not leave it. */
  #open(name: string): { fd: number; sizeBytes: number } | undefined {
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
    const { type, sizeBytes } = statusOf(fd);
    if (type === S_IFREG) return { fd, sizeBytes };
    file[Symbol.dispose]();
    throw explain('is not a regular file');
  }
}

const bytesOf = (file: { fd: number }): AsyncIterable<Buffer> =>
  createReadStream('', { fd: file.fd, autoClose: true, highWaterMark: READ_BYTES });

const closing = (file: { fd: number }): void => new OpenFile(file.fd)[Symbol.dispose]();
