import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  SyscallError,
  toByteString,
} from '../../linux/index.ts';

/**
 * Opens a path beneath a folder that a container writes to: links are followed as long as they stay beneath it, and the
 * descriptor stays what it was when a name is swapped later.
 *
 * @returns an O_PATH descriptor, the caller's to close
 * @throws {TareError} InvalidArgument: there is nothing, or the path leads out
 */
export function openBeneath(folder: string, subpath: string): number {
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(folder), O_PATH | O_DIRECTORY));
  try {
    return openAt2(root.fd, toByteString(subpath), O_PATH, RESOLVE_BENEATH);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const why =
      error.code === 'EXDEV' || error.code === 'ELOOP'
        ? 'it leads out of the volume'
        : /^(ENOENT|ENOTDIR)$/.test(error.code)
          ? 'no such file or directory'
          : error.code;
    throw new TareError('InvalidArgument', `cannot access path ${folder}/${subpath}: ${why}`, { cause: error });
  }
}
