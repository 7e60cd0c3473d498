import { constants, fstatSync, open as openCallback, readSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { TareError } from '../../errors/index.ts';
import { fromByteString, OpenFile } from '../../linux/index.ts';
import { BLOCK, detectCompression, TarParser } from '../../storage/index.ts';
import { archiveName, folderOf, throughLinks } from '../archive-names.ts';
import { decompressed } from '../decompress.ts';
import { bytesAt, bytesOf } from './file-bytes.ts';
import type { LayoutFiles } from './layout-files.ts';
import { spool } from './spool.ts';

const open = promisify(openCallback);

const MAX_ENTRIES = 100_000;
const SNIFF_BYTES = 6;

/** Where a file's bytes lie in the tar. */
interface Extent {
  start: number;
  sizeBytes: number;
}

/**
 * Files of a tar, found by its headers alone: the bodies are jumped over and read when they are wanted, in any order. An
 * archive that is compressed as a whole, or comes through a pipe, is first unpacked into a nameless file.
 */
export class TarFiles implements LayoutFiles {
  readonly what: string;
  readonly #file: { fd: number } & Disposable;
  readonly #extents: ReadonlyMap<string, Extent>;
  readonly #links: ReadonlyMap<string, string>;

  private constructor(
    what: string,
    file: { fd: number } & Disposable,
    extents: ReadonlyMap<string, Extent>,
    links: ReadonlyMap<string, string>,
  ) {
    this.what = what;
    this.#file = file;
    this.#extents = extents;
    this.#links = links;
  }

  /** @throws {TareError} NotFound; InvalidArgument: no tar, damaged, truncated, with names that lead outside */
  static async open(path: string, what = path): Promise<TarFiles> {
    await using opening = new AsyncDisposableStack();
    let file: { fd: number } & Disposable = opening.use(await openArchive(path, what));
    if (!isPlainTar(file.fd)) {
      file = opening.use(await spool(decompressed(bytesOf(file.fd))));
    }
    const { extents, links } = indexTar(file.fd, what);
    opening.move();
    return new TarFiles(what, file, extents, links);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  size(name: string): number | undefined {
    return this.#find(name)?.sizeBytes;
  }

  async *open(name: string, offset = 0): AsyncGenerator<Buffer, void, void> {
    const extent = this.#find(name);
    if (extent === undefined) {
      throw new TareError('NotFound', `${this.what}: there is no entry ${JSON.stringify(name)}`);
    }
    const { start, sizeBytes } = extent;
    yield* bytesAt(this.#file.fd, start + offset, start + sizeBytes);
  }

  #find(name: string): Extent | undefined {
    return throughLinks(name, this.#extents, this.#links, this.what);
  }
}

async function openArchive(path: string, what: string): Promise<OpenFile> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TareError('InvalidArgument', `${what} is a folder: want a tar`);
  }
  try {
    // Not on this thread: opening a pipe waits for its writer.
    return new OpenFile(await open(path, constants.O_RDONLY | constants.O_NOCTTY));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new TareError('NotFound', `${what}: no such file`, { cause });
    if (code === 'EACCES') throw new TareError('Forbidden', `${what}: permission denied`, { cause });
    throw cause;
  }
}

/** Whether the archive can be read in place. A pipe cannot, and a compressed one neither. */
function isPlainTar(fd: number): boolean {
  if (!fstatSync(fd).isFile()) return false;
  const head = Buffer.alloc(SNIFF_BYTES);
  const read = readSync(fd, head, 0, SNIFF_BYTES, 0);
  return detectCompression(head.subarray(0, read)) === 'none';
}

function indexTar(fd: number, what: string): { extents: Map<string, Extent>; links: Map<string, string> } {
  const archiveBytes = fstatSync(fd).size;
  const extents = new Map<string, Extent>();
  const links = new Map<string, string>();
  let entries = 0;
  for (let at = 0; ; ) {
    const { parser, end } = nextHeader(fd, at);
    if (parser === undefined) return { extents, links };
    entries += 1;
    if (entries > MAX_ENTRIES) throw new TareError('InvalidArgument', `${what}: more than ${MAX_ENTRIES} entries`);
    const { header } = parser;
    const name = archiveName(fromByteString(header.path), what);
    if (parser.isSparse) {
      throw new TareError(
        'InvalidArgument',
        `${what}: ${JSON.stringify(name)} is a sparse entry: make the archive without --sparse`,
      );
    }
    if (end + header.sizeBytes > archiveBytes) {
      throw new TareError('InvalidArgument', `${what}: it is truncated in the data of ${JSON.stringify(name)}`);
    }
    // The last entry of a name wins, as it does for tar.
    extents.delete(name);
    links.delete(name);
    if (header.type === 'file') extents.set(name, { start: end, sizeBytes: header.sizeBytes });
    else if (header.type === 'link')
      links.set(name, archiveName(fromByteString(header.linkTarget), what, folderOf(name)));
    else if (header.type === 'hardlink') links.set(name, archiveName(fromByteString(header.linkTarget), what));
    at = end + Math.ceil(header.sizeBytes / BLOCK) * BLOCK;
  }
}

/** Reads the header at `start`, with those that extend it. @returns where its data begins; no parser at the archive's end */
function nextHeader(fd: number, start: number): { parser: TarParser | undefined; end: number } {
  const parser = new TarParser();
  for (let end = start; ; ) {
    const step = parser.next();
    if (step === 'entry') return { parser, end };
    if (step === 'finished') return { parser: undefined, end };
    // Whole blocks, so that nothing is left in the parser when the header is over.
    const block = Buffer.alloc(BLOCK);
    const read = readSync(fd, block, 0, BLOCK, end);
    end += read;
    if (read === 0) parser.end();
    else parser.push(block.subarray(0, read));
  }
}
