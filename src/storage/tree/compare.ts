import {
  type ByteString,
  type FileStatus,
  getXattrAt,
  listXattrsAt,
  OpenFile,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  statusAt,
} from '../../linux/index.ts';
import type { MergedEntry, MergedFolder } from '../layers/merged-folder.ts';
import { isOpaque, isWhiteout } from '../layers/whiteouts.ts';
import { openFolder } from './copy.ts';

/** A path that differs from the layers below, relative to the root. */
export interface TreeChange {
  path: ByteString;
  kind: 'modified' | 'added' | 'deleted';
}

export interface CompareOptions {
  deletions: 'whiteout' | 'absence';
  opaque: ByteString;
  /** Count everything that lies in an upper layer as changed: what a diff must carry, though its status is the same. */
  everything?: boolean;
}

/**
 * What a written tree changed against the layers below, sorted by path, folders before what is in them. A folder is
 * modified when its owner or mode changed or something in it did; its time does not count (as in Docker).
 */
export function* compareTrees(
  writtenFd: number,
  below: MergedFolder | undefined,
  options: CompareOptions,
): Generator<TreeChange | undefined, void, void> {
  yield* compareFolder(writtenFd, '', below, false, options);
}

function* compareFolder(
  fd: number,
  path: ByteString,
  below: MergedFolder | undefined,
  isHiding: boolean,
  options: CompareOptions,
): Generator<TreeChange | undefined, void, void> {
  const names = new Set(readDirectory(fd).map((entry) => entry.name));
  const all = new Set(names);
  // Where absence means deletion, what only the layers have counts too.
  if (below !== undefined && (options.deletions === 'absence' || isHiding)) {
    for (const entry of below.entries()) all.add(entry.name);
  }
  for (const name of [...all].sort()) {
    const old = below?.lookup(name);
    const entryPath = path === '' ? name : `${path}/${name}`;
    const status = names.has(name) ? statusIfAny(fd, name) : undefined;
    yield undefined;
    if (status === undefined || isWhiteout(status)) {
      if (old !== undefined) yield { path: entryPath, kind: 'deleted' };
      continue;
    }
    if (status.type !== S_IFDIR) {
      if (old === undefined) yield { path: entryPath, kind: 'added' };
      else if (options.everything || differs(fd, name, status, old)) yield { path: entryPath, kind: 'modified' };
      continue;
    }
    yield* compareInner(fd, name, entryPath, status, old, options);
  }
}

function* compareInner(
  fd: number,
  name: ByteString,
  path: ByteString,
  status: FileStatus,
  old: MergedEntry | undefined,
  options: CompareOptions,
): Generator<TreeChange | undefined, void, void> {
  const isHiding = options.deletions === 'whiteout' && isOpaque(fd, name, options.opaque);
  using inner = new OpenFile(openFolder(fd, name));
  const changes = compareFolder(inner.fd, path, old?.folder, isHiding, options);
  let isSaid = false;
  const say = (kind: TreeChange['kind']): TreeChange => {
    isSaid = true;
    return { path, kind };
  };
  if (old === undefined) yield say('added');
  else if (options.everything || differs(fd, name, status, old)) yield say('modified');
  for (const change of changes) {
    // A folder counts as modified as soon as something in it is, and comes first.
    if (change !== undefined && !isSaid) yield say('modified');
    yield change;
  }
}

function differs(fd: number, name: ByteString, status: FileStatus, old: MergedEntry): boolean {
  const was = old.status;
  if (status.mode !== was.mode || status.uid !== was.uid || status.gid !== was.gid) return true;
  if (status.deviceMajor !== was.deviceMajor || status.deviceMinor !== was.deviceMinor) return true;
  if (status.type === S_IFREG && (status.sizeBytes !== was.sizeBytes || status.modifyNs !== was.modifyNs)) return true;
  if (status.type === S_IFLNK && readLinkAt(fd, name) !== readLinkAt(old.layerFd, old.path)) return true;
  return xattrsOf(fd, name) !== xattrsOf(old.layerFd, old.path);
}

/** The attributes as one text to compare. */
function xattrsOf(fd: number, name: ByteString): string {
  return listXattrsAt(fd, name)
    .filter((key) => !/^(trusted|user)\.overlay\./.test(key))
    .map((key) => `${key}=${getXattrAt(fd, name, key)?.toString('hex')}`)
    .join('\n');
}

function statusIfAny(fd: number, name: ByteString): FileStatus | undefined {
  try {
    return statusAt(fd, name);
  } catch (error) {
    // Removed by the container since the folder was read.
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
}
