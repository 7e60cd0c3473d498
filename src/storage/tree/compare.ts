import {
  type ByteString,
  type FileStatus,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  statusIfAny,
} from '../../linux/index.ts';
import type { MergedEntry, MergedFolder } from '../layers/merged-folder.ts';
import { isOpaque, isWhiteout } from '../layers/whiteouts.ts';
import { Descent, requirePathLength } from './descent.ts';
import { attributesAt } from './side.ts';

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

/** A folder on the way to where the comparison is. */
interface Frame {
  path: ByteString;
  /** Names in the written folder. */
  names: ReadonlySet<ByteString>;
  /** Names still to be looked at, the last first. */
  waiting: ByteString[];
  below: MergedFolder | undefined;
}

/**
 * What a written tree changed against the layers below, sorted by path, folders before what is in them. A folder is
 * modified when its owner or mode changed or something in it did; its time does not count (as in Docker).
 *
 * @throws {TareError} InvalidArgument: a path is too long for anybody to make it again
 */
export function* compareTrees(
  writtenFd: number,
  below: MergedFolder | undefined,
  options: CompareOptions,
): Generator<TreeChange | undefined, void, void> {
  using descent = new Descent(writtenFd);
  const frames = [frameOf(descent.fd, '', below, false, options)];
  // Frames that have told of themselves; those above them have, too.
  let told = 1;
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const name = frame.waiting.pop();
    if (name === undefined) {
      frames.pop();
      told = Math.min(told, frames.length);
      if (frames.length > 0) descent.leave();
      continue;
    }
    yield undefined;
    const path = frame.path === '' ? name : `${frame.path}/${name}`;
    const old = frame.below?.lookup(name);
    // The container may have removed it since the folder was read.
    const status = frame.names.has(name) ? statusIfAny(descent.fd, name) : undefined;
    const kind = kindOf(descent.fd, name, status, old, options);
    if (kind !== undefined) {
      requirePathLength(path);
      // A folder counts as modified as soon as something in it is, and comes first.
      for (; told < frames.length; told += 1) yield { path: frames[told]!.path, kind: 'modified' };
      yield { path, kind };
    }
    if (status?.type !== S_IFDIR) continue;
    const isHiding = options.deletions === 'whiteout' && isOpaque(descent.fd, name, options.opaque);
    if (!enters(descent, name)) continue;
    frames.push(frameOf(descent.fd, path, old?.folder, isHiding, options));
    if (kind !== undefined) told = frames.length;
  }
}

function frameOf(
  fd: number,
  path: ByteString,
  below: MergedFolder | undefined,
  isHiding: boolean,
  options: CompareOptions,
): Frame {
  const names = new Set(readDirectory(fd).map((entry) => entry.name));
  const all = new Set(names);
  // Where absence means deletion, what only the layers have counts too.
  if (below !== undefined && (options.deletions === 'absence' || isHiding)) {
    for (const entry of below.entries()) all.add(entry.name);
  }
  return { path, names, waiting: [...all].sort().reverse(), below };
}

function kindOf(
  fd: number,
  name: ByteString,
  status: FileStatus | undefined,
  old: MergedEntry | undefined,
  options: CompareOptions,
): TreeChange['kind'] | undefined {
  if (status === undefined || isWhiteout(status)) return old === undefined ? undefined : 'deleted';
  if (old === undefined) return 'added';
  return options.everything || differs(fd, name, status, old) ? 'modified' : undefined;
}

/** @returns false: what was a folder a moment ago is none any more */
function enters(descent: Descent, name: ByteString): boolean {
  try {
    descent.enter(name);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code)) return false;
    throw error;
  }
}

function differs(fd: number, name: ByteString, status: FileStatus, old: MergedEntry): boolean {
  const was = old.status;
  if (status.mode !== was.mode || status.uid !== was.uid || status.gid !== was.gid) return true;
  if (status.deviceMajor !== was.deviceMajor || status.deviceMinor !== was.deviceMinor) return true;
  if (status.type === S_IFREG && (status.sizeBytes !== was.sizeBytes || status.modifyNs !== was.modifyNs)) return true;
  if (status.type === S_IFLNK && readLinkAt(fd, name) !== readLinkAt(old.layerFd, old.path)) return true;
  return attributesAt({ fd, path: name }) !== attributesAt({ fd: old.layerFd, path: old.path });
}
