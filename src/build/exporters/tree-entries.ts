import { readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  getXattrAt,
  listXattrsAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  OpenFile,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  statusAt,
  toByteString,
} from '../../linux/index.ts';
import type { SentEntry } from '../session.ts';

const PIECE_BYTES = 256 * 1024;
/** Entries between two turns of others. */
const TURN = 256;

/** Opens what lies beneath a root, through no link. */
const openBeneathRoot = (rootFd: number, path: ByteString, flags: number): OpenFile =>
  new OpenFile(openAt2(rootFd, path === '' ? '.' : path, flags | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));

/** An entry with its names in bytes, which need not be UTF-8. */
export interface TreeEntry {
  entry: SentEntry;
  /** From the root, without the prefix. */
  place: ByteString;
  /** As the entry's `path` and `linkname`. */
  names: { path: ByteString; target: ByteString | undefined };
}

/**
 * What an open folder holds, as it is sent to a client: parents before what is in them, siblings in byte order.
 *
 * @param prefix of paths, '' or ending in a slash
 * @param epochMs all times are told as this one
 */
export async function* treeEntries(
  rootFd: number,
  prefix: string,
  epochMs: number | undefined,
): AsyncGenerator<TreeEntry, void, void> {
  const epochNs = epochMs === undefined ? undefined : BigInt(epochMs) * 1_000_000n;
  const links = new Map<string, ByteString>();
  const waiting: ByteString[] = namesIn(rootFd, '');
  const before = toByteString(prefix);
  let count = 0;
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (++count % TURN === 0) await setImmediate();
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1);
    using parent = openBeneathRoot(rootFd, path.slice(0, Math.max(slash, 0)), O_RDONLY | O_DIRECTORY);
    const status = statusAt(parent.fd, name);
    if (status.type === S_IFSOCK) continue;
    // One by one: a folder may hold more than a call takes arguments.
    if (status.type === S_IFDIR) for (const inside of namesIn(rootFd, path)) waiting.push(inside);
    const key = `${status.fileSystem} ${status.inode}`;
    const first = status.type === S_IFDIR || status.links < 2 ? undefined : links.get(key);
    if (status.type !== S_IFDIR && status.links > 1 && first === undefined) links.set(key, path);
    const target = status.type === S_IFLNK ? readLinkAt(parent.fd, name) : first && before + first;
    const xattrs = xattrsOf(parent.fd, name);
    const entry: SentEntry = {
      path: prefix + fromByteString(path),
      ...{ mode: status.mode, uid: status.uid, gid: status.gid },
      sizeBytes: status.type === S_IFREG ? status.sizeBytes : 0,
      modifiedNs: epochNs ?? status.modifyNs,
      ...(target === undefined ? {} : { linkname: fromByteString(target) }),
      ...(status.deviceMajor === 0 && status.deviceMinor === 0
        ? {}
        : { deviceMajor: status.deviceMajor, deviceMinor: status.deviceMinor }),
      ...(xattrs === undefined ? {} : { xattrs }),
    };
    yield { entry, place: path, names: { path: before + path, target } };
  }
}

/** Paths of what a folder holds, the first at the end. */
function namesIn(rootFd: number, path: ByteString): ByteString[] {
  using folder = openBeneathRoot(rootFd, path, O_RDONLY | O_DIRECTORY);
  return readDirectory(folder.fd)
    .map(({ name }) => (path === '' ? name : `${path}/${name}`))
    .sort()
    .reverse();
}

function xattrsOf(fd: number, name: ByteString): Record<string, Uint8Array> | undefined {
  const found: [string, Uint8Array][] = [];
  for (const key of listXattrsAt(fd, name)) {
    // Labels of this host's and overlayfs' own marks are not the file's.
    if (!/^user\.|^security\.capability$/.test(key) || key.startsWith('user.overlay.')) continue;
    const value = getXattrAt(fd, name, key);
    if (value !== undefined) found.push([fromByteString(key), value]);
  }
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** The bytes of a regular file beneath a root. @throws {TareError} NotFound: it is none */
export async function* fileBytes(rootFd: number, path: ByteString): AsyncGenerator<Uint8Array, void, void> {
  // Before it is opened: opening a pipe waits, and opening some devices has effects. Nothing changes in a tree.
  if (statusAt(rootFd, path).type !== S_IFREG)
    throw new TareError('NotFound', `/${fromByteString(path)} is no regular file`);
  using file = openBeneathRoot(rootFd, path, O_RDONLY);
  for (let offset = 0; ; ) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const read = readSync(file.fd, piece, 0, piece.length, offset);
    if (read === 0) return;
    yield piece.subarray(0, read);
    offset += read;
    await setImmediate();
  }
}
