import { TareError } from '../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt2,
  readLinkAt,
  S_IFLNK,
  SyscallError,
  statusAt,
  toByteString,
} from '../linux/index.ts';
import {
  archiveOf,
  extractInto,
  isChangedBeneath,
  packTree,
  receiveTree,
  sendTree,
  writeTar,
} from '../storage/index.ts';
import { type ContainerRoot, openView, pathInside, requireWritable } from './archive-root.ts';
import type { BulkBytes, BulkSource, PathStat } from './types.ts';

export { type ContainerRoot, rootOf } from './archive-root.ts';

/**
 * What a path in a container is. A link at its end is not followed, unless a slash follows it.
 *
 * @throws {TareError} NotFound: no such path; Conflict: it became another thing meanwhile
 */
export async function statPath(where: ContainerRoot, path: string): Promise<PathStat> {
  using root = await openView(where);
  return still(path, () => {
    using found = find(where, root.fd, path);
    return statOf(root.fd, found);
  });
}

/** A larger archive is worth a thread of its own. */
const SMALL_BYTES = 256 * 1024;

/**
 * A tar of a path: a file under its name, a folder with all in it, its name first. What the container does meanwhile can
 * change what is read, never where: each step is taken from an open folder and follows no link. What is gone when its turn comes is left
 * out.
 *
 * @returns a small archive is whole already; a large one is read once, by either way
 * @throws {TareError} NotFound: no such path; Conflict: it became another thing meanwhile
 */
export async function readArchive(where: ContainerRoot, path: string): Promise<{ stat: PathStat; tar: BulkBytes }> {
  using opened = new DisposableStack();
  const root = opened.use(await openView(where));
  const found = opened.use(find(where, root.fd, path));
  const stat = still(path, () => statOf(root.fd, found));
  const packed = told(archiveOf(pack(found)), path);
  const { bytes, isWhole } = await firstOf(packed);
  if (isWhole) return { stat, tar: only(bytes) };
  opened.defer(() => void packed.return());
  const resources = opened.move();
  const tar = (async function* () {
    using _resources = resources;
    yield bytes;
    yield* packed;
  })();
  return {
    stat,
    tar: {
      ...disposeUnread(tar, resources),
      // From its beginning: what was read so far cannot go on in another thread.
      async sendTo(socket, signal) {
        using _resources = resources;
        await sendTree({ fd: found.parentFd, name: found.name, path: nameOf(found) }, socket, signal);
      },
    },
  };
}

async function* told(tar: AsyncGenerator<Buffer, void, void>, path: string): AsyncGenerator<Buffer, void, void> {
  try {
    yield* tar;
  } catch (error) {
    throw changed(error, path);
  }
}

/**
 * Unpacks a tar, compressed or not, into an existing folder of a container.
 *
 * @throws {TareError} NotFound: no such folder; InvalidArgument: it is no folder, or the tar is malformed; Forbidden: the
 *   root or the volume is read-only
 */
export async function writeArchive(
  where: ContainerRoot,
  path: string,
  tar: BulkSource,
  options: { noOverwriteDirNonDir?: boolean; copyUidGid?: boolean } = {},
): Promise<void> {
  using root = await openView(where);
  using folder = openFolder(where, root.fd, path);
  const inside = pathInside(root.fd, folder.fd);
  requireWritable(where, inside);
  const extraction = {
    // The resolved path: what the container makes of it meanwhile is resolved inside its root again.
    into: toByteString(inside),
    noOverwriteDirNonDir: options.noOverwriteDirNonDir === true,
    ...(options.copyUidGid === true ? { owner: where.owner(`/proc/self/fd/${root.fd}`) } : {}),
  };
  try {
    const begun = tar.handOver === undefined ? undefined : await firstOf(tar);
    if (begun?.isWhole === false) await receiveTree(root.fd, begun.bytes, tar.handOver!(), extraction);
    else await extractInto(root.fd, begun === undefined ? tar : only(begun.bytes), extraction);
  } catch (error) {
    throw changed(error, path);
  }
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** The first bytes of an archive, all of a small one; what is left can still be read. */
async function firstOf(tar: AsyncIterable<Uint8Array>): Promise<{ bytes: Buffer; isWhole: boolean }> {
  const reading = tar[Symbol.asyncIterator]();
  const pieces: Uint8Array[] = [];
  for (let size = 0; size < SMALL_BYTES; size += pieces.at(-1)!.length) {
    const { value, done } = await reading.next();
    if (done) return { bytes: Buffer.concat(pieces), isWhole: true };
    pieces.push(value);
  }
  return { bytes: Buffer.concat(pieces), isWhole: false };
}

/** What a process in the container did between two steps of ours. */
function changed(error: unknown, path: string): unknown {
  if (!isChangedBeneath(error)) return error;
  const message = `${path} changed while it was copied: try again when it is at rest`;
  return new TareError('Conflict', message, { cause: error });
}

function still<T>(path: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    throw changed(error, path);
  }
}

