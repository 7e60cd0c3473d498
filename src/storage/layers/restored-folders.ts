import {
  type ByteString,
  type FileStatus,
  makeDirectoryAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  OpenFile,
  openAt,
  statusAt,
} from '../../linux/index.ts';
import { copyStatus } from '../tree/copy.ts';
import { parentOf } from '../tree/path.ts';
import { MergedFolder } from './merged-folder.ts';

/**
 * Gives folders back what lower layers say of them.
 *
 * A layer's tar may hold `srv/in/file` without entries for `srv` and `srv/in`. Layers are unpacked without knowing what
 * lies below them, so these folders get a made-up owner and mode, which would hide those of lower layers. Therefore each
 * stack with such a layer gets one more on top, made of nothing but the folders concerned, as the topmost layer that
 * names them has them. (Where a lower layer has a link in the folder's place, the folder hides the link, as in Docker.)
 *
 * @param targetFd an empty folder: the layer to fill
 * @param layers topmost first, each with the folders that its tar does not name
 */
export function restoreFolders(
  targetFd: number,
  layers: readonly { fd: number; implied: ReadonlySet<ByteString> }[],
  opaque: ByteString,
): void {
  const root = new MergedFolder(
    layers.map(({ fd }) => fd),
    opaque,
  );
  const impliedBy = new Map(layers.map(({ fd, implied }) => [fd, implied]));
  /** Who says what a folder is: the topmost layer that names it. */
  const source = (path: ByteString): { fd: number; isTop: boolean } | undefined => {
    const fds = folderAt(root, path)?.layerFds ?? [];
    const fd = fds.find((layerFd) => !impliedBy.get(layerFd)?.has(path));
    return fd === undefined ? undefined : { fd, isTop: fd === fds[0] };
  };
  const made: { path: ByteString; fd: number; status: FileStatus }[] = [];
  const seen = new Set<ByteString>();
  const make = (path: ByteString): void => {
    if (path === '' || seen.has(path)) return;
    seen.add(path);
    make(parentOf(path));
    const fd = source(path)?.fd ?? folderAt(root, path)?.layerFds[0];
    if (fd === undefined) return;
    makeDirectoryAt(targetFd, path, 0o700);
    made.push({ path, fd, status: statusAt(fd, path) });
  };
  for (const path of new Set(layers.flatMap(({ implied }) => [...implied]))) {
    if (source(path)?.isTop === false) make(path);
  }
  // Innermost first: making a folder changes the time of the one around it.
  for (const { path, fd, status } of made.reverse()) {
    using parent = new OpenFile(openAt(targetFd, parentOf(path) || '.', O_DIRECTORY | O_NOFOLLOW));
    copyStatus({ fd, name: path }, { fd: parent.fd, name: path.slice(path.lastIndexOf('/') + 1) }, status);
  }
}

function folderAt(root: MergedFolder, path: ByteString): MergedFolder | undefined {
  let folder: MergedFolder | undefined = root;
  for (const name of path.split('/')) folder = folder?.lookup(name)?.folder;
  return folder;
}
