import {
  type ByteString,
  changeTimesAt,
  makeNodeAt,
  O_DIRECTORY,
  OpenFile,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFDIR,
} from '../../linux/index.ts';
import type { TreeChange } from '../tree/compare.ts';
import { type CopiedLinks, copyEntry } from '../tree/copy.ts';
import { parentOf } from '../tree/path.ts';
import type { Place } from '../tree/side.ts';
import type { MergedEntry, MergedFolder } from './merged-folder.ts';

/**
 * Makes a layer in overlayfs' form of a list of changes: what is new is copied, what is gone becomes a whiteout.
 *
 * @param targetFd an empty folder: the layer
 * @param changes sorted by path, a folder before what is in it
 * @param find where a path's new state lies; undefined: it is gone meanwhile
 */
export function* layChanges(
  targetFd: number,
  changes: Generator<TreeChange | undefined, void, void>,
  find: (path: ByteString) => (Disposable & Place) | undefined,
): Generator<void, void, void> {
  const links: CopiedLinks = new Map();
  const folders: { path: ByteString; accessNs: bigint; modifyNs: bigint }[] = [];
  for (const change of changes) {
    yield;
    if (change === undefined) continue;
    const { path, kind } = change;
    using parent = openFolder(targetFd, parentOf(path));
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (kind === 'deleted') {
      makeNodeAt(parent.fd, name, S_IFCHR, 0n);
      continue;
    }
    using place = find(path);
    if (place === undefined) continue;
    const from = { fd: place.fd, name: place.path, status: place.status };
    yield* copyEntry(from, { fd: parent.fd, name }, links, { fd: targetFd, path, space: '' });
    if (place.status.type === S_IFDIR) folders.push({ path, ...place.status });
  }
  // Filling a folder changed its time.
  for (const { path, accessNs, modifyNs } of folders.reverse()) changeTimesAt(targetFd, path, accessNs, modifyNs);
}

/** A folder of a tree that nobody changes. */
export const openFolder = (rootFd: number, path: ByteString): OpenFile =>
  new OpenFile(openAt2(rootFd, path || '.', O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));

/** Where a path of a merged tree lies; undefined: nowhere. */
export function placeIn(root: MergedFolder, path: ByteString): (Disposable & Place) | undefined {
  let entry: MergedEntry | undefined;
  let folder: MergedFolder | undefined = root;
  for (const name of path.split('/')) {
    entry = folder?.lookup(name);
    folder = entry?.folder;
  }
  return entry && { fd: entry.layerFd, path: entry.path, status: entry.status, [Symbol.dispose]: () => {} };
}
