import { TareError } from '../../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  O_DIRECTORY,
  OpenFile,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  SyscallError,
  statusOf,
} from '../../linux/index.ts';
import { encodeHeader } from '../tar/index.ts';
import type { compareTrees } from '../tree/compare.ts';
import { type PackedLinks, packEntry } from '../tree/pack.ts';
import { parentOf } from '../tree/path.ts';
import type { RootStatus } from './layer-record.ts';
import { WHITEOUT_PREFIX } from './whiteouts.ts';

/**
 * A layer's tar from a list of changes; deletions become whiteouts (image-spec, layer.md). Equal trees give equal bytes.
 *
 * @param rootBefore what the layers below say of the root folder, which is packed when it differs
 * @throws {TareError} InvalidArgument: a name that a layer cannot hold
 */
export function* packChanges(
  writtenFd: number,
  rootBefore: RootStatus,
  changes: ReturnType<typeof compareTrees>,
): Generator<Buffer, void, void> {
  const links: PackedLinks = new Map();
  const { uid, gid, mode, modifyNs } = statusOf(writtenFd);
  const permissions = mode & 0o7777;
  if (uid !== rootBefore.uid || gid !== rootBefore.gid || permissions !== (rootBefore.mode & 0o7777)) {
    yield encodeHeader({ path: './', type: 'directory', uid, gid, mode: permissions, modifyNs });
  }
  for (const change of changes) {
    if (change === undefined) continue;
    const { path, kind } = change;
    const folder = parentOf(path);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (kind === 'deleted') {
      yield encodeHeader({
        path: `${folder === '' ? '' : `${folder}/`}${WHITEOUT_PREFIX}${name}`,
        type: 'file',
        mode: 0,
      });
      continue;
    }
    if (name.startsWith(WHITEOUT_PREFIX)) throw reservedName(path);
    using parent = openFolderOf(writtenFd, folder);
    if (parent !== undefined) yield* packEntry(parent.fd, name, path, links);
  }
}

/** @returns undefined: removed or replaced since it was compared */
function openFolderOf(rootFd: number, path: ByteString): OpenFile | undefined {
  try {
    return new OpenFile(openAt2(rootFd, path || '.', O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
  } catch (error) {
    if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP|EXDEV)$/.test(error.code)) return undefined;
    throw error;
  }
}

export const reservedName = (path: ByteString): TareError =>
  new TareError(
    'InvalidArgument',
    `/${fromByteString(path)} cannot go into a layer: names that begin with ${WHITEOUT_PREFIX} mean deletions there; rename or remove it`,
  );
