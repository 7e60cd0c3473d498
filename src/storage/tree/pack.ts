import { readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import {
  AT_FDCWD,
  type ByteString,
  type FileStatus,
  getXattrAt,
  listXattrs,
  listXattrsAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  statusAt,
  statusIfAny,
  statusOf,
} from '../../linux/index.ts';
import { encodeHeader, endOfArchive, padding, type TarEntryType } from '../tar/index.ts';
import { Descent, requirePathLength } from './descent.ts';

const PIECE_BYTES = 256 * 1024;
/** How long reading may hold the event loop in one go. */
const SLICE_MS = 4;

/** What an archive calls the types of files, by their bits in the mode. */
export const packedTypes: Readonly<Record<number, TarEntryType>> = {
  [S_IFREG]: 'file',
  [S_IFDIR]: 'directory',
  [S_IFLNK]: 'link',
  [S_IFCHR]: 'character',
  [S_IFBLK]: 'block',
  [S_IFIFO]: 'fifo',
};

/** Where the bytes of a file are read to: room for some of so many. */
export type Room = (sizeBytes: number) => Buffer;

/** Each piece has memory of its own. */
const ownRoom: Room = (sizeBytes) => Buffer.allocUnsafe(Math.min(PIECE_BYTES, sizeBytes));

/** Names under which files with several names were packed first, by file system and inode. */
export type PackedLinks = Map<string, ByteString>;

/**
 * One entry as tar bytes, a folder without what is in it. Never follows a link. A file that changes while it is read
 * comes with the length it had at first. Sockets have no place in a tar and are left out.
 *
 * @param path the entry's name in the archive
 * @returns whether it is a folder
 */
export function* packEntry(
  fd: number,
  name: ByteString,
  path: ByteString,
  links: PackedLinks,
  room: Room = ownRoom,
): Generator<Buffer, boolean, void> {
  const status = statusIfAny(fd, name);
  const type = status && packedTypes[status.type];
  if (status === undefined || type === undefined) return false;
  if (type !== 'directory' && status.links > 1) {
    const key = `${status.fileSystem} ${status.inode}`;
    const first = links.get(key);
    if (first !== undefined) {
      yield encodeHeader({ ...packedStatus(status), path, type: 'hardlink', linkTarget: first });
      return false;
    }
    links.set(key, path);
  }
  if (type === 'file') {
    yield* packFile(fd, name, path, room);
    return false;
  }
  const header = ifStill(() => ({
    ...packedStatus(status),
    path,
    type,
    linkTarget: type === 'link' ? readLinkAt(fd, name) : '',
    xattrs: packedXattrs(fd, name),
  }));
  if (header !== undefined) yield encodeHeader(header);
  return header?.type === 'directory';
}

/**
 * Everything in an open folder, sorted by name, however deep.
 *
 * @param path of the folder in the archive, '' or ending in a slash
 * @throws {TareError} InvalidArgument: a path is too long for anybody to unpack it
 */
export function* packFolder(
  fd: number,
  path: ByteString,
  links: PackedLinks,
  room: Room = ownRoom,
): Generator<Buffer, void, void> {
  using descent = new Descent(fd);
  const frames = [{ path, waiting: waitingIn(fd) }];
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const name = frame.waiting.pop();
    if (name === undefined) {
      frames.pop();
      if (frames.length > 0) descent.leave();
      continue;
    }
    requirePathLength(frame.path + name);
    if (!(yield* packEntry(descent.fd, name, frame.path + name, links, room))) continue;
    try {
      descent.enter(name);
    } catch (error) {
      // Removed or replaced since.
      if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code)) continue;
      throw error;
    }
    frames.push({ path: `${frame.path}${name}/`, waiting: waitingIn(descent.fd) });
  }
}

/** Names in a folder, the first at the end. */
const waitingIn = (fd: number): ByteString[] =>
  readDirectory(fd)
    .map((entry) => entry.name)
    .sort()
    .reverse();

/**
 * A name and, if it is a folder, all in it.
 *
 * @param path its name in the archive, '' for a folder whose entries are absolute there
 * @param room for files' bytes: a piece that lies in it is good until the next is asked for
 */
