import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { TareError } from '../../../errors/index.ts';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDONLY,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  S_IFMT,
  S_IFREG,
  toByteString,
} from '../../../linux/index.ts';
import type { FolderFilter, SentFolder } from '../../session.ts';
import { walkFolder } from './folder-walk.ts';

const PIECE_BYTES = 256 * 1024;

/**
 * A folder on this machine as a client sends it: what a filter lets pass, owned by root.
 * @throws {TareError} NotFound: there is no such folder
 */
export async function openLocalFolder(
  directory: string,
  filter: FolderFilter,
  signal: AbortSignal,
): Promise<SentFolder> {
  const path = resolve(directory);
  let root: OpenFile;
  try {
    root = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY));
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'EACCES')
      throw new TareError('Forbidden', `cannot read the folder ${path}: permission denied`, { cause });
    throw new TareError('NotFound', `unable to prepare context: path ${JSON.stringify(path)} not found`, { cause });
  }
  /** Of regular files, by their position; where a receiver reads them by itself there are none. */
  const paths = new Map<number, string>();
  const batches = walkFolder(path, filter, signal);
  const entries = async function* () {
    let index = 0;
    for await (const batch of batches) {
      for (const packed of batch) {
        const entry = packed.unpack();
        if ((entry.mode & S_IFMT) === S_IFREG && entry.linkname === undefined) paths.set(index, entry.path);
        index += 1;
        yield entry;
      }
    }
  };
  return {
    entries: entries(),
    packed: { kind: 'status', batches },
    directory: path,
    read: (index) => readFile(root.fd, paths.get(index), signal),
    [Symbol.asyncDispose]: async () => root[Symbol.dispose](),
  };
}

async function* readFile(rootFd: number, path: string | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (path === undefined) throw new TareError('InvalidArgument', 'what is to be read is no file of the folder');
  const within = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  using found = new OpenFile(openAt2(rootFd, toByteString(path), O_RDONLY | O_NONBLOCK, within));
  await using file = await open(`/proc/self/fd/${found.fd}`, 'r');
  if (!(await file.stat()).isFile()) throw new TareError('Conflict', `${path} changed while it was read`);
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