/** The container's root filesystem as a tar, without what is mounted in it. */
export async function* exportRoot(where: ContainerRoot): AsyncGenerator<Uint8Array, void, void> {
  using root = await where.open([]);
  using folder = new OpenFile(openAt2(root.fd, '.', O_DIRECTORY));
  yield* writeTar(folder.fd);
}

/** A path that exists: its folder is open, its name is not followed. */
interface Found extends Disposable {
  parentFd: number;
  /** In the folder; '.' for the folder itself. */
  name: ByteString;
  /** What the entry is called in archives, as docker has it. */
  base: string;
}

function find(where: ContainerRoot, rootFd: number, path: string): Found {
  const { folder, name, base } = splitPath(path);
  try {
    const parent = new OpenFile(openAt2(rootFd, toByteString(folder), O_PATH | O_DIRECTORY));
    try {
      statusAt(parent.fd, name);
      return { parentFd: parent.fd, name, base, [Symbol.dispose]: () => parent[Symbol.dispose]() };
    } catch (error) {
      parent[Symbol.dispose]();
      throw error;
    }
  } catch (error) {
    throw explain(error, where, path);
  }
}

/** docker's `filepath.Split` after joining with `/`, where a trailing slash or `/.` counts. */
function splitPath(path: string): { folder: string; name: ByteString; base: string } {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    // Lexically, as docker's client and daemon do before any link is looked at.
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  const last = parts.at(-1);
  if (last === undefined) return { folder: '/', name: '.', base: '/' };
  const whole = `/${parts.join('/')}`;
  if (/\/\.$/.test(path)) return { folder: whole, name: '.', base: '.' };
  if (path.endsWith('/')) return { folder: whole, name: '.', base: last };
  return { folder: `/${parts.slice(0, -1).join('/')}`, name: toByteString(last), base: last };
}

function statOf(rootFd: number, { parentFd, name, base }: Found): PathStat {
  const status = statusAt(parentFd, name);
  const isLink = status.type === S_IFLNK;
  return {
    name: base,
    sizeBytes: status.sizeBytes,
    mode: status.mode,
    modifiedMs: Number(status.modifyNs / 1000n) / 1000,
    linkTarget: isLink ? linkTarget(rootFd, parentFd, name) : '',
  };
}

/** Where a link leads in the end, absolute in the container; a broken one as far as its own text says. */
function linkTarget(rootFd: number, parentFd: number, name: ByteString): string {
  const parent = pathInside(rootFd, parentFd);
  try {
    using target = new OpenFile(openAt2(rootFd, `${toByteString(parent)}/${name}`, O_PATH));
    return pathInside(rootFd, target.fd);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const text = fromByteString(readLinkAt(parentFd, name));
    const { folder, name: last } = splitPath(text.startsWith('/') ? text : `${parent}/${text}`);
    return `${folder === '/' ? '' : folder}/${fromByteString(last)}`;
  }
}

/** What the entry is called in the archive: docker calls the entries of `/` absolute. */
const nameOf = ({ base }: Found): ByteString => (base === '/' ? '' : toByteString(base));

const pack = (found: Found) => packTree(found.parentFd, found.name, nameOf(found));

function openFolder(where: ContainerRoot, rootFd: number, path: string): OpenFile {
  try {
    return new OpenFile(openAt2(rootFd, toByteString(path === '' ? '/' : path), O_PATH | O_DIRECTORY));
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOTDIR') {
      throw new TareError('InvalidArgument', 'extraction point is not a directory', { cause: error });
    }
    throw explain(error, where, path);
  }
}

function explain(error: unknown, where: ContainerRoot, path: string): unknown {
  if (!(error instanceof SyscallError)) return error;
  switch (error.code) {
    case 'ENOENT':
      return new TareError('NotFound', `Could not find the file ${path} in container ${where.id}`, { cause: error });
    case 'ENOTDIR':
      return new TareError('InvalidArgument', `${path}: not a directory`, { cause: error });
    case 'ELOOP':
      return new TareError('InvalidArgument', `${path}: too many levels of symbolic links`, { cause: error });
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return new TareError('InvalidArgument', `${JSON.stringify(path)} is not a path`, { cause: error });
    default:
      return error;
  }
}

/** A generator that is never started runs no `finally`: whoever drops it unread must not leak what it holds. */
function disposeUnread(tar: AsyncGenerator<Buffer, void, void>, resources: DisposableStack): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => tar.next(),
      return: async () => {
        resources.dispose();
        return await tar.return();
      },
    }),
  };
}
