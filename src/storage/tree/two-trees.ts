import { readSync } from 'node:fs';
import { type ByteString, OpenFile, S_IFDIR, S_IFLNK, S_IFREG, SyscallError, statusOf } from '../../linux/index.ts';
import type { TreeChange } from './compare.ts';
import { requirePathLength } from './descent.ts';
import { attributesAt, linkAt, openPlace, type Place, type TreeSide } from './side.ts';

const PIECE_BYTES = 128 * 1024;

interface Frame {
  path: ByteString;
  /** Names still to be looked at, the last first. */
  waiting: ByteString[];
  hasBefore: boolean;
  hasAfter: boolean;
}

export interface CompareTwoOptions {
  /**
   * Layers by themselves: overlayfs' attributes and the times of files and links count, too, and a folder is not modified
   * by what is in it.
   */
  isStrict?: boolean;
}

/**
 * What another tree has more, less and otherwise, sorted by path, folders before what is in them. Owner, mode, attributes and
 * content count, times do not: two builds of the same files are the same. A folder is modified when something in it is; of
 * a deleted one nothing more is told.
 */
export function* compareTwo(
  before: TreeSide,
  after: TreeSide,
  { isStrict = false }: CompareTwoOptions = {},
): Generator<TreeChange | undefined, void, void> {
  const frames = [frameOf('', before, after)];
  // Frames that have told of themselves; those above them have, too.
  let told = 1;
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const name = frame.waiting.pop();
    if (name === undefined) {
      frames.pop();
      told = Math.min(told, frames.length);
      if (frames.length > 0 && frame.hasBefore) before.leave();
      if (frames.length > 0 && frame.hasAfter) after.leave();
      continue;
    }
    yield undefined;
    const path = frame.path === '' ? name : `${frame.path}/${name}`;
    const old = frame.hasBefore ? before.find(name) : undefined;
    const now = frame.hasAfter ? after.find(name) : undefined;
    const kind = yield* kindOf(old, now, isStrict);
    if (kind !== undefined) {
      requirePathLength(path);
      // A folder counts as modified as soon as something in it is, and comes first.
      for (; !isStrict && told < frames.length; told += 1) yield { path: frames[told]!.path, kind: 'modified' };
      yield { path, kind };
    }
    if (now?.status.type !== S_IFDIR || !after.enter(name)) continue;
    const entersBefore = old?.status.type === S_IFDIR && before.enter(name);
    frames.push(frameOf(path, entersBefore ? before : undefined, after));
    if (kind !== undefined) told = frames.length;
  }
}

function frameOf(path: ByteString, before: TreeSide | undefined, after: TreeSide): Frame {
  const names = new Set([...(before?.names() ?? []), ...after.names()]);
  return { path, waiting: [...names].sort().reverse(), hasBefore: before !== undefined, hasAfter: true };
}

function* kindOf(
  old: Place | undefined,
  now: Place | undefined,
  isStrict: boolean,
): Generator<undefined, TreeChange['kind'] | undefined, void> {
  if (now === undefined) return old === undefined ? undefined : 'deleted';
  if (old === undefined) return 'added';
  try {
    return (yield* differs(old, now, isStrict)) ? 'modified' : undefined;
  } catch (error) {
    // Changed again while we looked.
    if (error instanceof SyscallError && /^(ENOENT|ELOOP|ENXIO|EINVAL)$/.test(error.code)) return 'modified';
    throw error;
  }
}

function* differs(old: Place, now: Place, isStrict: boolean): Generator<undefined, boolean, void> {
  const [a, b] = [old.status, now.status];
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid) return true;
  if (a.deviceMajor !== b.deviceMajor || a.deviceMinor !== b.deviceMinor) return true;
  if (a.type === S_IFLNK && linkAt(old) !== linkAt(now)) return true;
  if (a.type === S_IFREG) {
    if (a.sizeBytes !== b.sizeBytes) return true;
    // The same file of a layer that both have, also where one is seen through overlayfs.
    const isSameFile = a.inode === b.inode && a.modifyNs === b.modifyNs && a.changeNs === b.changeNs;
    if (!isSameFile && (yield* contentDiffers(old, now))) return true;
  }
  const isDated = a.type === S_IFREG || a.type === S_IFLNK;
  if (isStrict && isDated && a.modifyNs !== b.modifyNs) return true;
  return attributesAt(old, isStrict) !== attributesAt(now, isStrict);
}

function* contentDiffers(old: Place, now: Place): Generator<undefined, boolean, void> {
  using first = new OpenFile(openPlace(old));
  using second = new OpenFile(openPlace(now));
  if (statusOf(first.fd).type !== S_IFREG || statusOf(second.fd).type !== S_IFREG) return true;
  const [one, other] = [Buffer.allocUnsafe(PIECE_BYTES), Buffer.allocUnsafe(PIECE_BYTES)];
  for (let offset = 0; ; ) {
    const size = readSync(first.fd, one, 0, PIECE_BYTES, offset);
    const sameSize = size > 0 ? readSync(second.fd, other, 0, size, offset) : readSync(second.fd, other, 0, 1, offset);
    if (size !== sameSize || !one.subarray(0, size).equals(other.subarray(0, size))) return true;
    if (size === 0) return false;
    offset += size;
    yield;
  }
}
