import { TareError } from '../errors/index.ts';
import {
  AT_FDCWD,
  fromByteString,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  statusIfAny,
  toByteString,
} from '../linux/index.ts';

/** Where the OCI runtime itself opens files below a root, before it is the container's. */
const FOLDERS = ['dev', 'proc', 'sys'];

/**
 * Refuses a root that would lead its OCI runtime astray: crun makes device nodes by way of `/dev`, and follows it to the host where it is a
 * link. Where nothing is, the runtime makes a folder.
 *
 * @param rootfs mounted, and nothing runs in it yet
 * @throws {TareError} InvalidArgument
 */
export function requireRootFolders(rootfs: string): void {
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(rootfs), O_PATH | O_DIRECTORY));
  for (const name of FOLDERS) {
    const status = statusIfAny(root.fd, toByteString(name));
    if (status === undefined || status.type === S_IFDIR) continue;
    const what =
      status.type === S_IFLNK ? `a link to ${fromByteString(readLinkAt(root.fd, toByteString(name)))}` : 'no folder';
    throw new TareError(
      'InvalidArgument',
      `/${name} of the container's files is ${what}: make it a folder in the image`,
    );
  }
}
