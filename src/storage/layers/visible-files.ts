import {
  type ByteString,
  fromByteString,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  OpenFile,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  readDirectory,
  readLinkAt,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  SyscallError,
  statusAt,
} from '../../linux/index.ts';
import { isOpaque, isWhiteout } from './whiteouts.ts';

/** Longest path that one system call takes. */
const MAX_PATH_BYTES = 4095;

/** A regular file or a link that a stack of layers shows. */
export interface VisibleFile {
  /** Without a leading slash. */
  path: string;
  type: 'file' | 'link';
  /** The layer that it comes from, counted from the base. */
  layer: number;
  /** Bytes and permissions. */
  status(): { sizeBytes: number; mode: number };
  /** Of a link: where it says it leads; nothing is resolved. */
  target(): string;
  /** Opens a regular file for reading, beneath its layer's root and through no link. */
  open(): OpenFile;
}

/** The files of a stack of layers, read from where they lie unpacked: nothing is mounted. Disposing closes the layers. */
export interface VisibleFiles extends Disposable {
  /**
   * Every file and link that a container would see, each once, in no promised order; those deeper than a path of 4095
   * bytes are left out. Yields undefined now and then so that a long walk can let others run.
   */
  walk(): Generator<VisibleFile | undefined, void, void>;
}

/** A folder and the layers that show it, topmost first. */
interface Folder {
  path: ByteString;
  layers: readonly OpenLayer[];
}

export interface OpenLayer {
  fd: number;
  /** Counted from the base. */
  index: number;
}

/** @param layers topmost first; `opaque` is the attribute that marks a folder hiding what is below */
export function* walkVisible(
  layers: readonly OpenLayer[],
  opaque: ByteString,
): Generator<VisibleFile | undefined, void, void> {
  const waiting: Folder[] = [{ path: '', layers }];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    yield undefined;
    yield* visibleIn(folder, opaque, waiting);
  }
}

function* visibleIn(folder: Folder, opaque: ByteString, waiting: Folder[]): Generator<VisibleFile, void, void> {
  /** Names that a higher layer has, with all layers that show it as a folder; undefined: lower layers are hidden. */
  const seen = new Map<ByteString, OpenLayer[] | undefined>();
  for (const layer of folder.layers) {
    using directory = openBeneath(layer.fd, folder.path || '.', O_DIRECTORY);
    for (const { name, type } of readDirectory(directory.fd)) {
      const path = folder.path === '' ? name : `${folder.path}/${name}`;
      const isKnown = seen.has(name);
      const above = seen.get(name);
      if (isKnown && above === undefined) continue;
      // File systems that do not say the type in the listing say 0.
      const kind = type === 0 ? statusAt(directory.fd, name).type : type;
      if (kind === S_IFDIR) {
        if (above === undefined) seen.set(name, [layer]);
        else above.push(layer);
        continue;
      }
      if (isKnown) {
        // A whiteout or a file beneath a folder: the folder's lower layers are hidden from here on.
        waiting.push({ path, layers: above! });
        seen.set(name, undefined);
        continue;
      }
      if (kind === S_IFCHR && isWhiteout(statusAt(directory.fd, name))) seen.set(name, undefined);
      else {
        seen.set(name, undefined);
        if ((kind === S_IFREG || kind === S_IFLNK) && path.length <= MAX_PATH_BYTES) yield fileOf(layer, path, kind);
      }
    }
    if (folder.path !== '' && isOpaque(layer.fd, folder.path, opaque)) break;
  }
  for (const [name, shown] of seen) {
    if (shown === undefined) continue;
    const path = folder.path === '' ? name : `${folder.path}/${name}`;
    if (path.length <= MAX_PATH_BYTES) waiting.push({ path, layers: shown });
  }
}

function fileOf({ fd, index }: OpenLayer, path: ByteString, kind: number): VisibleFile {
  return {
    path: fromByteString(path),
    type: kind === S_IFREG ? 'file' : 'link',
    layer: index,
    status: () => statusAt(fd, path),
    target: () => fromByteString(readLinkAt(fd, path)),
    open: () => openBeneath(fd, path, O_RDONLY | O_NONBLOCK),
  };
}

function openBeneath(fd: number, path: ByteString, flags: number): OpenFile {
  try {
    return new OpenFile(openAt2(fd, path, flags | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
  } catch (error) {
    // What the layer's listing had a moment ago: somebody changes the store by hand.
    if (error instanceof SyscallError) throw new Error(`an unpacked layer changed while it was read: ${error.message}`);
    throw error;
  }
}