export function* packTree(
  fd: number,
  name: ByteString,
  path: ByteString,
  room: Room = ownRoom,
): Generator<Buffer, void, void> {
  const links: PackedLinks = new Map();
  const isFolder = statusAt(fd, name).type === S_IFDIR;
  yield* packEntry(fd, name, isFolder ? `${path}/` : path, links, room);
  if (!isFolder) return;
  using folder = new OpenFile(openAt(fd, name, O_DIRECTORY | O_NOFOLLOW));
  yield* packFolder(folder.fd, `${path}/`, links, room);
}

function* packFile(fd: number, name: ByteString, path: ByteString, room: Room): Generator<Buffer, void, void> {
  using found = nodeIfAny(fd, name);
  if (found === undefined) return;
  // Looked at before it is opened: a process in the tree may put a device there, whose very opening does something.
  const status = statusOf(found.fd);
  if (status.type !== S_IFREG) return;
  using file = new OpenFile(openAt(AT_FDCWD, `/proc/self/fd/${found.fd}`, O_RDONLY));
  const { sizeBytes } = status;
  const named = listXattrs(file.fd).length > 0;
  const xattrs = (named ? ifStill(() => packedXattrs(fd, name)) : undefined) ?? new Map();
  yield encodeHeader({ ...packedStatus(status), path, type: 'file', sizeBytes, xattrs });
  for (let offset = 0; offset < sizeBytes; ) {
    const piece = room(sizeBytes - offset);
    const read = readSync(file.fd, piece, 0, piece.length, offset);
    // Shortened meanwhile: the header has promised the bytes.
    if (read === 0) piece.fill(0);
    const size = read === 0 ? piece.length : read;
    yield piece.subarray(0, size);
    offset += size;
  }
  const rest = padding(sizeBytes);
  if (rest.length > 0) yield rest;
}

/** What a name is, not opened for reading; a link itself. */
const nodeIfAny = (fd: number, name: ByteString): OpenFile | undefined =>
  ifStill(() => new OpenFile(openAt(fd, name, O_PATH | O_NOFOLLOW)));

/** undefined: removed, or replaced by something else, since it was seen */
function ifStill<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof SyscallError && /^(ENOENT|EINVAL)$/.test(error.code)) return undefined;
    throw error;
  }
}

export const packedStatus = (status: FileStatus) => ({
  mode: status.mode & 0o7777,
  uid: status.uid,
  gid: status.gid,
  modifyNs: status.modifyNs,
  deviceMajor: status.deviceMajor,
  deviceMinor: status.deviceMinor,
});

/** What of a file's attributes goes into an archive. */
export function packedXattrs(fd: number, name: ByteString): Map<ByteString, Buffer> {
  const xattrs = new Map<ByteString, Buffer>();
  for (const key of listXattrsAt(fd, name)) {
    // security.selinux and the like are this host's labels, not the file's.
    if (!/^user\.|^security\.capability$|^system\.posix_acl_/.test(key) || key.startsWith('user.overlay.')) continue;
    const value = getXattrAt(fd, name, key);
    if (value !== undefined) xattrs.set(key, value);
  }
  return xattrs;
}

/** Ends an archive and gathers its small pieces, at the reader's pace and without holding the event loop. */
export async function* archiveOf(pieces: Generator<Buffer, void, void>): AsyncGenerator<Buffer, void, void> {
  let waiting: Buffer[] = [];
  let size = 0;
  let until = performance.now() + SLICE_MS;
  try {
    for (const piece of pieces) {
      waiting.push(piece);
      size += piece.length;
      if (size >= PIECE_BYTES) {
        yield waiting.length === 1 ? piece : Buffer.concat(waiting, size);
        waiting = [];
        size = 0;
      }
      if (performance.now() > until) {
        await setImmediate();
        until = performance.now() + SLICE_MS;
      }
    }
    yield Buffer.concat([...waiting, endOfArchive()]);
  } finally {
    pieces.return();
  }
}

/** The tree in an open folder as a tar stream; the folder itself is not an entry. The descriptor stays the caller's. */
export const writeTar = (fd: number): AsyncGenerator<Buffer, void, void> => archiveOf(packFolder(fd, '', new Map()));
